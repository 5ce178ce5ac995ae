import { styleText } from 'node:util';
import { formatDuration } from '../../ground/base/duration.ts';
import type { TaskStatus } from '../../ground/protocol/task-state.ts';

export interface Column<Row> {
  readonly title: string;
  readonly of: (row: Row) => string;
  readonly align?: 'right';
}

/** Aligned columns under their titles. Ends of lines are not padded. */
export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map((column) => printable(column.of(row)))),
  ];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => (line[at] ?? '').length)));
  const toLine = (line: readonly string[]): string =>
    line
      .map((cell, at) =>
        columns[at]?.align === 'right' ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0),
      )
      .join('  ')
      .trimEnd();
  return cells.map((line) => `${toLine(line)}\n`).join('');
}

/** What a program or a person named may hold anything: on a terminal only what can be seen is written. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (char) => (char === '\n' || char === '\t' ? ' ' : '\ufffd'));
}

/** How long ago a time was: `3m05s ago`, `in 2h10m`; `-` for none. */
export function formatAge(time: string | null, now: Date): string {
  if (time === null) return '-';
  const seconds = (now.getTime() - Date.parse(time)) / 1000;
  if (Math.abs(seconds) < 1) return 'just now';
  return seconds < 0 ? `in ${formatDuration(-seconds)}` : `${formatDuration(seconds)} ago`;
}

const COLOURS = {
  waiting: 'gray',
  queued: 'gray',
  running: 'cyan',
  succeeded: 'green',
  failed: 'red',
  cancelled: 'yellow',
} as const satisfies Record<TaskStatus, string>;

/** The states, in the order of a life. */
export const STATES = Object.keys(COLOURS) as TaskStatus[];

/** Colours each state where it stands as a word of its own, if a person is looking. */
export function colourStates(text: string, isColoured: boolean): string {
  if (!isColoured) return text;
  return text.replace(/\b(waiting|queued|running|succeeded|failed|cancelled)\b/g, (state) =>
    styleText(COLOURS[state as TaskStatus], state, { validateStream: false }),
  );
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`;
}
