/**
 * Tabulates and draws the mean potential energy against the temperature, and checks it.
 * usage: node collect.ts DIR [--svg FILE]
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Axis, toSvg } from '../plot.ts';
import { readResults } from '../read-results.ts';

type Measured = Record<'temperature' | 'potential' | 'error', number>;

const TASKS = 5;
const REFERENCE = { temperature: 300, potential: -10_000, within: 0.02 };

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
  const { found, missing } = readResults(directory, 'energy.json', {
    tasks: TASKS,
    numbers: ['temperature', 'potential', 'error'],
  });
  const measured = [...found].sort((a, b) => a.temperature - b.temperature);
  printTable(measured);
  if (measured.length > 0) save(values.svg ?? join(directory, 'potential.svg'), draw(measured));
  judge([...checkComplete(missing), ...checkReference(measured), ...checkRising(measured)]);
}

function printTable(measured: readonly Measured[]): void {
  console.log('T (K)  potential (kJ/mol)  error');
  for (const { temperature, potential, error } of measured) {
    console.log(
      `${temperature.toFixed(0).padStart(5)}${potential.toFixed(1).padStart(20)}${error.toFixed(1).padStart(7)}`,
    );
  }
}

function save(picture: string, svg: string): void {
  writeFileSync(picture, svg);
  console.log(`\nplot: ${picture}`);
}

function draw(measured: readonly Measured[]): string {
  return toSvg({
    title: 'Potential energy of 216 SPC/E water molecules',
    x: {
      label: 'temperature (K)',
      ...rangeOf(
        measured.map((at) => at.temperature),
        20,
      ),
    },
    y: {
      label: 'potential energy (kJ/mol)',
      ...rangeOf(
        measured.map((at) => at.potential),
        200,
      ),
    },
    measured: {
      label: 'mean, with its error estimate',
      points: measured.map((at) => ({ x: at.temperature, y: at.potential, spread: at.error })),
    },
    legend: 'top left',
  });
}

/** Whole steps around the values, with at least half a step of room at both ends. */
function rangeOf(values: readonly number[], step: number): Omit<Axis, 'label'> {
  const from = Math.floor(Math.min(...values) / step - 0.5) * step;
  const to = Math.ceil(Math.max(...values) / step + 0.5) * step;
  return { from, to, step };
}

function checkComplete(missing: readonly number[]): string[] {
  return missing.length === 0 ? [] : [`${missing.length} of ${TASKS} results are missing: tasks ${missing.join(', ')}`];
}

function checkReference(measured: readonly Measured[]): string[] {
  const at = measured.find(({ temperature }) => temperature === REFERENCE.temperature);
  if (!at) return [`there is no result at ${REFERENCE.temperature} K`];
  const deviation = at.potential / REFERENCE.potential - 1;
  const told = `${at.potential} kJ/mol at ${at.temperature} K, ${(100 * deviation).toFixed(2)} % from ${REFERENCE.potential}`;
  console.log(told);
  return Math.abs(deviation) <= REFERENCE.within
    ? []
    : [`the potential energy must be within ${100 * REFERENCE.within} %: ${told}`];
}

function checkRising(measured: readonly Measured[]): string[] {
  return measured.slice(1).flatMap((warmer, index) => {
    const colder = measured[index];
    if (!colder || (warmer.potential > colder.potential && warmer.temperature > colder.temperature)) return [];
    return [
      `the potential energy must rise with temperature: ${colder.potential} at ${colder.temperature} K, ${warmer.potential} at ${warmer.temperature} K`,
    ];
  });
}

function judge(problems: readonly string[]): void {
  for (const problem of problems) console.error(`collect: ${problem}`);
  if (problems.length === 0)
    console.log(`all ${TASKS} results are there, rise with temperature and agree at ${REFERENCE.temperature} K`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
