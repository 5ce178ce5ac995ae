import { expect, test } from 'vitest';
import { createOpenRequests } from '../../../src/server/access/open-requests.ts';
import { waitUntil } from '../../support/wait-until.ts';

test('what is open is looked at every few seconds, also where nobody tells of a change', async () => {
  const open = createOpenRequests(5);
  const over = new Error('it ran out');
  let isOver = false;
  const ends: unknown[] = [];
  open.add(
    async () => (isOver ? over : undefined),
    (why) => ends.push(why),
  );
  isOver = true;
  await waitUntil('it ends', () => ends.length > 0);
  open.changed();
  expect(ends).toEqual([over]);
});

test('what was answered is not looked at any more', async () => {
  const open = createOpenRequests(5);
  let looks = 0;
  const leave = open.add(
    async () => {
      looks += 1;
      return undefined;
    },
    () => {},
  );
  await waitUntil('it is looked at', () => looks > 2);
  leave();
  const before = looks;
  open.changed();
  expect(looks).toBe(before);
});

test('a database that does not answer ends nothing', async () => {
  const open = createOpenRequests(5);
  let looks = 0;
  const ends: unknown[] = [];
  open.add(
    async () => {
      looks += 1;
      if (looks < 3) throw new Error('no answer');
      return 'less';
    },
    (why) => ends.push(why),
  );
  await waitUntil('it ends', () => ends.length > 0);
  expect([looks, ends]).toEqual([3, ['less']]);
});
