import { expect, test } from 'vitest';
import { credentialMemory, hostKeyIn, kindOf } from '../../../src/worker/transport/ssh/credentials.ts';
import { explainFailure } from '../../../src/worker/transport/ssh/explain-failure.ts';
import { openGate } from '../../../src/worker/transport/ssh/gate.ts';
import { answering } from '../../support/ssh-client.ts';

// OpenSSH 9.2p1, November 2026; the prompts of PAM modules from their sources.
const UNKNOWN = `The authenticity of host '[127.0.0.1]:2222 ([127.0.0.1]:2222)' can't be established.
ED25519 key fingerprint is SHA256:B7RwH2ZIGdzNA/DS2kvpL4IHPoKWVMlxJA5wWG5pylg.
This key is not known by any other names.
Are you sure you want to continue connecting (yes/no/[fingerprint])? `;

test.each([
  ["alice@example.org's password: ", 'password'],
  ['(alice@example.org) Password: ', 'password'],
  ["Enter passphrase for key '/home/alice/.ssh/password code': ", 'passphrase'],
  ['(alice@example.org) Verification code: ', 'code'],
  ["(alice@example.org) One-time password (OATH) for `alice': ", 'code'],
  ['(alice@example.org) Duo two-factor login\nPasscode or option (1-3): ', 'code'],
  [UNKNOWN, 'host-key'],
  ['Enter PIN for ED25519-SK key: ', 'other'],
])('%s asks for a %s', (prompt, kind) => {
  expect(kindOf(prompt)).toBe(kind);
});

test('a host key is read out of the question', () => {
  expect(hostKeyIn(UNKNOWN)).toEqual({
    host: '[127.0.0.1]:2222 ([127.0.0.1]:2222)',
    type: 'ED25519',
    fingerprint: 'SHA256:B7RwH2ZIGdzNA/DS2kvpL4IHPoKWVMlxJA5wWG5pylg',
  });
});

test.each([
  ['ssh: Could not resolve hostname nowhere: Name or service not known', 'unreachable', 'name-unknown'],
  ['ssh: connect to host 10.0.0.1 port 22: No route to host', 'unreachable', 'no-route'],
  ['ssh: connect to host 10.0.0.1 port 22: Connection timed out', 'unreachable', 'timed-out'],
  ['Connection timed out during banner exchange', 'unreachable', 'timed-out'],
  ['kex_exchange_identification: read: Connection reset by peer', 'unreachable', 'closed'],
  ['channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed', 'unreachable', 'refused'],
  ['Permission denied (a banner)\nConnection closed by 127.0.0.1 port 22', 'unreachable', 'closed'],
  ['alice@example.org: Permission denied (publickey,password).', 'login-refused', undefined],
  ['Received disconnect from 127.0.0.1 port 22:2: Too many authentication failures', 'login-refused', undefined],
  ['/home/alice/.ssh/config: line 3: Bad configuration option: hostnme', 'bad-request', undefined],
])('%j is told as %s', (said, code, why) => {
  const error = explainFailure({ machine: 'site', said, answered: [], wasAsked: false });
  expect(error).toMatchObject({ code, details: { machine: 'site', mayHaveRun: false } });
  expect(error.details.why).toBe(why);
});

test('two who need the same password at once ask once', async () => {
  const ask = answering('secret', 'not needed');
  const memory = credentialMemory(ask);
  const question = { machine: 'site', kind: 'password', prompt: 'password: ' } as const;
  const { signal } = new AbortController();
  expect(await Promise.all([memory(question, signal), memory(question, signal)])).toEqual(['secret', 'secret']);
  expect(ask.asked).toHaveLength(1);
});

test('an answer that nobody gave is asked for again', async () => {
  const ask = answering(undefined, 'secret');
  const memory = credentialMemory(ask);
  const question = { machine: 'site', kind: 'password', prompt: 'password: ' } as const;
  const { signal } = new AbortController();
  expect(await memory(question, signal)).toBeUndefined();
  expect(await memory(question, signal)).toBe('secret');
});

test('a refused session makes the way narrower, and what goes well makes it wider again', async () => {
  const gate = openGate(4);
  for (let at = 0; at < 4; at += 1) await gate.enter();
  expect(gate.refused()).toBe(true);
  gate.leave();
  let isIn = false;
  const waiting = gate.enter().then(() => {
    isIn = true;
  });
  await Promise.resolve();
  expect(isIn).toBe(false);
  for (let at = 0; at < 25; at += 1) gate.went();
  await waiting;
  for (let at = 0; at < 4; at += 1) gate.leave();
  await gate.enter();
  expect(gate.refused()).toBe(false);
});
