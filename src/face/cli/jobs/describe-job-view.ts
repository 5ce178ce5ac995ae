import { formatDuration } from '../../../ground/base/duration.ts';
import { formatSize } from '../../../ground/base/size.ts';
import type { JobDetail, JobProcesses, JobView, ProcessView, RecordEntry } from '../../../ground/protocol/job.ts';
import { type Column, formatAge, formatTable, plural, printable } from '../table.ts';

/** In a table; `job show` tells all of it. */
const REMARK_LENGTH = 80;

export function jobTable(jobs: readonly JobView[], now: Date): string {
  if (jobs.length === 0)
    return "no jobs: 'pilotage job add SERVICE' or 'pilotage job run --site NAME -- COMMAND' starts one";
  const ofServices = jobs.filter(({ service }) => service !== null).length;
  const where = ofServices === 0 ? 'SITE' : ofServices === jobs.length ? 'SERVICE' : 'SITE OR SERVICE';
  const columns: Column<JobView>[] = [
    { title: 'JOB', of: ({ number }) => number },
    { title: 'NAME', of: ({ name }) => name ?? '' },
    { title: 'STATE', of: ({ state }) => state },
    {
      title: where,
      of: ({ service, site, machine }) => service ?? [site, machine].filter((part) => part !== null).join('/'),
    },
    ...(where === 'SERVICE' ? [] : [{ title: 'BATCH ID', of: ({ batchId }: JobView) => batchId ?? '' }]),
    { title: 'STARTED', of: ({ startedAt }) => formatAge(startedAt, now) },
    { title: 'ENDED', of: ({ finishedAt }) => formatAge(finishedAt, now) },
    { title: '', of: remarkOf },
  ];
  return formatTable(columns, jobs);
}

function remarkOf({ detail, reason, progress }: JobView): string {
  const share = progress?.fraction === undefined ? '' : `${Math.round(progress.fraction * 100)} % `;
  const said = `${share}${detail ?? reason ?? progress?.message ?? ''}`.trim();
  return said.length > REMARK_LENGTH ? `${said.slice(0, REMARK_LENGTH - 1)}…` : said;
}

/** `why`: what keeps it from going on, where its agent cannot say so itself. */
export function describeJob(job: JobDetail, now: Date, why?: string): string {
  const lines: [string, string | undefined][] = [
    ['job', `${job.number}${job.name === null ? '' : ` (${job.name})`}`],
    ['project', `${job.project}, of ${job.owner}`],
    ['state', stateOf(job, now)],
    ['why', why],
    ['detail', job.detail ?? undefined],
    ['message', job.message ?? undefined],
    ['command', job.command?.join(' ')],
    ['site', job.site === null ? undefined : `${job.site}${job.machine === null ? '' : `, on ${job.machine}`}`],
    ['batch id', job.batchId ?? undefined],
    [
      'task',
      job.task === null
        ? undefined
        : `${job.task} (attempt ${job.attempt}): 'pilotage logs ${job.task}', 'pilotage results ${job.task} --to DIR'`,
    ],
    ...serviceLines(job, now),
    ['created', formatAge(job.createdAt, now)],
    [
      'late',
      job.late.length === 0 ? undefined : `${plural(job.late.length, 'record')} that came after its end, kept aside`,
    ],
  ];
  const head = lines
    .filter((line): line is [string, string] => line[1] !== undefined)
    .map(
      ([title, value]) =>
        `${title.padEnd(10)}  ${value
          .split('\n')
          .map(printable)
          .join(`\n${' '.repeat(12)}`)}\n`,
    )
    .join('');
  const record = job.entries.length === 0 ? '' : `\n${formatTable(entryColumns(now), job.entries)}`;
  return `${head}${record}${job.jobs.length === 0 ? '' : `\n${jobTable(job.jobs, now)}`}`;
}

/** What only a service's job has. */
function serviceLines({ service, serviceJob }: JobDetail, now: Date): [string, string | undefined][] {
  if (!serviceJob) return [];
  const { intent, wish, directory, waitsFor, metadata, parameters, failure, dueAt, run, link } = serviceJob;
  const json = (value: object): string | undefined =>
    Object.keys(value).length === 0 ? undefined : JSON.stringify(value);
  return [
    ['service', `${service}${run > 1 ? `, run ${run}` : ''}`],
    ['on its way', intent === null ? undefined : `to ${intent}`],
    ['wanted', wish ?? undefined],
    ['after', waitsFor.length === 0 ? undefined : `job ${waitsFor.join(', ')}`],
    ['run as', runOf(serviceJob.runner)],
    ['directory', directory ?? undefined],
    ['parameters', json(parameters)],
    ['metadata', json(metadata)],
    ['next', dueAt === null ? undefined : formatAge(dueAt, now)],
    ['link', link],
    ['failure', failure === null ? undefined : `in '${failure.hook}': ${failure.stack ?? failure.message}`],
  ];
}

/** What was submitted for it last: its tasks, or its jobs at sites. */
function runOf(runner: unknown): string | undefined {
  const { steps = [] } = (runner ?? {}) as { steps?: readonly { submission: number; job?: string }[] };
  if (steps.length === 0) return undefined;
  return steps
    .map(({ submission, job }) =>
      job === undefined
        ? `tasks of ${submission}: 'pilotage tasks ${submission}', 'pilotage why ${submission}', 'pilotage logs ${submission}.1'`
        : `job ${job}: 'pilotage job show ${job}'`,
    )
    .join('\n');
}

function stateOf({ state, phase, reason, exitCode, startedAt, finishedAt, progress }: JobDetail, now: Date): string {
  const share = progress?.fraction === undefined ? undefined : `${Math.round(progress.fraction * 100)} %`;
  const how = [phase, reason, exitCode === null ? undefined : `exit code ${exitCode}`, share, progress?.message];
  const said = how.filter((part) => part !== undefined && part !== null).join(', ');
  const when = finishedAt ?? startedAt;
  return `${state}${when === null ? '' : ` ${formatAge(when, now)}`}${said === '' ? '' : ` (${said})`}`;
}

function entryColumns(now: Date): Column<RecordEntry>[] {
  return [
    { title: 'RECORD', of: ({ kind }) => kind },
    { title: 'WHAT', of: whatOf },
    { title: 'WHEN', of: (entry) => ('at' in entry ? entry.at : 'startedAt' in entry ? (entry.startedAt ?? '') : '') },
    { title: '', of: (entry) => detailOf(entry, now) },
  ];
}

function whatOf(entry: RecordEntry): string {
  switch (entry.kind) {
    case 'process':
      return `${entry.host}, process ${entry.pid}`;
    case 'step':
      return entry.name;
    case 'file':
      return `${entry.role} ${entry.path}`;
    case 'note':
      return entry.text;
  }
}

function detailOf(entry: RecordEntry, _now: Date): string {
  if (entry.kind === 'step') return entry.exitCode === undefined ? '' : `exit code ${entry.exitCode}`;
  if (entry.kind !== 'file') return '';
  const size = entry.size === undefined ? '' : `${formatSize(entry.size)} `;
  return `${size}${entry.digest?.slice(0, 12) ?? ''}`;
}

interface ProcessRow {
  readonly job: JobProcesses;
  readonly process: ProcessView | undefined;
  readonly depth: number;
}

export function processTable(jobs: readonly JobProcesses[]): string {
  if (jobs.length === 0) return 'no job runs';
  const rows = jobs.flatMap((job): ProcessRow[] =>
    job.processes.length === 0
      ? [{ job, process: undefined, depth: 0 }]
      : inTree(job).map(({ process, depth }) => ({ job, process, depth })),
  );
  const known = (value: number | null | undefined, show: (value: number) => string): string =>
    value === null || value === undefined ? '' : show(value);
  const columns: Column<ProcessRow>[] = [
    { title: 'JOB', of: ({ job }) => job.number },
    { title: 'SITE', of: ({ job }) => [job.site, job.machine].filter((part) => part !== null).join('/') },
    { title: 'BATCH ID', of: ({ job }) => job.batchId ?? '' },
    { title: 'PID', of: ({ process }) => known(process?.pid, String), align: 'right' },
    { title: 'CPU', of: ({ process }) => known(process?.cpuSeconds, formatDuration), align: 'right' },
    { title: 'MEMORY', of: ({ process }) => known(process?.memory, formatSize), align: 'right' },
    { title: 'ELAPSED', of: ({ process }) => known(process?.elapsedSeconds, formatDuration), align: 'right' },
    {
      title: 'PROCESS',
      of: ({ job, process, depth }) => (process ? '  '.repeat(depth) + process.command : absence(job)),
    },
  ];
  return formatTable(columns, rows);
}

function absence({ number, phase, at }: JobProcesses): string {
  if (at === null)
    return `(its agent has not looked yet; it is ${phase ?? 'being claimed'}: 'pilotage job show ${number}' says more)`;
  return '(its batch system tells of none)';
}

/** The controlling process first, its children below it. */
function inTree({ processes }: JobProcesses) {
  const known = new Set(processes.map(({ pid }) => pid));
  const below = (
    parent: number | null,
    depth: number,
  ): { process: JobProcesses['processes'][number]; depth: number }[] =>
    processes
      .filter((one) => (parent === null ? one.parent === null || !known.has(one.parent) : one.parent === parent))
      .flatMap((process) => [{ process, depth }, ...(process.pid === null ? [] : below(process.pid, depth + 1))]);
  return below(null, 0);
}
