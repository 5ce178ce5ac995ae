import { MARK, WITHIN } from '../scheduler/process/shell-library.ts';
import { quote } from '../transport/quote.ts';
import { DISMISS_GUARD, GUARD_FD, startGuard } from './job-guard.ts';

/** Names of the files in a job's directory on the machine. */
export const FILES = {
  jobball: 'setup',
  finished: 'finished',
  work: 'project',
  script: 'job.sh',
  stdout: 'stdout.txt',
  stderr: 'stderr.txt',
  batchOut: 'batch-stdout.txt',
  batchErr: 'batch-stderr.txt',
  record: 'record.jsonl',
  progress: 'progress.jsonl',
  started: 'started',
  missing: 'missing',
  /** Written anew as long as it runs: a batch system that has forgotten a job is no proof that it is over. */
  alive: 'alive',
  /** Of the outputs, as the machine has them. */
  digests: 'digests.txt',
  names: 'outputs.names',
  /** Written last: the exit code, and `not-found` or `not-executable` behind it. */
  exitCode: 'exit-code',
} as const;

const ALIVE_SECONDS = 15;

export interface JobScript {
  readonly name: string;
  /** Absolute, there. */
  readonly directory: string;
  readonly work: string;
  readonly programDirectory?: string;
  readonly setup: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly command: readonly string[];
}

/**
 * What a batch system runs on the machine: the program once, however often the script is started, and a record of it.
 * The exit-code file comes last, by renaming: whoever sees it finds everything else complete.
 */
export function jobBody(job: JobScript): string {
  const { name, directory, work, command } = job;
  const [program = 'true'] = command;
  return `cd ${quote(directory)} || exit 125
mkdir ${FILES.started} 2>/dev/null || { echo 'pilotage: started a second time, nothing is run' >&2; exit 125; }
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
begun=$(now)
host=$(uname -n | tr -cd 'A-Za-z0-9._-')
printf '{"kind":"process","id":"%s","host":"%s","pid":%s,"startedAt":"%s"}\\n' process "$host" "$$" "$begun" >>${FILES.record}
${Object.entries(job.environment)
  .map(([name, value]) => `export ${name}=${quote(value)}`)
  .join('\n')}
export ${MARK}=${quote(name)} ${WITHIN}="\${SLURM_JOB_ID:-}"
${programPath(job.programDirectory)}
run() {
  cd ${quote(work)} || exit 125
${job.setup.join('\n')}
  command -v ${quote(program)} >/dev/null 2>&1 || : >${quote(`${directory}/${FILES.missing}`)}
  exec ${command.map(quote).join(' ')}
}
${startGuard(name)}
( trap 'kill $nap; exit 0' TERM; while kill -0 $$; do date +%s >${FILES.alive}; sleep ${ALIVE_SECONDS} & nap=$!; wait; done ) </dev/null >/dev/null 2>&1 ${GUARD_FD}>&- &
beat=$!
# When it is asked to end the script outlives the program: whoever ends the whole tree begins here.
trap : TERM
( run ) </dev/null >${FILES.stdout} 2>${FILES.stderr} ${GUARD_FD}>&-
code=$?
kill $beat 2>/dev/null
missing=
[ $code -eq 127 ] && [ -e ${FILES.missing} ] && missing=not-found
[ $code -eq 126 ] && [ -e ${FILES.missing} ] && missing=not-executable
printf '{"kind":"step","id":"%s","name":"command","startedAt":"%s","finishedAt":"%s","exitCode":%s}\\n' command "$begun" "$(now)" "$code" >>${FILES.record}
printf '%s %s\\n' "$code" "$missing" >${FILES.exitCode}.part && mv ${FILES.exitCode}.part ${FILES.exitCode}
${DISMISS_GUARD}
exit $code
`;
}

/** Programs there are found before others. */
function programPath(programDirectory: string | undefined): string {
  if (programDirectory === undefined) return '';
  const at = quote(programDirectory);
  return `PILOTAGE_PROGRAM_DIRECTORY=${at}; PATH=${at}/bin:${at}:$PATH; export PILOTAGE_PROGRAM_DIRECTORY PATH`;
}
