import type { Offer } from '../../ground/protocol/exchange.ts';
import type { AttemptRun, Lane } from '../runner/attempt-run.ts';
import type { Runner } from '../runner/runner.ts';
import type { Ledger } from './resources.ts';
import type { Waiting } from './waiting.ts';

/**
 * What runs, in lanes. A lane is opened for an attempt that fits beside the others, with what it needs; attempts that
 * need just the same may be lined up behind it and inherit that. It closes when the last of them has ended.
 */
export interface Lanes {
  /** How many are lined up behind others. */
  readonly behind: number;
  /** Starts it beside what runs, if it fits. */
  start(waiting: Waiting): AttemptRun | undefined;
  /** Lines it up behind one that needs the same and has not run for long. */
  startBehind(waiting: Waiting): AttemptRun | undefined;
  /** Gives back what is lined up behind programs that started before this. */
  withdrawBehind(before: number): void;
  /** How long programs take here of late: an attempt's turn in a lane, in milliseconds. */
  turnMs(): number;
  free(): Offer;
}

interface OpenLane {
  readonly lane: Lane;
  readonly needs: Offer;
  readonly key: string;
  readonly gpus: readonly number[];
  /** In order; the first is the one that runs. */
  readonly runs: AttemptRun[];
  turnSince: number;
}

/** Nothing is lined up behind a program that has run for so long already. */
const LINE_UP_MS = 25;

export function createLanes(runner: Runner, ledger: Ledger, changed: () => void): Lanes {
  const open = new Set<OpenLane>();
  let behind = 0;
  let typicalMs = 1000;
  let lastTurn = 0;

  const join = (lane: OpenLane, waiting: Waiting): AttemptRun => {
    if (lane.runs.length > 0) behind += 1;
    const run = runner.run({ claim: waiting.claim, spec: waiting.spec, gpus: lane.gpus, lane: lane.lane });
    lane.runs.push(run);
    void run.programEnded.then(() => leave(lane, run));
    return run;
  };
  const leave = (lane: OpenLane, run: AttemptRun): void => {
    const at = lane.runs.indexOf(run);
    lane.runs.splice(at, 1);
    if (lane.runs.length > 0) behind -= 1;
    if (at === 0) turn(lane);
    if (lane.runs.length === 0) close(lane);
    changed();
  };
  const turn = (lane: OpenLane): void => {
    lastTurn = performance.now();
    typicalMs += (lastTurn - lane.turnSince - typicalMs) / 8;
    lane.turnSince = lastTurn;
  };
  const close = (lane: OpenLane): void => {
    open.delete(lane);
    ledger.give(lane.needs, lane.gpus);
    runner.closeLane(lane.lane);
  };

  return {
    get behind() {
      return behind;
    },
    start: (waiting) => {
      const { needs } = waiting;
      if (!ledger.fits(needs)) return undefined;
      const gpus = ledger.take(needs);
      const lane = { lane: runner.openLane(), needs, key: keyOf(needs), gpus, runs: [], turnSince: performance.now() };
      open.add(lane);
      return join(lane, waiting);
    },
    startBehind: (waiting) => {
      if (!mayLineUp(waiting)) return undefined;
      const [shortest] = [...open]
        .filter((lane) => lane.key === keyOf(waiting.needs) && performance.now() - lane.turnSince < LINE_UP_MS)
        .sort((a, b) => a.runs.length - b.runs.length);
      return shortest && join(shortest, waiting);
    },
    withdrawBehind: (before) => {
      for (const { turnSince, runs } of open) {
        if (turnSince < before) for (const run of runs.slice(1)) run.withdraw();
      }
    },
    turnMs: () => Math.max(typicalMs, performance.now() - lastTurn),
    free: () => ledger.free(),
  };
}

/** Inputs have to be fetched before a start, and devices are one's own: such attempts wait here instead. */
function mayLineUp({ claim, spec, needs }: Waiting): boolean {
  const inputs = (claim.inputs?.length ?? 0) + (spec.inputs?.length ?? 0);
  return inputs === 0 && needs.gpus === 0 && Object.keys(needs.named).length === 0;
}

function keyOf(needs: Offer): string {
  return `${needs.cpus}/${needs.memory}/${needs.gpus}/${JSON.stringify(needs.named)}`;
}
