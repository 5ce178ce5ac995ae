import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable, Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { mayHaveRun } from '../../../src/worker/transport/failures.ts';
import { quote } from '../../../src/worker/transport/quote.ts';
import type { Transport } from '../../../src/worker/transport/transport.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitUntil } from '../../support/wait-until.ts';

export interface Subject {
  open(): Transport;
  /** A directory for the test on that machine: its name there, and where it is seen from here. */
  place(): { there: string; here: string };
  /** How many processes of that command line run there. */
  running(command: string): number;
}

const TRICKY = `a 'b' "c" $(touch ran) \`touch ran\` \\ ; touch ran & | * ? ! #\n-é\t%s %b .txt`;

/** What every transport does alike. */
export function transportContract(subject: () => Subject): void {
  test('a script runs with /bin/sh in the home directory, and its output, errors and exit code come back', async () => {
    const transport = subject().open();
    const result = await transport.run('pwd; printf "%s\\n" "a  b" >&2; printf "no newline"; exit 7');
    expect(result).toEqual({
      exitCode: 7,
      stdout: expect.stringMatching(/^\/.*\nno newline$/),
      stderr: 'a  b\n',
      isCut: false,
    });
    expect((await transport.run('cd; pwd')).stdout).toBe((await transport.run('pwd')).stdout);
  });

  test.each([0, 1, 127, 254, 255])('a script that exits with %i did so', async (exitCode) => {
    expect((await subject().open().run(`exit ${exitCode}`)).exitCode).toBe(exitCode);
  });

  test('a script that a signal ended says which, as a shell would', async () => {
    expect((await subject().open().run('kill -9 $$')).exitCode).toBe(137);
  });

  test('every character gets through a script and its input, and back', async () => {
    const text = Array.from({ length: 255 }, (_, at) => String.fromCharCode(at + 1)).join('') + TRICKY;
    const transport = subject().open();
    const result = await transport.run(`printf %s ${quote(text)} >&2; cat`, { stdin: Buffer.from(`\0${text}\0`) });
    expect(result).toMatchObject({ stdout: `\0${text}\0`, stderr: text });
    expect(
      (await transport.run('cat', { stdin: Readable.from([Buffer.from('in '), Buffer.from('pieces')]) })).stdout,
    ).toBe('in pieces');
    await expect(transport.run('echo \0')).rejects.toMatchObject({ code: 'bad-request' });
  });

  test('a script without input reads an end, and one that does not read its input ends all the same', async () => {
    const transport = subject().open();
    expect((await transport.run('cat')).stdout).toBe('');
    const endless = new Readable({ read: (size) => void endless.push(Buffer.alloc(size)) });
    expect((await transport.run('head -c 5 | wc -c', { stdin: endless })).stdout.trim()).toBe('5');
    endless.destroy();
  });

  test('output can go to a stream', async () => {
    const pieces: Buffer[] = [];
    const stdout = new Writable({
      write: (piece: Buffer, _encoding, done) => {
        pieces.push(piece);
        setImmediate(done);
      },
    });
    const result = await subject().open().run('head -c 3000000 /dev/zero', { stdout });
    stdout.end();
    expect(result.stdout).toBe('');
    await waitUntil('all is written', () => stdout.writableFinished);
    expect(Buffer.concat(pieces)).toEqual(Buffer.alloc(3_000_000));
  });

  test('output beyond the limit is cut, and says so', async () => {
    const script = 'head -c 5000000 /dev/zero | tr "\\0" x';
    const result = await subject().open().run(script, { maxOutputBytes: 100 });
    expect(result).toMatchObject({ exitCode: 0, isCut: true });
    expect(result.stdout).toBe(`${'x'.repeat(100)}\n[4999900 more bytes were cut off here]\n`);
  });

  test('what a script leaves behind running does not hold up its result', async () => {
    const transport = subject().open();
    const result = await transport.run('sleep 61.5 & echo started $!');
    expect(result.stdout).toMatch(/^started \d+\n$/);
    await transport.run(`kill ${result.stdout.split(' ')[1]}`);
  });

  test('many at once each get their own output', async () => {
    const transport = subject().open();
    const numbers = Array.from({ length: 30 }, (_, at) => String(at));
    const results = await Promise.all(
      numbers.map((number) => transport.run(`cat; echo ${number} >&2`, { stdin: number })),
    );
    expect(results.map(({ stdout }) => stdout)).toEqual(numbers);
    expect(results.map(({ stderr }) => stderr)).toEqual(numbers.map((number) => `${number}\n`));
    expect(transport.stats().commands).toBe(30);
  });

  test('a script that waits for another one gets on', async () => {
    const transport = subject().open();
    const { there } = subject().place();
    const flag = quote(path.join(there, 'flag'));
    const waiting = transport.run(`until [ -e ${flag} ]; do sleep 0.05; done; echo seen`);
    await transport.run(`touch ${flag}`);
    expect((await waiting).stdout).toBe('seen\n');
  });

  test('a script that takes too long is killed with all it started, and may have run', async () => {
    const { open, running } = subject();
    const transport = open();
    await transport.connect();
    const error = await transport.run('sleep 71.25; echo never', { timeoutMs: 500 }).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'timed-out', message: expect.stringContaining('500ms') });
    expect(mayHaveRun(error)).toBe(true);
    await waitUntil('it is killed', () => running('sleep 71.25') === 0);
    expect((await transport.run('echo next')).stdout).toBe('next\n');
  });

  test('a script that is called off is killed, and one called off before did not run', async () => {
    const { open, running } = subject();
    const transport = open();
    const stop = new AbortController();
    const run = transport.run('sleep 72.25', { signal: stop.signal });
    await waitUntil('it runs', () => running('sleep 72.25') === 1);
    stop.abort();
    const error = await run.catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'interrupted' });
    expect(mayHaveRun(error)).toBe(true);
    await waitUntil('it is killed', () => running('sleep 72.25') === 0);
    const late = await transport.run('echo', { signal: stop.signal }).catch((thrown) => thrown);
    expect(late).toMatchObject({ code: 'interrupted' });
    expect(mayHaveRun(late)).toBe(false);
  });

  test('a file is brought there and back unchanged, with the mode asked for, and no other file is left', async () => {
    const transport = subject().open();
    const { there, here } = subject().place();
    const content = randomBytes(1_000_003);
    const local = temporaryDirectory();
    writeFileSync(path.join(local, 'up'), content);
    await transport.put(path.join(local, 'up'), path.join(there, 'file'));
    await transport.put(path.join(local, 'up'), path.join(there, 'program'), { mode: 0o755 });
    expect(readFileSync(path.join(here, 'file'))).toEqual(content);
    expect(statSync(path.join(here, 'file')).mode & 0o777).toBe(0o600);
    expect(statSync(path.join(here, 'program')).mode & 0o777).toBe(0o755);
    await transport.get(path.join(there, 'file'), path.join(local, 'down'));
    expect(readFileSync(path.join(local, 'down'))).toEqual(content);
    expect(readdirSync(here).sort()).toEqual(['file', 'program']);
    expect(readdirSync(local).sort()).toEqual(['down', 'up']);
  });

  test('an empty file is a file', async () => {
    const transport = subject().open();
    const { there, here } = subject().place();
    const local = temporaryDirectory({ up: '' });
    await transport.put(path.join(local, 'up'), path.join(there, 'empty'));
    expect(readFileSync(path.join(here, 'empty'))).toHaveLength(0);
    await transport.get(path.join(there, 'empty'), path.join(local, 'down'));
    expect(readFileSync(path.join(local, 'down'))).toHaveLength(0);
  });

  test('nothing of a name is ever run', async () => {
    const transport = subject().open();
    const { there, here } = subject().place();
    const local = temporaryDirectory({ [TRICKY]: 'content' });
    for (const name of [TRICKY, '-rf', '~', '$HOME']) {
      await transport.put(path.join(local, TRICKY), `${there}/${name}`);
      await transport.get(`${there}/${name}`, path.join(local, 'down'));
      expect(readFileSync(path.join(local, 'down'), 'utf8')).toBe('content');
      expect(Buffer.from((await transport.read(`${there}/${name}`, { offset: 3, limit: 3 }))!).toString()).toBe('ten');
    }
    expect(readdirSync(here).sort()).toEqual([TRICKY, '-rf', '~', '$HOME'].sort());
    const bare = `-f ${path.basename(here)}`;
    await transport.put(path.join(local, TRICKY), bare);
    await transport.get(bare, path.join(local, 'down'));
    expect((await transport.run(`rm -- ${quote(bare)}`)).exitCode).toBe(0);
    expect((await transport.run('ls ran')).exitCode).not.toBe(0);
  });

  test('a transfer that cannot be says why, and leaves nothing', async () => {
    const transport = subject().open();
    const { there, here } = subject().place();
    const local = temporaryDirectory({ up: 'x' });
    mkdirSync(path.join(here, 'directory'));
    const up = path.join(local, 'up');
    await expect(transport.put(up, path.join(there, 'directory'))).rejects.toMatchObject({ code: 'wrong-state' });
    await expect(transport.put(up, path.join(there, 'no/such'))).rejects.toMatchObject({ code: 'not-found' });
    await expect(transport.put(path.join(local, 'none'), path.join(there, 'x'))).rejects.toMatchObject({
      code: 'ENOENT',
    });
    await expect(transport.get(path.join(there, 'none'), path.join(local, 'x'))).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('none'),
    });
    expect(readdirSync(here)).toEqual(['directory']);
    expect(readdirSync(local)).toEqual(['up']);
  });

  test('a growing file is followed by pieces', async () => {
    const transport = subject().open();
    const { there, here } = subject().place();
    const log = path.join(there, 'log');
    const piece = async (offset: number, limit = 100): Promise<string | undefined> => {
      const bytes = await transport.read(log, { offset, limit });
      return bytes === undefined ? undefined : Buffer.from(bytes).toString();
    };
    expect(await piece(0)).toBeUndefined();
    writeFileSync(path.join(here, 'log'), 'first\n');
    expect(await piece(0)).toBe('first\n');
    expect(await piece(6)).toBe('');
    expect(await piece(60)).toBe('');
    writeFileSync(path.join(here, 'log'), 'first\nsecond\n');
    expect(await piece(6, 3)).toBe('sec');
  });

  test('nothing runs after the end', async () => {
    const transport = subject().open();
    const running = transport.run('sleep 73.25');
    await waitUntil('it runs', () => subject().running('sleep 73.25') === 1);
    const [ended] = await Promise.allSettled([running, transport.close()]);
    expect(ended.status).toBe('rejected');
    await expect(transport.run('echo')).rejects.toMatchObject({ code: 'interrupted' });
  });
}
