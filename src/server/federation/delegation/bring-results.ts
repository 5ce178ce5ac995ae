import { setTimeout as pause } from 'node:timers/promises';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import type { Client } from '../../../ground/client/client.ts';
import type { Report } from '../../../ground/protocol/exchange.ts';
import type { Parts } from '../../pool/parts.ts';
import type { ProjectHome } from './borrow.ts';
import { type BorrowedProject, pushFiles } from './files.ts';
import { filesOf } from './report.ts';

/** The end of a borrowed task, and the project here that it belongs to. */
export interface Ended {
  readonly project: string;
  readonly report: Report;
}

export interface ResultsOptions {
  readonly parts: Parts;
  readonly client: Client;
  readonly signal: AbortSignal;
  /** The neighbour has the files (`problem`: it has not, and why): it may be told. */
  readonly onBrought: (report: Report, problem: string | undefined) => void;
}

export interface Results {
  /** Brings what belongs to these ends to the neighbour. A large file keeps nothing else waiting. */
  bring(ended: readonly Ended[]): Promise<void>;
  /** Resolves when nothing of it is under way any more. */
  idle(): Promise<void>;
}

const SMALL_BYTES = 1024 * 1024;
const LARGE_AT_ONCE = 4;
const AGAIN_MS = 1000;
/** What the neighbour refuses is not pushed on and on: it is told of the end, and says what is missing. */
const FINAL: readonly string[] = ['over-quota', 'not-found', 'forbidden', 'digest-mismatch'];
const FINAL_TRIES = 3;

export function createResults({ parts, client, signal, onBrought }: ResultsOptions): Results {
  const large: (() => Promise<void>)[] = [];
  const running = new Set<Promise<void>>();
  let small: Promise<void> = Promise.resolve();

  const keep = (work: Promise<void>): void => {
    running.add(work);
    void work.finally(() => running.delete(work));
  };
  /** Resolves with why the neighbour does not take them; undefined: it has them. */
  const pushUntil = async (project: BorrowedProject, some: readonly Ended[], mostTries: number) => {
    const files = some.flatMap(({ report }) => filesOf(report));
    for (let tries = 1; !signal.aborted; tries += 1) {
      try {
        await pushFiles({ parts, client, project, signal }, files);
        return undefined;
      } catch (error) {
        if (signal.aborted) break;
        const why = messageOf(error);
        parts.log.warn({ project: project.name, error: why }, 'results wait to be brought to a neighbour');
        if (error instanceof PilotageError && FINAL.includes(error.code) && tries >= mostTries) return why;
        await pause(AGAIN_MS, undefined, { signal, ref: false }).catch(() => undefined);
      }
    }
    return undefined;
  };
  const push = async (project: BorrowedProject, some: readonly Ended[]): Promise<void> => {
    const problem = await pushUntil(project, some, FINAL_TRIES);
    // One that cannot be brought is no reason to leave those of the others here.
    for (const one of some) {
      const own = problem === undefined || some.length === 1 ? problem : await pushUntil(project, [one], 1);
      if (!signal.aborted) onBrought(one.report, own);
    }
  };
  let under = 0;
  const next = (): void => {
    while (under < LARGE_AT_ONCE && large.length > 0) {
      under += 1;
      const work = (large.shift() as () => Promise<void>)();
      keep(
        work.finally(() => {
          under -= 1;
          next();
        }),
      );
    }
  };

  return {
    async bring(ended) {
      const withFiles = ended.filter(({ report }) => filesOf(report).length > 0);
      for (const one of ended) if (!withFiles.includes(one)) onBrought(one.report, undefined);
      if (withFiles.length === 0) return;
      const projects = await projectsOf(parts, withFiles);
      for (const [name, some] of Map.groupBy(withFiles, ({ project }) => project)) {
        const project = projects.get(name);
        if (!project) throw new Error(`the borrowed project '${name}' has another name by now`);
        const little = some.filter((one) => isSmall(one.report));
        for (const one of some) if (!little.includes(one)) large.push(() => push(project, [one]));
        // Many small ones travel together.
        if (little.length > 0) {
          small = small.then(() => push(project, little));
          keep(small);
        }
      }
      next();
    },
    async idle() {
      while (running.size > 0) await Promise.allSettled(running);
    },
  };
}

function isSmall({ outputs = [], stdout, stderr }: Report): boolean {
  const logs = (stdout?.digest ? stdout.size : 0) + (stderr?.digest ? stderr.size : 0);
  const known = outputs.every(({ kind, size }) => kind === 'file' && size !== undefined);
  return known && logs + outputs.reduce((sum, { size = 0 }) => sum + size, 0) <= SMALL_BYTES;
}

async function projectsOf(parts: Parts, ended: readonly Ended[]): Promise<Map<string, BorrowedProject>> {
  const names = new Set(ended.map(({ project }) => project));
  return new Map(
    (await parts.store.listProjects())
      .filter(({ name }) => names.has(name))
      .map(({ id, name, home }) => [name, { id, name, at: (JSON.parse(home ?? '{}') as ProjectHome).at }]),
  );
}
