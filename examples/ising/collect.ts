/**
 * Averages the results over the seeds, compares them with Onsager's exact magnetisation, draws both, and checks.
 * usage: node collect.ts DIR [--svg FILE]
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { toSvg } from '../plot.ts';
import { readResults } from '../read-results.ts';
import { CRITICAL_TEMPERATURE, exactMagnetisation } from './onsager.ts';

interface Measured {
  readonly temperature: number;
  /** Mean of |m| over the seeds. */
  readonly magnetisation: number;
  /** Standard deviation between the seeds. */
  readonly spread: number;
  readonly exact: number;
  readonly deviation: number;
}

const TASKS = 120;
const ORDERED = { upTo: 2.1, within: 0.02 };
const DISORDERED = { from: 3.0, below: 0.1 };

try {
  collect();
} catch (error) {
  console.error(`collect: ${(error as Error).message}`);
  process.exitCode = 1;
}

function collect(): void {
  const { positionals, values } = parseArgs({ allowPositionals: true, options: { svg: { type: 'string' } } });
  const [directory] = positionals;
  if (!directory) throw new Error('which directory? usage: node collect.ts DIR [--svg FILE]');
  const { found, missing } = readResults(directory, 'result.json', {
    tasks: TASKS,
    numbers: ['temperature', 'seed', 'magnetisation'],
  });
  const measured = averageSeeds(found);
  printTable(measured);
  const picture = values.svg ?? join(directory, 'magnetisation.svg');
  writeFileSync(picture, draw(measured));
  console.log(`\nplot: ${picture}`);
  tellCritical(measured);
  judge([...checkComplete(found, missing), ...checkOrdered(measured), ...checkDisordered(measured)]);
}

function averageSeeds(results: readonly { temperature: number; magnetisation: number }[]): Measured[] {
  const byTemperature = [...Map.groupBy(results, (result) => result.temperature)].sort(([a], [b]) => a - b);
  return byTemperature.map(([temperature, seeds]) => {
    const magnetisation = mean(seeds.map((seed) => seed.magnetisation));
    const squares = seeds.map((seed) => (seed.magnetisation - magnetisation) ** 2);
    const spread = Math.sqrt((mean(squares) * seeds.length) / Math.max(1, seeds.length - 1));
    const exact = exactMagnetisation(temperature);
    return { temperature, magnetisation, spread, exact, deviation: magnetisation - exact };
  });
}

function printTable(measured: readonly Measured[]): void {
  console.log('     T      |m|   spread    exact  deviation');
  for (const { temperature, magnetisation, spread, exact, deviation } of measured) {
    const columns = [magnetisation, spread, exact].map((value) => value.toFixed(4).padStart(9));
    console.log(`${temperature.toFixed(3).padStart(6)}${columns.join('')}${deviation.toFixed(4).padStart(11)}`);
  }
}

function draw(measured: readonly Measured[]): string {
  const temperatures = Array.from({ length: 401 }, (_, index) => 1.4 + (index * 2.2) / 400);
  const curve = [...temperatures, CRITICAL_TEMPERATURE - 1e-9, CRITICAL_TEMPERATURE].sort((a, b) => a - b);
  return toSvg({
    title: 'Magnetisation of the two-dimensional Ising model, 64 × 64 spins',
    x: { label: 'temperature T (J/k)', from: 1.4, to: 3.6, step: 0.2 },
    y: { label: 'magnetisation |m| per spin', from: 0, to: 1.1, step: 0.2 },
    measured: {
      label: 'Monte Carlo, spread of the seeds',
      points: measured.map((at) => ({ x: at.temperature, y: at.magnetisation, spread: at.spread })),
    },
    curve: { label: 'Onsager, exact (infinite lattice)', points: curve.map((x) => ({ x, y: exactMagnetisation(x) })) },
    mark: { label: `Tc = ${CRITICAL_TEMPERATURE.toFixed(3)}`, x: CRITICAL_TEMPERATURE },
    legend: 'top right',
  });
}

function checkComplete(found: readonly { temperature: number; seed: number }[], missing: readonly number[]): string[] {
  if (missing.length > 0) return [`${missing.length} of ${TASKS} results are missing: tasks ${missing.join(', ')}`];
  const distinct = new Set(found.map(({ temperature, seed }) => `${temperature} ${seed}`)).size;
  return distinct === TASKS ? [] : [`the ${TASKS} results hold only ${distinct} combinations of temperature and seed`];
}

function checkOrdered(measured: readonly Measured[]): string[] {
  const worst = largest(measured.filter(({ temperature }) => temperature <= ORDERED.upTo));
  if (!worst) return [`there is no result for T ≤ ${ORDERED.upTo}`];
  console.log(`largest deviation for T ≤ ${ORDERED.upTo}: ${describe(worst)}`);
  return Math.abs(worst.deviation) <= ORDERED.within
    ? []
    : [`T ≤ ${ORDERED.upTo} must be within ${ORDERED.within} of exact: ${describe(worst)}`];
}

function checkDisordered(measured: readonly Measured[]): string[] {
  const worst = largest(measured.filter(({ temperature }) => temperature >= DISORDERED.from));
  if (!worst) return [`there is no result for T ≥ ${DISORDERED.from}`];
  console.log(`largest magnetisation for T ≥ ${DISORDERED.from}: ${describe(worst)}`);
  return worst.magnetisation < DISORDERED.below
    ? []
    : [`T ≥ ${DISORDERED.from} must stay below ${DISORDERED.below}: ${describe(worst)}`];
}

/** Between the two checked ranges a finite lattice keeps some order where the infinite one has none: told, not judged. */
function tellCritical(measured: readonly Measured[]): void {
  const worst = largest(
    measured.filter(({ temperature }) => temperature > ORDERED.upTo && temperature < DISORDERED.from),
  );
  if (worst) console.log(`largest deviation between them, around Tc: ${describe(worst)}`);
}

function judge(problems: readonly string[]): void {
  for (const problem of problems) console.error(`collect: ${problem}`);
  if (problems.length === 0) console.log(`all ${TASKS} results are there and agree with the exact solution`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}

function largest(measured: readonly Measured[]): Measured | undefined {
  return [...measured].sort((a, b) => Math.abs(b.deviation) - Math.abs(a.deviation))[0];
}

function describe({ temperature, deviation }: Measured): string {
  return `${deviation.toFixed(4)} at T = ${temperature.toFixed(3)}`;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
