import { readdirSync, readFileSync } from 'node:fs';
import { statFields } from './marked-processes.ts';

/** One process as /proc shows it. CPU in ticks: its own and that of the children it waited for. */
export interface ProcessRow {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly cpuTicks: number;
  readonly startTime: string;
  readonly residentPages: number;
}

/** Every process of the machine that can be seen, in one pass. */
export function readProcessTable(): Map<number, ProcessRow> {
  const rows = new Map<number, ProcessRow>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const row = toRow(pid, statFields(pid));
    if (row) rows.set(pid, row);
  }
  return rows;
}

/** Fields as in proc(5), which counts from 1 and has the pid and the name before these. */
function toRow(pid: number, fields: string[] | undefined): ProcessRow | undefined {
  if (fields === undefined || fields[0] === 'Z' || fields[0] === 'X') return undefined;
  const at = (number: number): number => Number(fields[number - 3]);
  return {
    pid,
    parent: at(4),
    group: at(5),
    session: at(6),
    cpuTicks: at(14) + at(15) + at(16) + at(17),
    startTime: fields[22 - 3] ?? '',
    residentPages: at(24),
  };
}

/**
 * The processes that belong to a program: its session, all descendants of those, and those that belonged to it at an
 * earlier look (a child that left the session and lost its parent since).
 */
export function familyOf(leader: number, table: Map<number, ProcessRow>, earlier: readonly ProcessRow[]): ProcessRow[] {
  const family = new Map<number, ProcessRow>();
  for (const row of table.values()) if (row.pid === leader || row.session === leader) family.set(row.pid, row);
  for (const { pid, startTime } of earlier) {
    const row = table.get(pid);
    if (row?.startTime === startTime) family.set(pid, row);
  }
  for (let grown = true; grown; ) {
    grown = false;
    for (const row of table.values()) {
      if (family.has(row.pid) || !family.has(row.parent)) continue;
      family.set(row.pid, row);
      grown = true;
    }
  }
  return [...family.values()];
}

/** The machine's page size and clock ticks a second, from the vector that the kernel gives each program (64 bit). */
export function machineUnits(): { pageBytes: number; ticksPerSecond: number } {
  const vector = readFileSync('/proc/self/auxv');
  const units = { pageBytes: 4096, ticksPerSecond: 100 };
  for (let at = 0; at + 16 <= vector.length; at += 16) {
    const type = vector.readBigUInt64LE(at);
    const value = Number(vector.readBigUInt64LE(at + 8));
    if (type === 6n) units.pageBytes = value;
    if (type === 17n) units.ticksPerSecond = value;
  }
  return units;
}
