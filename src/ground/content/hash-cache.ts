/**
 * Digests of files that were hashed before, in a text file that only grows at its end. A line that cannot be read is as
 * good as none, and a file that cannot be written costs nothing but time.
 */
import type { BigIntStats } from 'node:fs';
import { appendFile, mkdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import type { Digest } from '../base/digest.ts';
import { type Hashed, type HashedFile, hashFile } from './hash-file.ts';

export interface HashCache {
  /** The file's digest, from before when nothing about the file has changed since. Rejects as `hashFile` does. */
  hash(file: string): Promise<Hashed>;
  /** Keeps what was learned. Never rejects. */
  save(): Promise<void>;
}

export interface HashCacheOptions {
  /** What was used longest ago goes first. */
  readonly maxEntries?: number;
  readonly now?: () => number;
}

const MAX_ENTRIES = 200_000;
/** A file that was written to so shortly before it was read may be written to again within the same tick of its clock. */
const RACY_MS = 2000;
/** Their servers' clocks are not ours, and what they say of a file may be old. Numbers from statfs(2). */
const NETWORK = new Set([
  0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x0bd00bd0, 0x47504653, 0x00c36400, 0x5346414f, 0x65735546, 0x19830326,
  0xaad7aaea, 0x01021997, 0x73757245, 0x7461636f, 0x01161970, 0x20030528,
]);

export async function openHashCache(file: string, options: HashCacheOptions = {}): Promise<HashCache> {
  const { maxEntries = MAX_ENTRIES, now = Date.now } = options;
  const { lines, count } = await readLines(file);
  const fresh = new Map<string, string>();
  const networks = new Map<bigint, Promise<boolean>>();
  const isOnNetwork = (at: string, device: bigint): Promise<boolean> => {
    const known = networks.get(device) ?? isNetworkDisk(at);
    networks.set(device, known);
    return known;
  };
  return {
    async hash(at) {
      const key = JSON.stringify(path.resolve(at));
      const stats = await stat(at, { bigint: true });
      if (await isOnNetwork(at, stats.dev)) return hashFile(at);
      const known = parseFacts(lines.get(key), key, stats);
      if (known) return { digest: known, size: Number(stats.size) };
      const begun = now();
      const hashed = await hashFile(at);
      if (isSettled(hashed, begun)) fresh.set(key, formatFacts(key, hashed));
      return hashed;
    },
    async save() {
      if (fresh.size === 0) return;
      for (const [key, facts] of fresh) {
        lines.delete(key);
        lines.set(key, facts);
      }
      const tooLong = count + fresh.size > Math.max(2 * lines.size, 1000) || lines.size > maxEntries;
      await (tooLong ? rewrite(file, lines, maxEntries) : append(file, fresh)).catch(() => {});
      fresh.clear();
    },
  };
}

/** The last line about a file counts. */
async function readLines(file: string): Promise<{ lines: Map<string, string>; count: number }> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const lines = new Map<string, string>();
  let count = 0;
  for (const line of text.split('\n')) {
    const end = line.indexOf('\t');
    if (end < 0) continue;
    count += 1;
    const key = line.slice(0, end);
    lines.delete(key);
    lines.set(key, line.slice(end + 1));
  }
  return { lines, count };
}

function parseFacts(line: string | undefined, key: string, stats: BigIntStats): Digest | undefined {
  if (line === undefined) return undefined;
  const end = line.lastIndexOf('\t');
  const [facts, check] = [line.slice(0, end), line.slice(end + 1)];
  const last = facts.lastIndexOf('\t');
  if (facts.slice(0, last) !== factsOf(stats) || check !== checkOf(key, facts)) return undefined;
  return facts.slice(last + 1) as Digest;
}

function formatFacts(key: string, { stats, digest }: HashedFile): string {
  const facts = `${factsOf(stats)}\t${digest}`;
  return `${facts}\t${checkOf(key, facts)}`;
}

function factsOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join('\t');
}

function checkOf(key: string, facts: string): string {
  return crc32(`${key}\t${facts}`).toString(16);
}

function isSettled({ stats }: HashedFile, begunMs: number): boolean {
  return begunMs - Number(stats.ctimeNs / 1_000_000n) >= RACY_MS;
}

async function append(file: string, fresh: ReadonlyMap<string, string>): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  // The line before may have been cut off.
  await appendFile(file, `\n${textOf(fresh)}`, { mode: 0o600 });
}

async function rewrite(file: string, lines: ReadonlyMap<string, string>, maxEntries: number): Promise<void> {
  const newest = new Map([...lines].slice(-maxEntries));
  const temporary = `${file}.${process.pid}.part`;
  try {
    await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
    await writeFile(temporary, textOf(newest), { mode: 0o600 });
    await rename(temporary, file);
  } finally {
    await rm(temporary, { force: true });
  }
}

function textOf(lines: ReadonlyMap<string, string>): string {
  return [...lines].map(([key, facts]) => `${key}\t${facts}\n`).join('');
}

async function isNetworkDisk(file: string): Promise<boolean> {
  try {
    return NETWORK.has((await statfs(file)).type >>> 0);
  } catch {
    return true;
  }
}
