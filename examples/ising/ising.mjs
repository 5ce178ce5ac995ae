/**
 * The two-dimensional Ising model, sampled with single-spin-flip Metropolis: one temperature, one seed, one result.json.
 * Plain JavaScript without packages: this file travels alone into the task's sandbox and runs under the Node.js it finds there.
 */
import { appendFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const SIZE = 64;
const SPINS = SIZE * SIZE;
const SETTLING_SWEEPS = 1_000;
const MEASURED_SWEEPS = 4_000;
const SWEEPS_PER_PROGRESS_REPORT = 1_000;

const { temperature, seed } = readArguments();
const { magnetisation, energy, heatCapacity } = simulate(temperature, seed);
writeFileSync(
  'result.json',
  `${JSON.stringify({ temperature, seed, size: SIZE, sweeps: MEASURED_SWEEPS, magnetisation, energy, heatCapacity })}\n`,
);
console.log(
  `T = ${temperature}, seed ${seed}: |m| = ${magnetisation.toFixed(5)}, energy per spin = ${energy.toFixed(5)}`,
);

function simulate(temperature, seed) {
  // In order, all up: a random start can freeze into stripes at low temperature.
  const spins = new Int8Array(SPINS).fill(1);
  const random = createRandom(seed);
  const acceptance = uphillAcceptance(temperature);
  const sums = { magnetisation: 0, energy: 0, energySquared: 0 };
  for (let done = 0; done < SETTLING_SWEEPS + MEASURED_SWEEPS; done++) {
    if (done % SWEEPS_PER_PROGRESS_REPORT === 0) reportProgress(done);
    sweep(spins, acceptance, random);
    if (done >= SETTLING_SWEEPS) measure(spins, sums);
  }
  return toAverages(sums, temperature);
}

/** The chance to accept a flip, as a threshold for 32 random bits, by spin times sum of its neighbours (2 or 4). */
function uphillAcceptance(temperature) {
  const thresholds = new Float64Array(5);
  for (const aligned of [2, 4]) thresholds[aligned] = 2 ** 32 * Math.exp((-2 * aligned) / temperature);
  return thresholds;
}

function sweep(spins, acceptance, random) {
  for (let row = 0; row < SPINS; row += SIZE) {
    const above = row === 0 ? SPINS - SIZE : row - SIZE;
    const below = row === SPINS - SIZE ? 0 : row + SIZE;
    for (let x = 0; x < SIZE; x++) {
      const left = x === 0 ? SIZE - 1 : x - 1;
      const right = x === SIZE - 1 ? 0 : x + 1;
      const neighbours = spins[above + x] + spins[below + x] + spins[row + left] + spins[row + right];
      const aligned = spins[row + x] * neighbours;
      if (aligned <= 0 || random() < acceptance[aligned]) spins[row + x] = -spins[row + x];
    }
  }
}

function measure(spins, sums) {
  let up = 0;
  let bonds = 0;
  for (let row = 0; row < SPINS; row += SIZE) {
    const below = row === SPINS - SIZE ? 0 : row + SIZE;
    for (let x = 0; x < SIZE; x++) {
      const right = x === SIZE - 1 ? 0 : x + 1;
      up += spins[row + x];
      bonds += spins[row + x] * (spins[below + x] + spins[row + right]);
    }
  }
  sums.magnetisation += Math.abs(up);
  sums.energy -= bonds;
  sums.energySquared += bonds * bonds;
}

function toAverages(sums, temperature) {
  const meanEnergy = sums.energy / MEASURED_SWEEPS;
  const variance = sums.energySquared / MEASURED_SWEEPS - meanEnergy ** 2;
  return {
    magnetisation: sums.magnetisation / MEASURED_SWEEPS / SPINS,
    energy: meanEnergy / SPINS,
    heatCapacity: variance / temperature ** 2 / SPINS,
  };
}

/** sfc32 (Chris Doty-Humphrey, PractRand): Math.random cannot be seeded, and a result must be reproducible. */
function createRandom(seed) {
  let a = seed | 0;
  let b = Math.floor(seed / 2 ** 32) | 0;
  let c = 0;
  let counter = 1;
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let warmUp = 0; warmUp < 20; warmUp++) next();
  return next;
}

function reportProgress(done) {
  const file = process.env.PILOTAGE_PROGRESS_FILE;
  if (!file) return;
  const all = SETTLING_SWEEPS + MEASURED_SWEEPS;
  appendFileSync(file, `${JSON.stringify({ fraction: done / all, message: `sweep ${done} of ${all}` })}\n`);
}

function readArguments() {
  try {
    const { values } = parseArgs({ options: { temperature: { type: 'string' }, seed: { type: 'string' } } });
    return { temperature: readTemperature(values.temperature), seed: readSeed(values.seed) };
  } catch (error) {
    console.error(`ising: ${error.message}\nusage: node ising.mjs --temperature T --seed N`);
    process.exit(2);
  }
}

function readTemperature(text) {
  const temperature = text?.trim() ? Number(text) : Number.NaN;
  if (temperature > 0 && temperature < Number.POSITIVE_INFINITY) return temperature;
  throw new Error(`--temperature must be a number above 0, in units of J/k; it is ${text ?? 'missing'}`);
}

function readSeed(text) {
  const seed = text?.trim() ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(seed) && seed >= 0) return seed;
  throw new Error(`--seed must be a whole number, 0 or more; it is ${text ?? 'missing'}`);
}
