/**
 * A worker that claims and reports and runs nothing: `null-worker.ts URL TOKEN_FILE`. NULL_KIND: what it takes, bare payloads
 * unless told; NULL_SLOTS: how many at once; NULL_MS: how long each takes.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startClaimant } from '../src/ground/claimant/exchange-loop.ts';
import type { LiveAttempt } from '../src/ground/claimant/executor.ts';
import { openSpool } from '../src/ground/claimant/spool.ts';
import { createClient } from '../src/ground/client/client.ts';
import { httpTransport } from '../src/ground/client/http-transport.ts';
import type { Report } from '../src/ground/protocol/exchange.ts';
import { PROTOCOL_VERSION } from '../src/ground/protocol/limits.ts';

const [url = '', tokenFile = ''] = process.argv.slice(2);
const token = readFileSync(tokenFile, 'utf8').trim();
const directory = mkdtempSync(join(tmpdir(), 'pilotage-null-'));
const quiet = { debug() {}, info() {}, warn: console.warn, error: console.error };
const CAPACITY = Number(process.env.NULL_SLOTS ?? 2000);
const LASTS_MS = Number(process.env.NULL_MS ?? 0);
const kind = process.env.NULL_KIND === 'command' ? ('command' as const) : ('payload' as const);
const total = { cpus: CAPACITY, memory: 2 ** 40, gpus: 0, named: {} };
let running = 0;

const claimant = startClaimant({
  client: createClient(httpTransport({ url }), () => token),
  spool: await openSpool(directory, quiet),
  log: quiet,
  describe: () => ({
    protocol: PROTOCOL_VERSION,
    version: 'bench',
    name: 'null',
    host: 'bench',
    pid: process.pid,
    zone: null,
    total,
    labels: {},
    kinds: [kind],
    remainingSeconds: null,
  }),
  executor: {
    start(claim): LiveAttempt {
      running += 1;
      const report: Report = {
        task: claim.task,
        attempt: claim.attempt,
        secret: claim.secret,
        outcome: 'succeeded',
        exitCode: 0,
      };
      return {
        ended: LASTS_MS === 0 ? Promise.resolve(report) : pause(LASTS_MS, report),
        end() {},
        state: () => ({ started: true }),
        takeLogs: () => [],
        returnLogs() {},
      };
    },
    room: () => ({
      offer: { ...total, cpus: CAPACITY - running },
      claims: Math.min(1000, CAPACITY - running),
      ahead: 0,
      patient: false,
    }),
    settled() {
      running -= 1;
    },
    onRoom() {},
  },
});
process.once('SIGTERM', claimant.stop);
await claimant.done;
rmSync(directory, { recursive: true, force: true });
process.exit(0);
