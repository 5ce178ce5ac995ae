import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { passwordSource } from '../../../src/face/cli/ask-password.ts';
import type { CliContext } from '../../../src/face/cli/context.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

/** Somebody who types these, one after the other. */
function typing(...answers: (string | undefined)[]) {
  const asked: { text: string; isHidden: boolean }[] = [];
  const stdin = Object.assign(new PassThrough(), { isTTY: true });
  const openTerminal: CliContext['openTerminal'] = () => ({
    ask: async ({ text, isHidden }) => {
      asked.push({ text, isHidden });
      return answers.shift();
    },
  });
  return { source: passwordSource({ stdin, openTerminal } as unknown as CliContext), asked };
}

function sent(text: string) {
  const stdin = new PassThrough();
  stdin.end(text);
  return passwordSource({ stdin, openTerminal: () => undefined } as unknown as CliContext);
}

describe('a password', () => {
  test('is typed unseen, a new one twice', async () => {
    const { source, asked } = typing('old', 'new', 'new');
    expect([await source.ask('password'), await source.askNew('new password')]).toEqual(['old', 'new']);
    expect(asked).toEqual([
      { text: 'password: ', isHidden: true },
      { text: 'new password: ', isHidden: true },
      { text: 'new password once more: ', isHidden: true },
    ]);
  });

  test('that is typed differently the second time is none', async () => {
    await expect(typing('new', 'now').source.askNew('new password')).rejects.toThrow('not the same');
  });

  test('comes line by line from what is no terminal', async () => {
    const source = sent('old\nnew\n');
    expect([await source.ask('current password'), await source.askNew('new password')]).toEqual(['old', 'new']);
    await expect(source.ask('one more')).rejects.toThrow('no one more was given');
    source.close();
  });

  test('is missed where nothing is given', async () => {
    await expect(typing(undefined).source.ask('password')).rejects.toThrow('no password was given');
    await expect(sent('').ask('password')).rejects.toThrow('no password was given');
    await expect(sent('\n').ask('password')).rejects.toThrow('no password was given');
    await expect(sent('').ask('current password', undefined, '--current-file')).rejects.toThrow('with --current-file');
  });

  test('comes from a file that nobody else can read', async () => {
    const file = path.join(temporaryDirectory(), 'password');
    writeFileSync(file, 'secret\n', { mode: 0o600 });
    expect(await typing().source.askNew('password', file)).toBe('secret');
    // As it would be typed.
    writeFileSync(file, ' with spaces \r\n');
    expect(await typing().source.ask('password', file)).toBe(' with spaces ');
    const open = path.join(temporaryDirectory(), 'password');
    writeFileSync(open, 'secret\n', { mode: 0o644 });
    await expect(sent('').ask('password', open)).rejects.toThrow('chmod 600');
  });
});
