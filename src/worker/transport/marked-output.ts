/** Finds the output of scripts in what a connection prints: between two marks. Everything else is noise. */
import type { Marks } from './command-line.ts';

export interface OutputHeard {
  /** The script began. */
  begun(processId: number): void;
  /** Its output. A promise that is returned holds back what comes next. */
  bytes(piece: Buffer): Promise<void> | undefined;
  ended(exitCode: number): void;
  /** What login shells, rc files and ssh itself print. */
  noise(piece: Buffer): void;
}

export interface MarkedOutput {
  /** From now on these marks are looked for. */
  expect(marks: Marks): void;
  take(piece: Buffer): Promise<void>;
}

/**
 *   noise ──begin 123;──▶ inside ──end 0;──▶ noise
 */
export function markedOutput(heard: OutputHeard): MarkedOutput {
  let marks: Marks | undefined;
  let isInside = false;
  let kept = Buffer.alloc(0);

  const give = async (piece: Buffer): Promise<void> => {
    if (piece.length === 0) return;
    if (isInside) await heard.bytes(piece);
    else heard.noise(piece);
  };
  const cross = (value: number): void => {
    isInside = !isInside;
    if (!isInside) marks = undefined;
    if (isInside) heard.begun(value);
    else heard.ended(value);
  };
  return {
    expect: (next) => {
      marks = next;
    },
    take: async (piece) => {
      let rest = kept.length > 0 ? Buffer.concat([kept, piece]) : piece;
      kept = Buffer.alloc(0);
      while (marks) {
        const mark = isInside ? marks.end : marks.begin;
        const at = rest.indexOf(mark);
        if (at < 0) break;
        const stop = rest.indexOf(';', at + mark.length);
        await give(rest.subarray(0, at));
        rest = rest.subarray(at);
        if (stop < 0) {
          kept = Buffer.from(rest);
          return;
        }
        const value = Number(rest.toString('latin1', mark.length, stop - at));
        rest = rest.subarray(stop - at + 1);
        cross(value);
      }
      const held = marks ? heldBack(rest, isInside ? marks.end : marks.begin) : 0;
      await give(rest.subarray(0, rest.length - held));
      kept = Buffer.from(rest.subarray(rest.length - held));
    },
  };
}

/** How many of the last bytes may be the beginning of the mark. */
function heldBack(bytes: Buffer, mark: string): number {
  for (let length = Math.min(mark.length - 1, bytes.length); length > 0; length -= 1) {
    if (bytes.toString('latin1', bytes.length - length) === mark.slice(0, length)) return length;
  }
  return 0;
}
