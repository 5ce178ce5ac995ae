/**
 * Where an agent keeps what must outlive it, one directory for each server:
 *
 *   lock          who has it: one agent at a time
 *   session.json  the last session (mode 0600), which the next agent here replaces
 *   spool/        results not yet acknowledged
 *   jobs/         a journal and a directory for each attempt in its hands
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { PilotageError, systemCode } from '../../ground/base/errors.ts';
import type { OldSession } from '../../ground/claimant/session.ts';
import { isAlive, type ProcessIdentity, thisProcess } from '../staging/process-identity.ts';

export interface AgentDirectory {
  readonly jobs: string;
  readonly spool: string;
  readonly oldSession?: OldSession;
  saveSession(session: OldSession): Promise<void>;
  release(): Promise<void>;
}

/** Rejects with `already-exists` when another agent works with it. */
export async function takeAgentDirectory(base: string, server: string): Promise<AgentDirectory> {
  const directory = agentDirectory(base, server);
  const jobs = path.join(directory, 'jobs');
  const spool = path.join(directory, 'spool');
  for (const one of [jobs, spool]) await mkdir(one, { recursive: true, mode: 0o700 });
  const lock = path.join(directory, 'lock');
  await takeLock(lock);
  const sessionFile = path.join(directory, 'session.json');
  const oldSession = await readSession(sessionFile);
  return {
    jobs,
    spool,
    ...(oldSession ? { oldSession } : {}),
    saveSession: async (session) => {
      await writeFile(`${sessionFile}.new`, JSON.stringify(session), { mode: 0o600, flush: true });
      await rename(`${sessionFile}.new`, sessionFile);
    },
    release: () => unlink(lock).catch(() => undefined),
  };
}

/** Of the agent for this server. */
export function agentDirectory(base: string, server: string): string {
  return path.join(base, createHash('sha256').update(server).digest('hex').slice(0, 16));
}

async function takeLock(lock: string): Promise<void> {
  const owner = await readOwner(lock);
  if (owner && isAlive(owner)) {
    throw new PilotageError(
      'already-exists',
      `an agent for this server runs here already (process ${owner.pid} on ${owner.host}): one is enough for all sites`,
    );
  }
  if (owner !== undefined) await unlink(lock);
  const handle = await open(lock, 'wx', 0o600);
  await handle.writeFile(JSON.stringify(thisProcess()));
  await handle.close();
}

async function readOwner(lock: string): Promise<ProcessIdentity | null | undefined> {
  try {
    const text = await readFile(lock, 'utf8');
    return text === '' ? null : (JSON.parse(text) as ProcessIdentity);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function readSession(file: string): Promise<OldSession | undefined> {
  try {
    const { session, secret } = JSON.parse(await readFile(file, 'utf8')) as OldSession;
    return { session, secret };
  } catch {
    return undefined;
  }
}
