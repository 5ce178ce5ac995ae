/**
 * Where an agent keeps what must outlive it, one directory for each server:
 *
 *   lock          who has it: one agent at a time
 *   session.json  the last session (mode 0600), which the next agent here replaces
 *   spool/        results not yet acknowledged
 *   jobs/         a journal and a directory for each attempt in its hands
 */
import { createHash, randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rename, unlink, writeFile } from 'node:fs/promises';
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
  if (owner !== undefined) await removeLeft(lock);
  // It comes into being with its owner in it: nobody takes it for one that was left half-written.
  const own = `${lock}.${randomUUID()}`;
  await writeFile(own, JSON.stringify(thisProcess()), { mode: 0o600, flush: true });
  try {
    await link(own, lock);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    throw justStarted();
  } finally {
    await unlink(own);
  }
}

/** Looked at once more when nobody else can take it: another agent may have put its own there since. */
async function removeLeft(lock: string): Promise<void> {
  const aside = `${lock}.${randomUUID()}`;
  try {
    await rename(lock, aside);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    throw error;
  }
  const owner = await readOwner(aside);
  const isTaken = owner ? isAlive(owner) : false;
  if (isTaken) await link(aside, lock).catch(() => undefined);
  await unlink(aside);
  if (isTaken) throw justStarted();
}

function justStarted(): PilotageError {
  return new PilotageError('already-exists', 'another agent for this server has just been started here: one is enough');
}

async function readOwner(lock: string): Promise<ProcessIdentity | null | undefined> {
  try {
    return JSON.parse(await readFile(lock, 'utf8')) as ProcessIdentity;
  } catch (error) {
    // Cut short by a full disk or a power cut: nobody's.
    if (error instanceof SyntaxError) return null;
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
