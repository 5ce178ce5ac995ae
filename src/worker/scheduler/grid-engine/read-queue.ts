import type { BatchStatus } from '../scheduler.ts';

/** A job as `qstat -xml` shows it. */
export interface QueuedJob {
  readonly id: string;
  readonly name: string;
  /** Letters: `qw`, `hqw`, `Eqw`, `t`, `r`, `s`, `dr`, `z`, … (qstat(1)). */
  readonly state: string;
  /** The queue instance that runs it, as `all.q@host`. */
  readonly queue: string;
  readonly startedAt?: Date;
  readonly slots?: number;
}

/** Undefined when the text is not a whole answer. */
export function readQstat(xml: string): QueuedJob[] | undefined {
  if (!xml.includes('<job_info') || !xml.includes('</job_info>')) return undefined;
  return [...xml.matchAll(/<job_list[^>]*>([\s\S]*?)<\/job_list>/g)].flatMap(([, body = '']) => {
    const id = element(body, 'JB_job_number');
    if (id === undefined || !/^\d+$/.test(id)) return [];
    const started = element(body, 'JAT_start_time');
    // Local time of the machine there, without a zone: taken as ours, for people only.
    const startedAt = started ? { startedAt: new Date(started) } : {};
    return [
      {
        id,
        name: element(body, 'JB_name') ?? '',
        state: element(body, 'state') ?? '',
        queue: element(body, 'queue_name') ?? '',
        ...startedAt,
      },
    ];
  });
}

/** @param reasons what `qstat -j` and `qalter -w v` say of waiting jobs */
export function statusOf(job: QueuedJob, reasons: WaitingReasons): BatchStatus {
  const { state } = job;
  const node = job.queue.split('@')[1];
  const running = {
    state: 'running',
    ...(node ? { node } : {}),
    ...(job.startedAt ? { since: job.startedAt } : {}),
  } as const;
  if (state.includes('z')) return { state: 'ended' };
  if (/w/.test(state)) {
    const reason = reasons.words.get(job.id);
    const hopeless = state.includes('E') || reasons.impossible.has(job.id);
    return { state: 'pending', hopeless, reason: reason ?? `state ${state}` };
  }
  // A job that was told to go, and still has its host.
  if (/d/.test(state)) return { state: 'ending' };
  return /[rtsSTRN]/.test(state) ? running : { state: 'unknown', words: `Grid Engine says ${state}` };
}

export interface WaitingReasons {
  readonly words: ReadonlyMap<string, string>;
  readonly impossible: ReadonlySet<string>;
}

/**
 * `qstat -j 8,9` prints a block for each job; the reason of an error state, and what the scheduler thought last where a
 * site lets it say so (schedd_job_info).
 */
export function readReasons(text: string): Map<string, string> {
  const reasons = new Map<string, string>();
  for (const block of text.split(/^={10,}$/m)) {
    const id = /^job_number:\s+(\d+)/m.exec(block)?.[1];
    const error = /^error reason\s+\d+:\s+(.*)$/m.exec(block)?.[1];
    const thought = /^scheduling info:\s+([\s\S]*)$/m
      .exec(block)?.[1]
      ?.trim()
      .split(/\s*\n\s*/)[0];
    const words = error ?? thought;
    if (id && words && !/turned off|no messages/i.test(words)) reasons.set(id, words.trim());
  }
  return reasons;
}

/** After each `@job N`: `qalter -w v N`, which plays through whether an empty cluster could run it. */
export function readVerification(text: string): Set<string> {
  const blocks = text.split(/^@job /m).slice(1);
  return new Set(
    blocks.filter((block) => /verification: no suitable queues/i.test(block)).map((block) => /^\d+/.exec(block)![0]),
  );
}

function element(body: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([\\s\\S]*?)</${name}>`).exec(body)?.[1];
  return text
    ?.trim()
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&');
}
