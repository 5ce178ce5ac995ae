/** Reads what a sandbox's `map` wrote. The functions inside may have forged it: nothing in it is trusted. */
import { isErrorCode, PilotageError } from '../../../ground/base/errors.ts';
import { SandboxFailure } from './sandbox.ts';
import { toSortKey } from './sort-key.ts';

/** Where functions' own words and errors go. */
export type Say = (kind: 'log' | 'error', message: string) => void;

export interface MappedRow {
  readonly view: number;
  readonly sortKey: Uint8Array;
  /** JSON texts. */
  readonly key: string;
  readonly value: string;
}

export function readMapped(lines: string, say: Say): MappedRow[] {
  const rows: MappedRow[] = [];
  if (lines === '') return rows;
  const parts = lines.split('\n');
  for (let at = 0; at + 1 < parts.length; ) {
    const head = parts[at++]!;
    if (head === 'log' || head === 'error') {
      say(head, String(parse(parts[at++]!)));
      continue;
    }
    const [key, value] = [parts[at++] ?? '', parts[at++] ?? ''];
    if (!/^\d+$/.test(head)) throw new SandboxFailure('crash', 'it tampered with its surroundings');
    rows.push({ view: Number(head), sortKey: sortKeyOf(key), key, value: isPlain(value) ? value : checked(value) });
  }
  return rows;
}

function sortKeyOf(key: string): Uint8Array {
  try {
    return toSortKey(parse(key));
  } catch (error) {
    if (error instanceof PilotageError && isErrorCode(error.code)) throw new SandboxFailure('output', error.message);
    throw error;
  }
}

/** Most values are short strings without escapes and numbers: a look is quicker than a parse. */
function isPlain(value: string): boolean {
  return /^(null|true|false|-?[1-9]\d{0,14}|0|"[ !#-[\]-~]*")$/.test(value);
}

function checked(value: string): string {
  parse(value);
  return value;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SandboxFailure('crash', 'it tampered with its surroundings');
  }
}
