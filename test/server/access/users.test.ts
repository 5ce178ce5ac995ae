import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hashPassword, verifyPassword } from '../../../src/server/access/passwords.ts';
import { createUsers, type Users } from '../../../src/server/access/users.ts';
import { type OpenedStore, openStores } from '../../support/open-stores.ts';
import { waitUntil } from '../../support/wait-until.ts';

test('a password is kept as an Argon2id hash with a salt of its own, and only it verifies', async () => {
  const [first, second] = [await hashPassword('correct horse'), await hashPassword('correct horse')];
  expect(first).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  expect(first).not.toBe(second);
  expect(await verifyPassword('correct horse', first)).toBe(true);
  expect(await verifyPassword('Correct horse', first)).toBe(false);
  expect(await verifyPassword('', first)).toBe(false);
  expect(await verifyPassword('x', 'not a hash')).toBe(false);
});

describe.each(openStores())('users on %s', (_name, open) => {
  let opened: OpenedStore;
  let users: Users;
  let now = 0;
  beforeAll(async () => {
    opened = await open();
    users = createUsers(opened.store, () => now);
    await users.setPassword('ada', 'right', ['reader']);
  });
  afterAll(() => opened.close());

  const refusal = (name: string, password: string, address = '10.0.0.1') =>
    users.verify(name, password, address).then(
      () => 'let in',
      (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
    );

  test('who has the password is let in, with roles', async () => {
    expect(await users.verify('ada', 'right', '10.0.0.1')).toMatchObject({ name: 'ada', roles: ['reader'] });
  });

  test('a wrong name and a wrong password are answered alike', async () => {
    const wrong = await refusal('ada', 'wrong');
    expect(wrong).toMatch(/^unauthenticated/);
    expect(await refusal('nobody', 'wrong')).toBe(wrong);
    expect(await refusal('', '')).toBe(wrong);
  });

  test('a new password ends the old one at once, also one that was just used', async () => {
    await users.setPassword('grace', 'first');
    expect(await refusal('grace', 'first')).toBe('let in');
    await users.setPassword('grace', 'second');
    expect(await refusal('grace', 'first')).toMatch(/^unauthenticated/);
    expect(await refusal('grace', 'second')).toBe('let in');
    expect((await opened.store.findUser({ name: 'grace' }))?.roles).toBe('[]');
  });

  test('one that had to wait is looked at as it is then: an old password lets nobody in, and roles are those of now', async () => {
    await users.setPassword('mary', 'first');
    await opened.store.setRole({ name: 'mary', role: 'administrator' });
    for (let i = 0; i < 20; i += 1) await refusal('mary', `guess ${i}`, '10.0.0.7');
    const waiting = [refusal('mary', 'first', '10.0.0.7'), refusal('mary', 'second', '10.0.0.7')];
    await users.setPassword('mary', 'second');
    expect((await waiting[0])?.split(':')[0]).toBe('too-many-failures');
    await waiting[1];
    const demoted = users.verify('mary', 'second', '10.0.0.7');
    await opened.store.setRole({ name: 'ada', role: 'administrator' });
    await opened.store.setRole({ name: 'mary', role: 'regular' });
    expect((await demoted).role).toBe('regular');
  });

  test('after too many wrong ones guesses are slowed down and told so; others of that address, and the right password, are let in', async () => {
    for (let i = 0; i < 20; i += 1) await refusal('ada', `guess ${i}`, '10.0.0.9');
    const begun = performance.now();
    expect(await refusal('ada', 'another guess', '10.0.0.9')).toMatch(/^too-many-failures: .*'ada'.*10\.0\.0\.9/);
    expect(performance.now() - begun).toBeGreaterThan(900);
    await users.setPassword('pilot', 'its own');
    expect(await refusal('pilot', 'its own', '10.0.0.9')).toBe('let in');
    const fresh = createUsers(opened.store, () => now);
    for (let i = 0; i < 20; i += 1) await fresh.verify('ada', 'stale', '10.0.0.9').catch(() => undefined);
    expect((await fresh.verify('ada', 'right', '10.0.0.9')).name).toBe('ada');
    now += 61_000;
    expect(await refusal('ada', 'wrong', '10.0.0.9')).toMatch(/^unauthenticated/);
  });

  test('many wrong ones at once are not looked at before the first of them has failed', async () => {
    await users.setPassword('burst', 'right');
    const fresh = createUsers(opened.store, () => now);
    const answers: string[] = [];
    for (let i = 0; i < 120; i += 1)
      void fresh.verify('burst', `guess ${i}`, '10.0.0.20').then(
        () => answers.push('let in'),
        (error: { code: string }) => answers.push(error.code),
      );
    const count = (what: string) => answers.filter((one) => one === what).length;
    // Twenty are looked at, forty refused at once; the others wait for their turn, a second each.
    await waitUntil('all but those that wait are answered', () => answers.length >= 60);
    expect([count('unauthenticated'), count('let in')]).toEqual([20, 0]);
    expect(count('too-many-failures')).toBe(answers.length - 20);
    // The owner, who was elsewhere, is not kept out by what goes on there.
    expect((await fresh.verify('burst', 'right', '10.0.0.21')).name).toBe('burst');
  });

  test('a crowd that comes with the right password at once is one try, wherever it comes from', async () => {
    await users.setPassword('crowd', 'right');
    const fresh = createUsers(opened.store, () => now);
    const all = Array.from({ length: 300 }, (_, i) => fresh.verify('crowd', 'right', `10.1.${i % 150}.1`));
    expect(new Set((await Promise.all(all)).map(({ name }) => name))).toEqual(new Set(['crowd']));
  });
});
