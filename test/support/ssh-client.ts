import path from 'node:path';
import { onTestFinished } from 'vitest';
import type { AskCredential, CredentialQuestion } from '../../src/worker/transport/ssh/credentials.ts';
import { type SshOptions, sshTransport } from '../../src/worker/transport/ssh/ssh-transport.ts';
import type { Transport } from '../../src/worker/transport/transport.ts';
import { type ClientConfigOptions, clientConfig } from './ssh-config.ts';
import type { SshServer } from './ssh-server.ts';
import { temporaryDirectory } from './temporary-directory.ts';

export interface OpenOptions extends Partial<SshOptions> {
  readonly client?: ClientConfigOptions;
}

/** A transport to that server as `site`, closed with the test. Nobody answers questions unless told. */
export function openTransport(server: SshServer, { client, ...options }: OpenOptions = {}): Transport {
  const directory = temporaryDirectory();
  const transport = sshTransport({
    machine: 'site',
    sshConfig: options.sshConfig ?? clientConfig(server, directory, client),
    controlDirectory: path.join(directory, 'control'),
    timeoutMs: 5000,
    tries: 2,
    ask: async () => undefined,
    environment: process.env,
    ...options,
  });
  onTestFinished(() => transport.close());
  return transport;
}

/** Somebody who answers with these, one after the other, and counts. */
export function answering(...answers: readonly (string | undefined)[]): AskCredential & {
  readonly asked: CredentialQuestion[];
  readonly refusals: CredentialQuestion[];
} {
  const asked: CredentialQuestion[] = [];
  const refusals: CredentialQuestion[] = [];
  const ask = async (question: CredentialQuestion): Promise<string | undefined> => {
    asked.push(question);
    return answers[asked.length - 1];
  };
  return Object.assign(ask, {
    asked,
    refusals,
    refused: (question: CredentialQuestion) => void refusals.push(question),
  });
}
