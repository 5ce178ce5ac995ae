import { hostname } from 'node:os';
import { PilotageError } from '../../ground/base/errors.ts';
import type { Client } from '../../ground/client/client.ts';
import type { HostPollReply, HostRequest, JobChange, ServiceView } from '../../ground/protocol/service.ts';
import { workerCalls } from '../../ground/protocol/worker-calls.ts';
import { isAlive, type ProcessIdentity, thisProcess } from '../staging/process-identity.ts';

export type ChangeAnswer = { readonly ok: boolean; readonly refusal?: string; readonly wish?: string | null };

/** A service at its server, as the one host that it has. */
export interface HostSession {
  readonly number: number;
  /** What whoever runs the host should know. */
  readonly warnings: readonly string[];
  change(changes: readonly JobChange[], signal: AbortSignal): Promise<readonly ChangeAnswer[]>;
  /** `isWaiting`: until there is something. */
  poll(from: { after: number; nudged: number; isWaiting: boolean }, signal: AbortSignal): Promise<HostPollReply>;
  leave(reason: string | undefined): Promise<void>;
}

const POLL_SECONDS = 20;

export type HostedService = Omit<HostRequest, 'host' | 'takeOver'>;

/**
 * Becomes the host of a service. Rejects with `already-hosted` while another one lives; one that was on this machine and
 * whose process is gone need not be waited for.
 */
export async function openHostSession(
  client: Client,
  at: { readonly project: string; readonly service: string },
  { version, facts, takeOver: isTakeOver }: { version: string; facts: HostedService; takeOver?: boolean },
): Promise<HostSession> {
  const before = await serviceIfThere(client, at);
  const takeOver = before?.host && (isTakeOver || isDead(before.host.process)) ? { takeOver: before.host.session } : {};
  const host = { host: hostname(), pid: process.pid, process: JSON.stringify(thisProcess()), version };
  const { session, secret, warnings } = await client.call(workerCalls.hostService, {
    params: at,
    body: { ...facts, host, ...takeOver },
  });
  const params = { ...at, session: String(session) };
  const headers = { 'x-pilotage-session': secret };
  return {
    number: session,
    warnings,
    change: async (changes, signal) => {
      const body = { changes: [...changes] };
      const { results } = await client.call(workerCalls.changeServiceJobs, { params, headers, body, signal });
      return results as readonly ChangeAnswer[];
    },
    poll: ({ after, nudged, isWaiting }, signal) =>
      client.call(workerCalls.pollService, {
        params,
        headers,
        body: { after, nudged, waitSeconds: isWaiting ? POLL_SECONDS : 0 },
        signal,
        timeoutSeconds: POLL_SECONDS + 30,
      }),
    leave: async (reason) => {
      const body = reason === undefined ? {} : { reason: reason.slice(0, 4000) };
      await client.call(workerCalls.leaveService, { params, headers, body, timeoutSeconds: 5 });
    },
  };
}

async function serviceIfThere(
  client: Client,
  at: { project: string; service: string },
): Promise<ServiceView | undefined> {
  try {
    return await client.call(workerCalls.service, { params: at });
  } catch (error) {
    if (error instanceof PilotageError && error.code === 'not-found') return undefined;
    throw error;
  }
}

function isDead(process: string): boolean {
  try {
    return !isAlive(JSON.parse(process) as ProcessIdentity);
  } catch {
    return false;
  }
}
