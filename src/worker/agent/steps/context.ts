import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import type { Log } from '../../../ground/claimant/executor.ts';
import type { Client } from '../../../ground/client/client.ts';
import type { SiteState } from '../../../ground/protocol/job.ts';
import { pause } from '../../staging/retry.ts';
import type { Ending, JournalEntry } from '../journal.ts';
import type { Machine } from '../machine.ts';
import type { PilotMeans } from '../pilot/means.ts';

/** What the steps of one job have in common. */
export interface Context {
  readonly machine: Machine;
  readonly client: Client;
  readonly log: Log;
  readonly pilots: PilotMeans;
  /** Of the attempt, here. */
  readonly local: string;
  /** Comes when nobody wants the job any more, or when the agent ends: what can wait is given up. */
  readonly signal: AbortSignal;
  /** Writes down what is next; resolves when it is on disk. */
  keep(entry: JournalEntry): Promise<JournalEntry>;
  /** Told to whoever looks at the job. */
  show(state: Shown): void;
  /** Machine and batch id, for the report. */
  where(): SiteState;
  /** Resolves when somebody gave a password, or accepted a host key, or after a while. */
  loginTried(signal: AbortSignal): Promise<void>;
}

/** What of it is told anew; undefined is told no more. */
export type Shown = { readonly [K in keyof SiteState]?: SiteState[K] | undefined };

/** The job cannot go on, and says why: that is how it ends. */
export class JobFault extends Error {
  readonly ending: Ending;

  constructor(reason: NonNullable<Ending['reason']>, message: string, options?: ErrorOptions) {
    super(message, options);
    this.ending = { outcome: 'failed', reason, message };
  }
}

const LOGIN_CODES = ['credential-missing', 'login-refused', 'host-key-unknown'];
const AWAY_CODES = ['unreachable', 'connection-lost', 'timed-out', 'scheduler-silent', 'transfer-failed'];
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;

/** How often a machine that is away is tried before the job is given up; undefined: for ever, because it runs there. */
export interface Persistence {
  readonly tries?: number;
}

/**
 * Does what needs the machine, and again while it is away. Where a person is needed (a password, an unknown host key) it
 * waits, however long. What is wrong otherwise ends the job: `start-failed`, unless the step said it better.
 */
export async function withMachine<T>(context: Context, { tries }: Persistence, act: () => Promise<T>): Promise<T> {
  let wait = FIRST_PAUSE_MS;
  for (let tried = 1; ; ) {
    context.signal.throwIfAborted();
    try {
      const done = await act();
      context.show({ detail: undefined });
      return done;
    } catch (error) {
      if (context.signal.aborted || error instanceof JobFault) throw error;
      const code = error instanceof PilotageError ? error.code : undefined;
      // Of a job that may be there nothing is concluded from a host key that has changed: somebody has to look.
      const isChanged = code === 'host-key-changed' && tries === undefined;
      if (isChanged || (code !== undefined && LOGIN_CODES.includes(code))) {
        context.show({
          phase: 'login',
          detail: `${messageOf(error)}. 'pilotage agent login', where the agent runs, answers`,
        });
        await context.loginTried(context.signal);
        continue;
      }
      if (code === undefined || !AWAY_CODES.includes(code) || tried === tries)
        throw tries === undefined
          ? error
          : new JobFault('start-failed', `${messageOf(error)}. Nothing was started there`, { cause: error });
      tried += 1;
      context.show({ detail: `${messageOf(error)}; trying again` });
      context.log.warn({ machine: context.machine.name, error: messageOf(error) }, 'a machine is away, trying again');
    }
    await pause(wait, context.signal);
    wait = Math.min(wait * 2, LONGEST_PAUSE_MS);
  }
}
