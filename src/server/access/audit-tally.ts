import type { AuditEntry } from '../store/verbs/audit.ts';

/** The first of a burst is written so soon; what follows waits twice as long each time, up to a limit. */
const FIRST_MS = 1000;
const LONGEST_MS = 300_000;
/** So many lines at a time: whoever tries many names from many addresses does not fill the disk. */
const MOST_LINES = 10;
const MOST_KINDS = 1000;

export interface Tally {
  add(entry: AuditEntry): void;
  close(): Promise<void>;
}

/** Counts what is alike, and writes the counts now and then. */
export function createTally(
  write: (entries: readonly AuditEntry[]) => Promise<void>,
  onError: (error: unknown) => void,
): Tally {
  let counts = new Map<string, { readonly entry: AuditEntry; times: number }>();
  let others = 0;
  let timer: NodeJS.Timeout | undefined;
  let waitMs = FIRST_MS;
  let writing: Promise<void> = Promise.resolve();
  const flush = () => {
    const entries = toEntries(counts, others);
    counts = new Map();
    others = 0;
    timer = undefined;
    if (entries.length === 0) return;
    waitMs = Math.min(LONGEST_MS, waitMs * 2);
    timer = setTimeout(flush, waitMs).unref();
    writing = writing.then(() => write(entries)).catch(onError);
  };
  return {
    add(entry) {
      if (timer === undefined) waitMs = FIRST_MS;
      timer ??= setTimeout(flush, waitMs).unref();
      const key = JSON.stringify([entry.who, entry.address, entry.action, entry.subject]);
      const known = counts.get(key);
      if (known) known.times += 1;
      else if (counts.size < MOST_KINDS) counts.set(key, { entry, times: 1 });
      else others += 1;
    },
    async close() {
      clearTimeout(timer);
      flush();
      clearTimeout(timer);
      await writing;
    },
  };
}

/** The most frequent ones each on a line, the rest on one. */
function toEntries(
  counts: ReadonlyMap<string, { readonly entry: AuditEntry; readonly times: number }>,
  others: number,
): AuditEntry[] {
  const sorted = [...counts.values()].sort((a, b) => b.times - a.times);
  const lines = sorted.slice(0, MOST_LINES).map(({ entry, times }) => ({ ...entry, times }));
  const rest = sorted.slice(MOST_LINES);
  const restTimes = others + rest.reduce((sum, { times }) => sum + times, 0);
  const [first] = rest;
  if (!first) return lines;
  return [
    ...lines,
    { ...first.entry, who: '(others)', how: '', address: null, subject: '(several)', times: restTimes },
  ];
}
