import { readdirSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PilotageError } from '../../../src/ground/base/errors.ts';
import { withJobForm } from '../../../src/server/http/job-form.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const schema = {
  type: 'object',
  properties: {
    text: { type: 'string' },
    files: { type: 'array', maxItems: 2, items: { type: 'string', file: {} } },
    one: { type: 'string', file: {} },
    many: { type: 'array', maxItems: 1000, items: { type: 'string', file: {} } },
  },
};

let server: Server;
let spool: string;
let url: string;
/** What is done with a request before its form is read. */
let before: (request: IncomingMessage) => Promise<void>;
/** What came of each request, in order. */
let outcomes: Promise<unknown>[];

beforeEach(async () => {
  before = async () => {};
  outcomes = [];
  spool = path.join(temporaryDirectory(), 'forms');
  server = createServer((request, response) => {
    const outcome = before(request)
      .then(() => withJobForm(request, { schema, spool }, async ({ files: _, ...form }) => form))
      .catch((error: unknown) => {
        if (error instanceof PilotageError) return { code: error.code, says: error.message };
        throw error;
      });
    outcomes.push(outcome);
    void outcome.then((body) => response.end(JSON.stringify(body)));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const left = (): string[] => readdirSync(spool);

async function send(...parts: [head: string, content: string][]): Promise<Record<string, unknown>> {
  const body = parts.map(([head, content]) => `--b\r\nContent-Disposition: form-data${head}\r\n\r\n${content}\r\n`);
  const headers = { 'content-type': 'multipart/form-data; boundary=b' };
  const answer = await fetch(url, { method: 'POST', headers, body: `${body.join('')}--b--\r\n` });
  return (await answer.json()) as Record<string, unknown>;
}

describe('what is about the job itself is checked as it is in JSON', () => {
  test.each([
    ['job.contact', 'a@b\r\nBcc: c@d', "'job.contact' has to be one plain mail address"],
    ['job.contact', 'a@b, c@d', "'job.contact' has to be one plain mail address"],
    ['job.name', 'n'.repeat(257), "'job.name' has to be a name of at most 256 characters"],
    ['job.requestId', 'short', "'job.requestId' has to be a text of 8 to 128 characters"],
  ])('%s as %j is refused', async (field, text, says) => {
    const answer = await send([`; name="${field}"`, text]);
    expect(answer).toEqual({ code: 'bad-request', says: expect.stringContaining(says) });
    expect(answer.says).toMatch(/nothing was added$/);
  });

  test('what is right is taken, and what is empty was not said', async () => {
    const answer = await send(['; name="job.name"', 'mine'], ['; name="job.contact"', '']);
    expect(answer).toEqual({ parameters: {}, name: 'mine' });
  });
});

describe('nothing that came is dropped in silence', () => {
  test('a part that is neither text nor a named file', async () => {
    const answer = await send(['; name="text"\r\nContent-Type: application/octet-stream', 'hello']);
    expect(answer).toMatchObject({ code: 'bad-request', says: expect.stringContaining("the parameter 'text'") });
    const file = await send(['; name="one"\r\nContent-Type: application/octet-stream', 'hello']);
    expect(file).toMatchObject({ code: 'bad-request', says: expect.stringContaining('the name of a file') });
  });

  test('a field without a name', async () => {
    expect(await send(['', 'hello'])).toMatchObject({ says: expect.stringContaining('a field has no name') });
  });
});

test('more files than a parameter takes are refused while they arrive', async () => {
  const file = (name: string, n: number): [string, string] => [`; name="${name}"; filename="${n}.txt"`, 'x'];
  const many = await send(file('files', 1), file('files', 2), file('files', 3));
  expect(many).toMatchObject({ says: "'files' takes 2 files at most, and more came: nothing was added" });
  const two = await send(file('one', 1), file('one', 2));
  expect(two).toMatchObject({ says: "'one' takes one file, and more came: nothing was added" });
  expect(left()).toEqual([]);
});

test('many small files come whole and in order, however slow the disk is', async () => {
  const names = Array.from({ length: 1000 }, (_, n) => `${n}.txt`);
  const answer = await send(...names.map((name): [string, string] => [`; name="many"; filename="${name}"`, name]));
  expect(answer).toEqual({ parameters: { many: names } });
});

test('of many small files one that is wrong refuses all', async () => {
  const part = (name: string): [string, string] => [`; name="many"; filename="${name}"`, 'x'.repeat(1000)];
  const names = Array.from({ length: 900 }, (_, n) => (n === 300 ? '.hidden' : `${n}.txt`));
  expect(await send(...names.map(part))).toMatchObject({ says: expect.stringContaining('".hidden"') });
  expect(left()).toEqual([]);
});

test('the texts of a form have a limit together: they are kept in memory', async () => {
  const part: [string, string] = ['; name="text"', 'x'.repeat(1_000_000)];
  const answer = await send(...Array.from({ length: 20 }, () => part));
  expect(answer).toMatchObject({ code: 'body-too-large', says: expect.stringContaining('16 MiB together') });
});

test('a client that has gone before its form is read leaves nothing, and nobody waits for it', async () => {
  before = async (request) => {
    ending.abort();
    await new Promise((resolve) => request.once('close', resolve));
  };
  const ending = new AbortController();
  const headers = { 'content-type': 'multipart/form-data; boundary=b' };
  const body = new ReadableStream({ start: (to) => to.enqueue(Buffer.from('--b\r\n')) });
  await expect(
    fetch(url, { method: 'POST', headers, body, duplex: 'half', signal: ending.signal } as RequestInit),
  ).rejects.toThrow();
  expect(await outcomes[0]).toMatchObject({ code: 'bad-request', says: expect.stringContaining('it broke off') });
  expect(left()).toEqual([]);
});
