import { familyOf, machineUnits, type ProcessRow, readProcessTable } from './process-table.ts';

/** A program under observation, from a moment after its start until its end. */
export interface Watched {
  readonly pid: number;
  /** On the monotonic clock, in milliseconds. */
  readonly startedAt: number;
  /** Programs with a memory limit are looked at four times a second, others once. */
  readonly limited: boolean;
  /** Told after each look: CPU so far, memory now (all processes together), and which processes they are. */
  seen(sample: Sample): void;
}

export interface Sample {
  readonly cpuSeconds: number;
  readonly memory: number;
  readonly family: readonly ProcessRow[];
}

export interface Sampler {
  watch(program: Watched): void;
  forget(program: Watched): void;
  close(): void;
}

/** Young programs are looked at at these ages: most are short, and what they use should be known too. */
const EARLY_MS = [0, 100, 250, 500];
const LIMITED_EVERY_MS = 250;
const EVERY_MS = 1000;
/** Looking takes at most this share of the time, however many processes the machine has. */
const COST_SHARE = 0.04;

/** One look at /proc serves all programs that are due. */
export function createSampler(now: () => number): Sampler {
  const programs = new Map<Watched, { due: number; earlier: readonly ProcessRow[] }>();
  const { pageBytes, ticksPerSecond } = machineUnits();
  let timer: NodeJS.Timeout | undefined;
  let notBefore = 0;

  const plan = (): void => {
    clearTimeout(timer);
    if (programs.size === 0) return;
    let next = Number.POSITIVE_INFINITY;
    for (const { due } of programs.values()) next = Math.min(next, due);
    timer = setTimeout(look, Math.max(0, next - now(), notBefore - now()));
  };
  const look = (): void => {
    const begin = now();
    const due = [...programs].filter(([, state]) => state.due <= begin + 20);
    if (due.length > 0) {
      const table = readProcessTable();
      for (const [program, state] of due) {
        state.earlier = familyOf(program.pid, table, state.earlier);
        state.due = begin + untilNext(program, begin - program.startedAt);
        program.seen(toSample(state.earlier));
      }
      notBefore = now() + (now() - begin) / COST_SHARE;
    }
    plan();
  };
  const toSample = (family: readonly ProcessRow[]): Sample => ({
    cpuSeconds: family.reduce((sum, row) => sum + row.cpuTicks, 0) / ticksPerSecond,
    memory: family.reduce((sum, row) => sum + row.residentPages, 0) * pageBytes,
    family,
  });

  return {
    watch: (program) => {
      programs.set(program, { due: now(), earlier: [] });
      plan();
    },
    forget: (program) => {
      if (programs.delete(program) && programs.size === 0) clearTimeout(timer);
    },
    close: () => clearTimeout(timer),
  };
}

function untilNext(program: Watched, age: number): number {
  const early = EARLY_MS.find((at) => at > age + 20);
  if (early !== undefined) return early - age;
  return program.limited ? LIMITED_EVERY_MS : EVERY_MS;
}
