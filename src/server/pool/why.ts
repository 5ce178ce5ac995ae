import { formatDuration } from '../../ground/base/duration.ts';
import { formatSize } from '../../ground/base/size.ts';
import { formatTaskId, parseTarget } from '../../ground/base/task-id.ts';
import type { Principal } from '../access/principal.ts';
import { shownState } from '../core/submission.ts';
import type { SubmissionRow } from '../store/verbs/read-submissions.ts';
import type { TaskDetailRow } from '../store/verbs/read-tasks.ts';
import type { Parts } from './parts.ts';
import { taskRow } from './queries.ts';
import { workerOf } from './views.ts';
import { ofQueued } from './why-queued.ts';
import { lossesOf, type Reason } from './why-reason.ts';

/** Ordered reasons, the most telling first, for any state. A submission is answered by its most telling task. */
export async function why(parts: Parts, principal: Principal, id: string) {
  const target = parseTarget(id);
  const idx =
    target.index ??
    (await parts.store.firstTask({
      submission: target.submission,
      states: ['failed', 'running', 'waiting', 'queued', 'cancelled', 'succeeded'],
    }));
  const name = target.index === undefined && idx === null ? id : formatTaskId(target.submission, idx ?? 1);
  const row = await taskRow(parts, principal, name);
  const state = shownState(row.state, row.gate);
  return {
    id: formatTaskId(row.submission_id, row.idx),
    state,
    reasons: await reasonsOf(parts, principal, row, state),
  };
}

async function reasonsOf(
  parts: Parts,
  principal: Principal,
  row: TaskDetailRow,
  state: ReturnType<typeof shownState<TaskDetailRow['state']>>,
): Promise<Reason[]> {
  switch (state) {
    case 'queued':
      return ofQueued(parts, principal, row);
    case 'waiting':
      return ofWaiting(parts, row);
    case 'running':
      return ofRunning(parts, row);
    case 'failed':
      return ofFailed(row);
    case 'cancelled':
      return [
        {
          code: 'cancelled',
          text: `it was cancelled; 'pilotage retry ${nameOf(row)}' queues it again`,
          numbers: { attempts: row.attempt },
        },
      ];
    case 'succeeded':
      return ofSucceeded(row);
  }
}

async function ofWaiting(parts: Parts, row: TaskDetailRow): Promise<Reason[]> {
  const [submission] = await parts.store.getSubmissions({ ids: [row.submission_id] });
  const reasons: Reason[] = [];
  if (row.gate === 'waiting' && submission) reasons.push(...(await ofDependencies(parts, submission)));
  if (row.not_before !== null) {
    const seconds = Math.max(0, (row.not_before - Date.now()) / 1000);
    const why =
      row.failures > 0 && row.state === 'waiting'
        ? `it failed ${row.failures} times and is tried again`
        : 'it is not to start before';
    reasons.push({
      code: row.state === 'waiting' ? 'back-off' : 'not-before',
      text: `${why} ${new Date(row.not_before).toISOString()}, in ${formatDuration(seconds)}`,
      numbers: { seconds, failures: row.failures },
    });
  }
  return reasons;
}

async function ofDependencies(parts: Parts, submission: SubmissionRow): Promise<Reason[]> {
  const open = submission.after.filter((on) => !on.done);
  const rows = await parts.store.getSubmissions({ ids: open.map((on) => on.submission) });
  return open.map((on) => {
    const counts = rows.find((row) => row.id === on.submission)?.counts;
    const unfinished = counts ? counts.waiting + counts.queued + counts.running : 0;
    const name = on.idx === null ? `submission ${on.submission}` : `task ${formatTaskId(on.submission, on.idx)}`;
    return {
      code: 'dependency',
      text: `it comes after ${name}, of which ${on.idx === null ? `${unfinished} tasks are` : 'the outcome is'} not known yet`,
      numbers: { submission: on.submission, unfinished },
    };
  });
}

async function ofRunning(parts: Parts, row: TaskDetailRow): Promise<Reason[]> {
  if (row.worker_peer !== null) return [...atNeighbour(parts, row), ...lossesOf(row)];
  const worker = (await parts.store.listWorkers({ all: true })).find((one) => one.number === row.worker_number);
  const seconds = Math.max(0, (Date.now() - (row.started_at ?? Date.now())) / 1000);
  const heard = worker ? Math.max(0, (Date.now() - worker.seen_at) / 1000) : 0;
  if (worker?.batch_hold === 1) return [...ofSite(row, worker.state === 'alive', heard), ...lossesOf(row)];
  return [
    {
      code: 'running',
      text: `worker w${row.worker_number} on ${worker?.host ?? 'an unknown host'} has run it for ${formatDuration(seconds)} (attempt ${row.attempt}), and was heard of ${formatDuration(heard)} ago`,
      numbers: { seconds, attempt: row.attempt, heard },
    },
    ...lossesOf(row),
  ];
}

function atNeighbour(parts: Parts, row: TaskDetailRow): Reason[] {
  const seconds = Math.max(0, (Date.now() - (row.started_at ?? Date.now())) / 1000);
  const heard = Math.max(0, (Date.now() - (row.worker_seen ?? Date.now())) / 1000);
  const linked = parts.neighbours.linked();
  const isAway = linked !== undefined && !linked.has(row.worker_peer ?? '');
  const away = isAway
    ? ", and cannot be reached now: the task goes on there, and is queued here again if nothing is heard for longer than a lease ('pilotage peer list' says why)"
    : '';
  return [
    {
      code: 'at-neighbour',
      text: `the neighbour ${row.host ?? ''} has had it for ${formatDuration(seconds)} (attempt ${row.attempt}), was heard of ${formatDuration(heard)} ago${away}`,
      numbers: { seconds, attempt: row.attempt, heard },
    },
  ];
}

const AT_SITE: Readonly<Record<string, string>> = {
  login: 'its agent waits for a password or a code',
  staging: 'its files are on their way there',
  submitting: 'it is being submitted',
  pending: 'it waits in the queue of the batch system',
  running: 'it runs',
  fetching: 'it is over, and its files are on their way back',
  merging: 'its results are being written down',
};

/** What the agent said last, and whether it is there at all: its silence loses nothing. */
function ofSite(row: TaskDetailRow, isThere: boolean, heard: number): Reason[] {
  const at = row.site_state === null ? {} : (JSON.parse(row.site_state) as Record<string, string>);
  const { phase = 'staging', machine, batchId, detail } = at;
  const where = [
    machine === undefined ? '' : ` on ${machine}`,
    batchId === undefined ? '' : ` as batch job ${batchId}`,
  ];
  const said = detail === undefined ? '' : `: ${detail}`;
  const numbers = { attempt: row.attempt, heard };
  const silent = {
    code: 'agent-silent',
    text: `its agent on ${row.host ?? 'an unknown host'} was last heard of ${formatDuration(heard)} ago: the job goes on there, and is taken up again when 'pilotage agent' runs on that machine; 'pilotage cancel ${nameOf(row)}' gives it up`,
    numbers: { heard },
  };
  return [
    ...(isThere ? [] : [silent]),
    { code: `site-${phase}`, text: `${AT_SITE[phase] ?? phase}${where.join('')}${said}`, numbers },
  ];
}

const WHAT_TO_DO: Readonly<Record<string, string>> = {
  'exit-code': "'pilotage logs ID' shows what it printed",
  signal: "'pilotage logs ID' shows what it printed",
  'time-limit': 'give it more with --time-limit',
  'memory-limit': 'give it more with --memory',
  'missing-output': "Check --output (a name that ends in '?' is optional), and what 'pilotage logs ID' shows",
  'output-failed': 'look at the message',
  'input-failed': 'look at the message',
  'command-not-found': 'check the name, and that the program is installed on the workers',
  'command-not-executable': 'make it executable, or run it by its interpreter',
  'start-failed': 'look at the message',
  'worker-lost': 'it may crash its workers: look at its memory use',
  'worker-ended': 'its workers end too early: ask for time with --time-request',
  'dependency-failed': 'mend and retry what it comes after, then retry this',
};

function ofFailed(row: TaskDetailRow): Reason[] {
  const last = row.attempts.findLast((attempt) => attempt.reason !== null) ?? row.attempts.at(-1);
  const reason = row.reason ?? 'exit-code';
  const facts = [
    last?.wall_seconds ? `after ${formatDuration(last.wall_seconds)}` : '',
    last?.peak_memory ? `peak memory ${formatSize(last.peak_memory)}` : '',
  ].filter((fact) => fact !== '');
  const said =
    reason === 'dependency-failed' ? 'what it comes after failed' : (last?.message ?? `it failed: ${reason}`);
  const advice = (WHAT_TO_DO[reason] ?? '').replace('ID', nameOf(row));
  const numbers = {
    attempts: row.attempt,
    failures: row.failures,
    losses: row.losses,
    ...(row.exit_code === null ? {} : { exitCode: row.exit_code }),
  };
  return [
    { code: reason, text: `${[said.replace(/[.;]$/, ''), ...facts].join('; ')}. ${advice}`, numbers },
    ...lossesOf({ ...row, failures: row.failures > 1 ? row.failures : 0 }),
    ...lateOf(row),
  ];
}

function lateOf(row: TaskDetailRow): Reason[] {
  return row.late.map((late) => ({
    code: 'late-report',
    text: `attempt ${late.attempt} reported after all and was kept aside (${late.refusal}): 'pilotage task accept ${nameOf(row)}' makes it the outcome`,
    numbers: { attempt: late.attempt },
  }));
}

function ofSucceeded(row: TaskDetailRow): Reason[] {
  const last = row.attempts.findLast((attempt) => attempt.outcome === 'succeeded');
  const numbers = {
    attempts: row.attempt,
    ...(last?.wall_seconds ? { seconds: last.wall_seconds } : {}),
    ...(last?.cpu_seconds ? { cpuSeconds: last.cpu_seconds } : {}),
    ...(last?.peak_memory ? { peakMemory: last.peak_memory } : {}),
  };
  if (row.reused_from !== null)
    return [
      {
        code: 'reused',
        text: `it was not run: task ${row.reused_from} had asked the same and succeeded, and its result was taken (--reuse)`,
        numbers,
      },
    ];
  return [
    {
      code: 'succeeded',
      text: `attempt ${row.attempt} succeeded on ${workerName(last ?? row)}${last?.wall_seconds ? ` after ${formatDuration(last.wall_seconds)}` : ''}`,
      numbers,
    },
    ...lossesOf(row),
  ];
}

function workerName(row: Parameters<typeof workerOf>[0]): string {
  return row.worker_peer === null
    ? `worker ${workerOf(row) ?? 'that is not known any more'}`
    : `the neighbour ${row.host}`;
}

function nameOf(row: TaskDetailRow): string {
  return formatTaskId(row.submission_id, row.idx);
}
