import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { adminToken } from './api.ts';
import { freePort } from './free-port.ts';
import { installPicas } from './picas-packages.ts';
import { type Ran, type Running, type RunningServer, startServer } from './running-server.ts';

/** What users of PiCaS write around its client: see there. */
const SCRIPTS = path.join(import.meta.dirname, 'picas');

export interface PythonOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A server with the face for PiCaS clients on a port of its own, and a project whose credentials are in a file. */
export interface PicasPool {
  readonly server: RunningServer;
  /** Of the face. */
  readonly url: string;
  readonly database: string;
  readonly user: string;
  readonly password: string;
  /** For what scripts leave; holds the directory `picas_cfg`. */
  readonly directory: string;
  /** Starts a script of `test/support/picas`, or `-m MODULE`. */
  start(words: readonly string[], options?: PythonOptions): Running;
  /** Runs one to its end; fails unless that is 0. */
  python(words: readonly string[], options?: PythonOptions): Promise<string>;
  /** A request as the project's user, or as whom `as` says; a body that is no text goes as JSON. */
  ask(request: string, options?: AskOptions): Promise<Answer>;
  /** Ids of a view. */
  ids(view: string, design?: string): Promise<string[]>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface AskOptions {
  readonly body?: unknown;
  readonly as?: 'admin' | 'nobody' | readonly [name: string, password: string];
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of an answer says its shape
  readonly json: any;
}

export async function startPicasPool(database = 'mypool', flags: readonly string[] = []): Promise<PicasPool> {
  const port = await freePort();
  const server = await startServer(['--couchdb-listen', `127.0.0.1:${port}`, ...flags]);
  const directory = mkdtempSync(path.join(tmpdir(), 'pilotage-picas-'));
  const url = `http://127.0.0.1:${port}`;
  const config = path.join(directory, 'picas_cfg');
  if (database !== 'default') await server.json(['project', 'create', database]);
  await server.json(['project', 'credentials', database, '--to', config]);
  const { user, password } = readConfig(path.join(config, 'picasconfig.py'));
  const start = (words: readonly string[], options: PythonOptions = {}): Running =>
    startPython(words, {
      cwd: options.cwd ?? directory,
      env: { PYTHONPATH: [config, SCRIPTS, installPicas()].join(':'), HOME: directory, ...options.env },
    });
  const ask = async (request: string, options: AskOptions = {}): Promise<Answer> => {
    const { as = [user, password] as const } = options;
    return askFace(url, request, { ...options, login: as === 'admin' ? ['admin', adminToken(server)] : as });
  };
  return {
    server,
    url,
    database,
    user,
    password,
    directory,
    start,
    ask,
    python: async (words, options) => {
      const { code, stdout, stderr } = await start(words, options).done;
      if (code !== 0) throw new Error(`python3 ${words.join(' ')} ended with ${code}: ${stderr}`);
      return stdout;
    },
    ids: async (view, design = 'Monitor') => {
      const { json } = await ask(`GET /${database}/_design/${design}/_view/${view}`);
      return (json.rows as { id: string }[]).map((row) => row.id);
    },
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function readConfig(file: string): { user: string; password: string } {
  const text = readFileSync(file, 'utf8');
  const read = (name: string) => new RegExp(`^${name} *= *["'](.*)["']$`, 'm').exec(text)?.[1] ?? '';
  return { user: read('PICAS_USERNAME'), password: read('PICAS_PASSWORD') };
}

function startPython(words: readonly string[], { cwd, env }: Required<PythonOptions>): Running {
  const [first = '', ...rest] = words;
  const program = first === '-m' ? words : [path.join(SCRIPTS, first), ...rest];
  const own = { PATH: process.env.PATH ?? '', PYTHONDONTWRITEBYTECODE: '1', PYTHONUNBUFFERED: '1', LANG: 'C.UTF-8' };
  const child = spawn('python3', ['-W', 'ignore', ...program], {
    cwd,
    env: { ...own, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const text = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (piece: string) => {
      text[name] += piece;
    });
  const done = new Promise<Ran>((resolve) => child.once('close', (code, signal) => resolve({ code, signal, ...text })));
  return { child, done, stdout: () => text.stdout, stderr: () => text.stderr };
}

async function askFace(
  url: string,
  request: string,
  { body, login, headers }: AskOptions & { login: 'nobody' | readonly [string, string] },
): Promise<Answer> {
  const [method = 'GET', where = '/'] = request.split(' ');
  const isPlain = typeof body === 'string' || body instanceof Uint8Array;
  const answer = await fetch(url + where, {
    method,
    redirect: 'manual',
    headers: {
      ...(login === 'nobody' ? {} : { authorization: `Basic ${Buffer.from(login.join(':')).toString('base64')}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: isPlain ? (body as string) : JSON.stringify(body) }),
  });
  const text = await answer.text();
  const isJson = (answer.headers.get('content-type') ?? '').startsWith('application/json') && text !== '';
  return { status: answer.status, headers: answer.headers, text, json: isJson ? JSON.parse(text) : undefined };
}
