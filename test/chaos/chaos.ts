/** `npm run chaos -- [--minutes N] [--seed S] [--on sqlite|postgres|clock|all]`: the fault test, as long as one likes. */
import { parseArgs } from 'node:util';
import { FAKETIME, missing, POSTGRES } from '../support/debian.ts';
import { startPostgres } from '../support/postgres.ts';
import { findFaketime } from './faketime.ts';
import { type ChaosOptions, type ChaosResult, runChaos } from './run-chaos.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    on: { type: 'string', default: 'all' },
    tasks: { type: 'string', default: '10000' },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const kinds = values.on === 'all' ? ['sqlite', 'postgres', 'clock'] : [values.on];
const seconds = (Number(values.minutes) * 60) / kinds.length;
const tasks = Math.ceil(Number(values.tasks) / kinds.length);
const say = (line: string) => console.log(line);

let failed = 0;
for (const kind of kinds) {
  say(`chaos on ${kind}, seed ${seed}: at least ${tasks} tasks, ${Math.round(seconds)} s`);
  const result = await once(kind);
  print(result);
  failed += result.wrong.length;
}
console.log(`chaos: ${kinds.length - (failed > 0 ? 1 : 0)} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);

async function once(kind: string): Promise<ChaosResult> {
  const base: ChaosOptions = { seed, tasks, seconds, servers: 1, workers: 4, say };
  if (kind === 'sqlite') return runChaos(base);
  if (kind === 'clock') {
    missing(FAKETIME);
    return runChaos({ ...base, jumpingClock: findFaketime() });
  }
  missing(POSTGRES);
  const postgres = await startPostgres();
  const result = await runChaos({ ...base, servers: 2, database: await postgres.newDatabase() });
  await postgres.stop();
  return result;
}

function print(result: ChaosResult): void {
  const { server, worker, stopped, faults, clockJumps, tasks: count, attempts } = result;
  console.log(`  ${count} tasks, ${attempts} attempts, ${Math.round(result.seconds)} s`);
  console.log(
    `  server kills ${server.kills}: during submit ${server.submit}, claim ${server.claim}, run ${server.run}, report ${server.report}`,
  );
  console.log(
    `  worker kills ${worker.kills}: during submit ${worker.submit}, claim ${worker.claim}, run ${worker.run}, report ${worker.report}; stopped and continued ${stopped}`,
  );
  console.log(
    `  connections: ${Object.entries(faults)
      .map(([fault, n]) => `${fault} ${n}`)
      .join(', ')}; clock jumps ${clockJumps}`,
  );
  for (const wrong of result.wrong.slice(0, 20)) console.log(`  WRONG: ${wrong}`);
  console.log(
    `  ${result.wrong.length === 0 ? 'every task has exactly one accepted result' : `${result.wrong.length} things do not agree`}`,
  );
}
