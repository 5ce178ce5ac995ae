/**
 * The whole way once: a server with workers of its own, a sweep of 120 real simulations, its results, a table and a plot.
 * usage: npm run demo [-- DIRECTORY]     the results go to DIRECTORY, ./demo-output unless given
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const PILOTAGE = join(ROOT, 'bin', 'pilotage');
const EXAMPLE = join(ROOT, 'examples', 'ising');
const START_SECONDS = 60;
const STOP_SECONDS = 30;
const LOG_LINES = 30;

const output = resolve(process.argv[2] ?? 'demo-output');
const data = mkdtempSync(join(tmpdir(), 'pilotage-demo-'));
const log = join(data, 'server.log');
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort(new Error('interrupted')));

const server = startServer();
try {
  mkdirSync(output, { recursive: true });
  await serverAnswers();
  const submission = await submit();
  await fetchResults(submission);
  await collect();
  await stop(server);
  rmSync(data, { recursive: true, force: true });
  console.log(
    `\ntable: ${named('table.txt')}\nplot:  ${named('magnetisation.svg')}\nall results are in ${named('results')}`,
  );
} catch (error) {
  console.error(`\ndemo: ${(error as Error).message}`);
  await stop(server).catch((reason: Error) => console.error(`demo: ${reason.message}`));
  console.error(`the end of the server's log (${log}):\n${endOf(log)}`);
  process.exitCode = 1;
}

function startServer(): ChildProcess {
  const workers = availableParallelism();
  console.log(`a server with ${workers} workers, in ${data}`);
  const options = ['--data', data, '--listen', '127.0.0.1:0', '--workers', String(workers)];
  // A group of its own: Ctrl-C is for the demo, which then ends its server in order.
  const child = spawn(PILOTAGE, ['serve', ...options], { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const file = createWriteStream(log);
  child.stdout?.pipe(file, { end: false });
  child.stderr?.pipe(file, { end: false });
  child.once('error', (error) => interrupted.abort(error));
  return child;
}

async function serverAnswers(): Promise<void> {
  const until = Date.now() + START_SECONDS * 1000;
  while (Date.now() < until) {
    interrupted.signal.throwIfAborted();
    if (server.exitCode !== null || server.signalCode !== null) throw new Error('the server ended before it answered');
    if (await isHealthy()) return;
    await sleep(100);
  }
  throw new Error(`the server did not answer within ${START_SECONDS} s`);
}

async function isHealthy(): Promise<boolean> {
  const announced = join(data, 'server.json');
  if (!existsSync(announced)) return false;
  try {
    const { url } = JSON.parse(readFileSync(announced, 'utf8')) as { url: string };
    return (await fetch(`${url}/healthz`)).ok;
  } catch {
    return false;
  }
}

/** Waits for the whole sweep, with a progress bar on a terminal. Returns the number of the submission. */
async function submit(): Promise<string> {
  console.log('40 temperatures from 1.5 to 3.5, 3 seeds each: 120 tasks\n');
  const answer = await run(PILOTAGE, ['submit', join(EXAMPLE, 'ising.yaml'), '--wait', '--json', '--data', data]);
  return String((JSON.parse(answer) as { id: number }).id);
}

async function fetchResults(submission: string): Promise<void> {
  rmSync(join(output, 'results'), { recursive: true, force: true });
  process.stdout.write(await run(PILOTAGE, ['results', submission, '--to', join(output, 'results'), '--data', data]));
}

async function collect(): Promise<void> {
  const arguments_ = [join(EXAMPLE, 'collect.ts'), join(output, 'results'), '--svg', join(output, 'magnetisation.svg')];
  const table = await run(process.execPath, arguments_, (text) => process.stdout.write(text));
  createWriteStream(join(output, 'table.txt')).end(table);
}

/** Runs a program with its messages on the terminal. Resolves with what it wrote to stdout; rejects unless it ends with 0. */
async function run(
  program: string,
  args: readonly string[],
  onText: (text: string) => void = () => {},
): Promise<string> {
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    signal: interrupted.signal,
    killSignal: 'SIGINT',
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
    onText(piece);
  });
  const code = await ended(child);
  if (code !== 0) throw new Error(`'${relative(ROOT, program)} ${args.join(' ')}' ended with ${code}`);
  return text;
}

/** As a shell tells it once all output is there. */
function ended(child: ChildProcess): Promise<number | NodeJS.Signals | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const over = ended(child);
  child.kill('SIGTERM');
  const late = sleep(STOP_SECONDS * 1000, 'late' as const, { ref: false });
  const how = await Promise.race([over, late]);
  if (how === 'late') child.kill('SIGKILL');
  if (how !== 0) throw new Error(`the server did not stop in order (${how})`);
}

function endOf(file: string): string {
  return existsSync(file)
    ? readFileSync(file, 'utf8').trimEnd().split('\n').slice(-LOG_LINES).join('\n')
    : '(there is none)';
}

function named(name: string): string {
  return relative(process.cwd(), join(output, name));
}
