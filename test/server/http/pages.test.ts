import { readdirSync } from 'node:fs';
import path from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { beforeEach, describe, expect, test } from 'vitest';
import { PilotageError } from '../../../src/ground/base/errors.ts';
import type { JobState } from '../../../src/ground/protocol/job-state.ts';
import type { Access } from '../../../src/server/access/access.ts';
import { registerPages } from '../../../src/server/http/pages.ts';
import { createListener } from '../../../src/server/web/listener.ts';
import { memoryLog } from '../../support/memory-log.ts';

const BUILT = path.join(import.meta.dirname, '../../../dist/face/dashboard');
/** What a secret says of its job in these tests. */
const jobs: Readonly<Record<string, { state: JobState; retryAfterSeconds: number | null }>> = {
  running: { state: 'RUNNING', retryAfterSeconds: 5 },
  failed: { state: 'FAILED', retryAfterSeconds: null },
  arriving: { state: 'COMPLETED', retryAfterSeconds: 5 },
  complete: { state: 'COMPLETED', retryAfterSeconds: null },
  archived: { state: 'ARCHIVED', retryAfterSeconds: null },
  expired: { state: 'EXPIRED', retryAfterSeconds: null },
  cancelled: { state: 'CANCELLED', retryAfterSeconds: null },
};

let app: FastifyInstance;
let log: ReturnType<typeof memoryLog>;
beforeEach(() => {
  log = memoryLog();
  const access = {
    authenticate: async () => {
      throw new PilotageError('unauthenticated', 'no token');
    },
  } as unknown as Access;
  app = createListener({ access, log, tls: null });
  registerPages(app, BUILT, async ({ secret }) => {
    const job = jobs[secret];
    if (secret === 'ending') throw new PilotageError('shutting-down', 'the server stops');
    if (secret === 'broken') throw new Error('the store is away');
    if (!job) throw new PilotageError('not-found', 'there is no such job');
    return job;
  });
  app.get('/guarded', async () => 'never');
});

const get = (url: string, headers: Record<string, string> = {}) => app.inject({ method: 'GET', url, headers });

describe('a page', () => {
  test.each(['/', '/services/default/words', '/services/default/words/queue', '/jobs/default/1/complete'])(
    '%s is open, is kept by nobody, and may load what is ours only',
    async (url) => {
      const answer = await get(url);
      expect(answer.statusCode).toBe(200);
      expect(answer.headers['content-type']).toBe('text/html; charset=utf-8');
      expect(answer.headers['cache-control']).toBe('no-store');
      expect(answer.headers['referrer-policy']).toBe('no-referrer');
      expect(answer.headers['x-content-type-options']).toBe('nosniff');
      expect(answer.headers['cross-origin-opener-policy']).toBe('same-origin');
      expect(String(answer.headers['content-security-policy'])).toMatch(/^default-src 'none'; script-src 'self';/);
      expect(String(answer.headers['content-security-policy'])).not.toMatch(/unsafe|https?:/);
      expect(answer.body).not.toMatch(/https?:|style=|<style|onload|<script[^>]*>[^<]/);
      // Where no scripts run it says how to do the same without them.
      expect(answer.body).toMatch(/<noscript>.*curl .*<\/noscript>/s);
    },
  );

  test('names what there is to load, which is kept for ever', async () => {
    const names = [...(await get('/')).body.matchAll(/"(assets\/[^"]+)/g)].map(([, name]) => name!);
    expect(names).toHaveLength(3);
    expect(
      readdirSync(path.join(BUILT, 'assets'))
        .map((name) => `assets/${name}`)
        .sort(),
    ).toEqual(names.sort());
    for (const name of names) {
      const answer = await get(`/${name}`);
      expect(answer.statusCode).toBe(200);
      expect(answer.headers['cache-control']).toBe('public, max-age=31536000, immutable');
      expect(answer.headers['x-content-type-options']).toBe('nosniff');
      const again = await get(`/${name}`, { 'if-none-match': String(answer.headers.etag) });
      expect([again.statusCode, again.body]).toEqual([304, '']);
      const packed = await get(`/${name}`, { 'accept-encoding': 'gzip, br' });
      expect(packed.headers['content-encoding']).toBe('br');
      expect(brotliDecompressSync(packed.rawPayload).equals(answer.rawPayload)).toBe(true);
    }
  });

  test('nothing else is to be had there', async () => {
    for (const url of [
      '/assets/none.js',
      '/assets/..%2fstart.html',
      '/assets/%2e%2e%2f%2e%2e%2fpackage.json',
      '/guarded',
    ])
      expect((await get(url)).statusCode, url).toBeGreaterThanOrEqual(401);
  });
});

describe("the status of a job's page", () => {
  test.each([
    ['running', 503, '5'],
    ['failed', 503, '3600'],
    ['arriving', 503, '5'],
    ['complete', 200, undefined],
    ['archived', 410, undefined],
    ['expired', 410, undefined],
    ['cancelled', 410, undefined],
    ['ending', 503, '10'],
    ['unknown', 404, undefined],
  ])('of one that is %s is %i', async (secret, status, retryAfter) => {
    const answer = await get(`/jobs/default/1/${secret}`);
    expect(answer.statusCode).toBe(status);
    expect(answer.headers['retry-after']).toBe(retryAfter);
    expect(answer.body).toContain('<div id="page">');
  });

  test('of one with another secret is that of one that never was', async () => {
    const [one, other] = [await get('/jobs/default/1/wrong'), await get('/jobs/other/77/wrong')];
    expect(one.body).toBe(other.body);
    expect({ ...one.headers, date: '' }).toEqual({ ...other.headers, date: '' });
  });
});

test("no secret of a job's link gets into the log, whatever becomes of the request", async () => {
  for (const url of [
    '/jobs/default/1/broken',
    '/jobs/default/1/running',
    '/jobs/default/1/complete/SECRET',
    '/%6aobs/default/1/SECRET',
  ])
    await get(url);
  const written = JSON.stringify(log.lines);
  expect(written).toContain('/jobs/default/1/…');
  expect(written).not.toMatch(/SECRET|\/broken|\/running/);
});

test('a script of a page that has no token is told so, and no window of the browser opens', async () => {
  const challenge = async (headers: Record<string, string>) =>
    (await get('/guarded', headers)).headers['www-authenticate'];
  expect(await challenge({ 'x-requested-with': 'XMLHttpRequest' })).toBe('Bearer realm="Pilotage"');
  expect(await challenge({})).toMatch(/^Bearer .*, Basic /);
});
