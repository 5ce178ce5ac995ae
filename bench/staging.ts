import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hashFile } from '../src/ground/content/hash-file.ts';
import { exited, startServer } from './server.ts';

const PILOTAGE = join(import.meta.dirname, '../bin/pilotage');
const SMALL_FILES = 1000;
const SMALL_BYTES = 4096;
const MIB = 1024 * 1024;

export interface Staged {
  readonly seconds: number;
  readonly againSeconds: number;
  readonly rsyncSeconds: number;
  /** What it then takes until rsync's files are on disk too. */
  readonly syncSeconds: number;
  readonly rsyncAgainSeconds: number;
  readonly clientPeakMb: number;
  readonly serverPeakMb: number;
}

/** A directory with 1,000 small files, and one large file beside it. */
export function stagingSource(largeMib: number): { readonly directory: string; remove(): void } {
  const directory = mkdtempSync(join(tmpdir(), 'pilotage-staging-'));
  mkdirSync(join(directory, 'small'));
  for (let i = 0; i < SMALL_FILES; i += 1) writeFileSync(join(directory, 'small', `f${i}`), randomBytes(SMALL_BYTES));
  for (let written = 0; written < largeMib; written += 16)
    appendFileSync(join(directory, 'large'), randomBytes(16 * MIB));
  return { directory, remove: () => rmSync(directory, { recursive: true }) };
}

/** The same files to the same disk, by rsync and by a submission to a new server; then both again, with nothing changed. */
export async function stage(source: string): Promise<Staged> {
  const to = mkdtempSync(join(tmpdir(), 'pilotage-staged-'));
  const server = await startServer({ data: join(to, 'data') });
  const rsync = () =>
    secondsOf(spawn('rsync', ['-a', join(source, 'small'), join(source, 'large'), join(to, 'rsync/')]));
  let clientPeakMb = 0;
  const submit = async (): Promise<number> => {
    const argv = ['submit', '--data', server.data, '--input', 'small', '--input', 'large', '--', 'true'];
    const env = { ...process.env, HOME: to, XDG_CACHE_HOME: '' };
    const command = spawn(PILOTAGE, argv, { cwd: source, env, stdio: 'ignore' });
    const watch = setInterval(() => {
      clientPeakMb = Math.max(clientPeakMb, peakMb(command.pid as number));
    }, 20);
    return secondsOf(command).finally(() => clearInterval(watch));
  };
  try {
    // What others left to be written is not to be paid by whoever waits for the disk first.
    execFileSync('sync');
    const rsyncSeconds = await rsync();
    const begun = performance.now();
    execFileSync('sync');
    const syncSeconds = (performance.now() - begun) / 1000;
    const rsyncAgainSeconds = await rsync();
    // Memory that a virtual machine never touched before is slow to write to: both find the same amount of it.
    rmSync(join(to, 'rsync'), { recursive: true });
    const seconds = await submit();
    const againSeconds = await submit();
    const serverPeakMb = peakMb(server.pid);
    return { seconds, againSeconds, rsyncSeconds, syncSeconds, rsyncAgainSeconds, clientPeakMb, serverPeakMb };
  } finally {
    await server.stop();
    rmSync(to, { recursive: true });
  }
}

export async function hashingMibPerSecond(source: string): Promise<{ ours: number; sha256sum: number }> {
  const file = join(source, 'large');
  const begun = performance.now();
  const { size } = await hashFile(file);
  const ours = (performance.now() - begun) / 1000;
  const theirs = await secondsOf(spawn('sha256sum', [file], { stdio: 'ignore' }));
  return { ours: size / MIB / ours, sha256sum: size / MIB / theirs };
}

/** Installs rsync where that is possible. */
export function hasRsync(): boolean {
  const isThere = () => existsSync('/usr/bin/rsync');
  if (!isThere() && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get'))
    execFileSync('sh', ['-c', 'apt-get install -y -q rsync || { apt-get update -q && apt-get install -y -q rsync; }']);
  return isThere();
}

async function secondsOf(command: ChildProcess): Promise<number> {
  const begun = performance.now();
  await exited(command);
  if (command.exitCode !== 0) throw new Error(`${command.spawnargs.join(' ')} ended with ${command.exitCode}`);
  return (performance.now() - begun) / 1000;
}

/** The most memory that a process ever had, in MB; 0 when it is gone. */
function peakMb(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}
