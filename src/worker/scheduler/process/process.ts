/** A machine without a batch system: the job is a process that goes on when the connection ends. */
import { quote } from '../../transport/quote.ts';
import { ask, sectionOf } from '../answer.ts';
import type {
  BatchCandidate,
  BatchId,
  BatchName,
  BatchRef,
  BatchStatus,
  CheckResult,
  Scheduler,
} from '../scheduler.ts';
import type { Shell } from '../shell.ts';
import { cancelProcesses } from './cancel.ts';
import { toBatchId } from './identity.ts';
import { endingOf, lookScript, readSeen, type Seen, statusOf } from './look.ts';
import { processesOf } from './processes.ts';
import { processScript } from './script.ts';
import { submitProcess } from './submit.ts';

export interface ProcessOptions {
  /** Of one command there: 60 seconds unless told; `cancel` adds the grace. */
  readonly timeoutMs?: number;
  /** Between TERM and KILL: 10 seconds unless told. */
  readonly graceSeconds?: number;
  /** The POSIX shell that runs the script there, with an applet's name where it needs one. */
  readonly interpreter?: readonly string[];
  /** Where processes are looked up; ps is asked where there is no such directory. */
  readonly proc?: string;
}

export function createProcessScheduler(options: ProcessOptions = {}): Scheduler {
  const { timeoutMs = 60_000, graceSeconds = 10, interpreter = ['/bin/sh'], proc = '/proc' } = options;
  const looked = async (shell: Shell, jobs: readonly BatchRef[]): Promise<Map<BatchRef, Seen>> => {
    if (jobs.length === 0) return new Map();
    const answer = await ask(shell, { what: 'the machine', sections: { look: lookScript(jobs, proc) }, timeoutMs });
    const seen = readSeen(sectionOf(answer, 'look').stdout);
    return new Map([...seen].map(([index, one]) => [jobs[index]!, one]));
  };
  return {
    name: 'process',
    script: (job) => processScript(job, { proc, graceSeconds }),
    submit: (shell, job, path) => submitProcess(shell, job, path, { timeoutMs, interpreter }),
    poll: async (shell, jobs) => {
      const seen = await looked(shell, jobs);
      const nothing: BatchStatus = { state: 'unknown', words: 'the machine said nothing about it' };
      return new Map(jobs.map((job) => [job.id, seen.has(job) ? statusOf(job, seen.get(job)!) : nothing]));
    },
    find: (shell, names) => findClaims(shell, names, timeoutMs),
    outcome: async (shell, job) => {
      const seen = (await looked(shell, [job])).get(job);
      return seen && endingOf(job, seen);
    },
    cancel: (shell, jobs) => cancelProcesses(shell, jobs, { proc, graceSeconds, timeoutMs }),
    check: (shell) => checkMachine(shell, timeoutMs),
    processes: (shell, jobs) => processesOf(shell, jobs, { proc, timeoutMs }),
  };
}

async function findClaims(
  shell: Shell,
  names: readonly BatchCandidate[],
  timeoutMs: number,
): Promise<Map<BatchName, BatchId>> {
  if (names.length === 0) return new Map();
  const reads = names.map(
    ({ name, directory }, index) =>
      `{ read -r claim <${quote(`${directory}/.${name}/claim`)}; } 2>/dev/null && echo "${index} $claim"`,
  );
  const answer = await ask(shell, { what: 'the machine', sections: { find: reads.join('\n') }, timeoutMs });
  const found = new Map<BatchName, BatchId>();
  for (const line of sectionOf(answer, 'find').stdout.split('\n')) {
    const [index = '', claim = ''] = line.split(' ');
    const id = toBatchId(claim);
    const candidate = names[Number(index)];
    if (id && candidate) found.set(candidate.name, id);
  }
  return found;
}

const NEEDED =
  'for c in awk sed grep tr cut cat mv ln mkdir date uname sort; do command -v $c >/dev/null 2>&1 || echo $c; done';
const SESSIONS = 'for c in setsid perl python3 nohup; do command -v $c && break; done';

async function checkMachine(shell: Shell, timeoutMs: number): Promise<CheckResult> {
  const sections = { missing: NEEDED, sessions: SESSIONS, who: 'id -un', system: 'uname -sr' };
  const answer = await ask(shell, { what: 'the machine', sections, timeoutMs });
  const text = (name: string): string => sectionOf(answer, name).stdout.trim();
  const missing = text('missing').split('\n').filter(Boolean).join(', ');
  if (missing !== '' || text('sessions') === '') {
    return {
      ok: false,
      problem: `not found there: ${missing || 'setsid, perl, python3 or nohup'}`,
      advice: 'Install them, or have them on the PATH of a plain login.',
    };
  }
  const detail = `processes detached by ${text('sessions').split('/').at(-1)}, account ${text('who')}`;
  return { ok: true, version: text('system'), detail };
}
