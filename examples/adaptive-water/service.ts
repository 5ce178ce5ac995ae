/**
 * How large is the potential energy of a box of water, to within a wanted error? Rounds of independent simulations on the
 * pool, each round from what the rounds before have shown, until the standard error of their mean is small enough.
 */
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { defineService, pool, Type } from 'pilotage/service';

/** The simulation itself is that of the other example. */
const WATER_BOX = path.join(import.meta.dirname, '../water-box');
const FILES = ['run.sh', 'nvt.mdp.in', 'topol.top'];

const Sample = Type.Object({ seed: Type.Integer(), potential: Type.Number() });
/** What a round is: seeds from here on. */
interface Round {
  readonly first: number;
  readonly count: number;
}

export default defineService({
  name: 'adaptive-water',
  title: 'Potential energy of water, to a wanted error',
  parameters: Type.Object(
    {
      temperature: Type.Number({ minimum: 275, maximum: 370, default: 300, title: 'Temperature (K)' }),
      error: Type.Number({
        exclusiveMinimum: 0,
        default: 10,
        title: 'Wanted error (kJ/mol)',
        description: 'Standard error of the mean potential energy of 216 molecules.',
      }),
      most: Type.Integer({ minimum: 3, maximum: 200, default: 40, title: 'Simulations at most' }),
      steps: Type.Integer({ minimum: 6000, maximum: 1_000_000, default: 25_000, title: 'Steps of 2 fs in each' }),
    },
    { additionalProperties: false },
  ),
  metadata: Type.Object({
    samples: Type.Array(Sample),
    rounds: Type.Integer(),
    mean: Type.Number(),
    standardError: Type.Number(),
    isReached: Type.Boolean(),
  }),
  results: ['result.json', 'samples.csv'],
  log: () => ({ level: 'info' }),

  preprocess(job) {
    for (const file of FILES) copyFileSync(path.join(WATER_BOX, file), file);
    job.metadata.samples = [];
    job.metadata.rounds = 0;
  },

  run: (job) => simulate(job.parameters, { first: 1, count: Math.min(FIRST_ROUND, job.parameters.most) }),

  rerun: (job, data) => simulate(job.parameters, data as Round),

  postprocess(job) {
    const { error: wanted, most } = job.parameters;
    const known = job.metadata.samples ?? [];
    const samples = [...known, ...readRound(new Set(known.map(({ seed }) => seed)))];
    const { mean, error } = statisticsOf(samples.map(({ potential }) => potential));
    const isReached = error <= wanted;
    Object.assign(job.metadata, { samples, mean, standardError: error, isReached, rounds: job.run });
    const told = `round ${job.run}: ${mean.toFixed(1)} ± ${error.toFixed(1)} kJ/mol from ${samples.length} simulations`;
    job.logger.info(told);
    job.progress(Math.min(1, (wanted / error) ** 2), told);
    const count = isReached ? 0 : nextRound(samples.length, error / wanted, most);
    if (count > 0) job.rescheduleRun({ first: samples.length + 1, count } satisfies Round);
  },

  finalize(job) {
    const { samples = [], mean, standardError, isReached, rounds } = job.metadata;
    const lines = samples.map(({ seed, potential }) => `${seed},${potential}\n`);
    writeFileSync('samples.csv', `seed,potential\n${lines.join('')}`);
    const result = { ...job.parameters, mean, standardError, isReached, rounds, simulations: samples.length };
    writeFileSync('result.json', `${JSON.stringify(result, undefined, 2)}\n`);
    for (const file of [...FILES, ...samples.map(({ seed }) => String(seed))])
      rmSync(file, { recursive: true, force: true });
  },
});

/** Fewer say little about how far they are spread. */
const FIRST_ROUND = 4;
/** However far it is: what the first rounds say of the spread is uncertain. */
const GROWTH = 2;

function simulate({ temperature, steps }: { temperature: number; steps: number }, { first, count }: Round) {
  return pool({
    command: ['sh', 'run.sh', String(temperature), '{index}'],
    array: `${first}-${first + count - 1}`,
    inputs: FILES,
    outputs: ['energy.json'],
    env: { WATER_STEPS: String(steps) },
    memory: '1GiB',
    timeLimit: '2h',
    retries: 1,
  });
}

/** What the tasks of a round left, each in a directory of its index, which is its seed. */
function readRound(known: ReadonlySet<number>): { seed: number; potential: number }[] {
  const seeds = readdirSync('.')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((seed) => !known.has(seed))
    .sort((a, b) => a - b);
  return seeds.map((seed) => {
    const { potential } = JSON.parse(readFileSync(`${seed}/energy.json`, 'utf8')) as { potential: number };
    return { seed, potential };
  });
}

/** Of independent values: their mean, and the standard error of it. */
function statisticsOf(values: readonly number[]): { mean: number; error: number } {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  return { mean, error: Math.sqrt(variance / n) };
}

/** The error falls with the root of the number: so many more will do, if the spread stays what it is. */
function nextRound(done: number, ratio: number, most: number): number {
  const wanted = Math.ceil(done * ratio ** 2) - done;
  return Math.min(Math.max(1, wanted), GROWTH * done, most - done);
}
