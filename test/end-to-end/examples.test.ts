import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { GROMACS, skipIfMissing } from '../support/debian.ts';
import { startServer } from '../support/running-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const EXAMPLES = path.join(import.meta.dirname, '../../examples');
const run = promisify(execFile);

test('the demo runs the whole sweep, prints a table and draws a plot that agrees with the exact curve', async () => {
  const output = path.join(temporaryDirectory(), 'output');
  const { stdout } = await run(process.execPath, [path.join(EXAMPLES, 'demo.ts'), output]);
  const table = readFileSync(path.join(output, 'table.txt'), 'utf8');
  const rows = table
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter((row) => row.length >= 4 && row.every((cell) => !Number.isNaN(cell)));
  const at = (temperature: number) =>
    rows.reduce((best, row) =>
      Math.abs((row[0] as number) - temperature) < Math.abs((best[0] as number) - temperature) ? row : best,
    );
  expect(at(1.5)[1]).toBeCloseTo(0.9865, 2);
  expect(at(3.5)[1]).toBeLessThan(0.1);
  expect(readFileSync(path.join(output, 'magnetisation.svg'), 'utf8')).toContain('<svg');
  expect(stdout).toMatch(/deviation/);
  for (const index of [1, 120])
    expect(existsSync(path.join(output, 'results', String(index), 'result.json'))).toBe(true);
});

test('GROMACS on its own water box: the potential energy is right at 300 K and rises with temperature', async ({
  skip,
}) => {
  skipIfMissing(skip, GROMACS);
  const server = await startServer(['--workers', '2']);
  const submitted = await server.run(['submit', path.join(EXAMPLES, 'water-box/water-box.yaml'), '--wait']);
  expect([submitted.code, submitted.stderr]).toEqual([0, submitted.stderr]);
  const results = path.join(temporaryDirectory(), 'results');
  expect((await server.run(['results', '1', '--to', results])).code).toBe(0);
  const { stdout } = await run(process.execPath, [path.join(EXAMPLES, 'water-box/collect.ts'), results]);
  const energies = new Map(
    [1, 2, 3, 4, 5].map((index) => {
      const { temperature, potential } = JSON.parse(
        readFileSync(path.join(results, String(index), 'energy.json'), 'utf8'),
      ) as { temperature: number; potential: number };
      return [temperature, potential];
    }),
  );
  expect(Math.abs((energies.get(300) ?? 0) / -10_000 - 1)).toBeLessThan(0.02);
  const rising = [...energies.entries()].sort(([a], [b]) => a - b).map(([, potential]) => potential);
  expect(rising).toEqual([...rising].sort((a, b) => a - b));
  expect(stdout).toContain('300');
  expect(existsSync(path.join(results, 'potential.svg'))).toBe(true);
  await server[Symbol.asyncDispose]();
});
