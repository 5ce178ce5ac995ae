import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, onTestFinished } from 'vitest';
import { localTransport } from '../../../src/worker/transport/local-transport.ts';
import { pidsOf } from '../../support/processes.ts';
import { openTransport } from '../../support/ssh-client.ts';
import { missingSshd, type SshServer, skipWithoutSshd, startSshServer } from '../../support/ssh-server.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { transportContract } from './transport-contract.ts';

describe('this machine', () => {
  transportContract(() => ({
    open: () => {
      const transport = localTransport({ environment: process.env });
      onTestFinished(() => transport.close());
      return transport;
    },
    place: () => {
      const directory = temporaryDirectory();
      return { there: directory, here: directory };
    },
    running: (command) => pidsOf((line) => line === `${command.replaceAll(' ', '\0')}\0`).length,
  }));
});

describe('a machine that ssh reaches', () => {
  let server: SshServer;
  beforeAll(async () => {
    if (missingSshd() === undefined) server = await startSshServer();
  });
  afterAll(() => server?.stop());
  beforeEach(({ skip }) => skipWithoutSshd(skip));

  const place = (): { there: string; here: string } => {
    const here = mkdtempSync(path.join(server.seen('/tmp'), 'test-'));
    execFileSync('chown', [server.user, here]);
    return { there: path.join('/tmp', path.basename(here)), here };
  };
  const running = (command: string): number => server.running(command);

  describe('over one connection', () =>
    transportContract(() => ({ open: () => openTransport(server), place, running })));
  describe('without multiplexing', () =>
    transportContract(() => ({ open: () => openTransport(server, { multiplex: false }), place, running })));
});
