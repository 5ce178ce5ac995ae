import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';
import type { LoadedService } from './hook-messages.ts';
import { createHookProcess } from './hook-process.ts';
import type { ServiceConfig } from './read-config.ts';

export interface CheckedService extends LoadedService {
  /** False: no TypeScript compiler is installed where the service or Pilotage is. */
  readonly isTypeChecked: boolean;
}

/** Checks a module's types, and loads it as its host would. Rejects with what is wrong. */
export async function checkService(
  config: ServiceConfig,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<CheckedService> {
  if (!existsSync(config.module))
    throw new PilotageError('not-found', `the service has no module: there is no '${config.module}'`);
  const compiler = findCompiler(config.home);
  if (compiler !== undefined && /\.[cm]?ts$/.test(config.module)) await checkTypes(compiler, config);
  const hooks = createHookProcess({
    module: config.module,
    home: config.home,
    limits: { seconds: config.hookSeconds, memory: config.hookMemory },
    environment,
  });
  try {
    return { ...(await hooks.load()), isTypeChecked: compiler !== undefined };
  } catch (error) {
    throw new PilotageError('bad-request', `'${config.module}' cannot be loaded: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    hooks.stop();
  }
}

function findCompiler(home: string): string | undefined {
  for (const from of [path.join(home, 'service.ts'), fileURLToPath(import.meta.url)]) {
    try {
      return createRequire(from).resolve('typescript/bin/tsc');
    } catch {
      // Not there.
    }
  }
  return undefined;
}

async function checkTypes(compiler: string, { module }: ServiceConfig): Promise<void> {
  const directory = await mkdtemp(path.join(tmpdir(), 'pilotage-check-'));
  try {
    const file = path.join(directory, 'tsconfig.json');
    await writeFile(file, JSON.stringify({ compilerOptions: compilerOptions(), files: [module] }));
    const child = spawn(process.execPath, [compiler, '-p', file, '--pretty', 'false'], {
      cwd: path.dirname(module),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said, code] = await Promise.all([
      text(child.stdout),
      new Promise<number | null>((resolve) => child.once('close', resolve)),
    ]);
    if (code !== 0)
      throw new PilotageError(
        'bad-request',
        `the types of '${module}' do not fit:\n${said.trim().split('\n').slice(0, 20).join('\n')}`,
      );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function compilerOptions(): object {
  const own = fileURLToPath(import.meta.url);
  const types = path.join(path.dirname(own), own.endsWith('.ts') ? 'define-service.ts' : 'define-service.d.ts');
  const roots = typeRoots();
  return {
    target: 'es2024',
    lib: ['es2024', 'esnext.disposable'],
    // Whatever package.json lies above it: Node.js reads it as a module, with `import.meta` and `await` at its top.
    module: 'esnext',
    moduleResolution: 'bundler',
    moduleDetection: 'force',
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    allowImportingTsExtensions: true,
    erasableSyntaxOnly: true,
    paths: { 'pilotage/service': [types] },
    ...(roots === undefined ? {} : { typeRoots: [roots], types: ['node'] }),
  };
}

function typeRoots(): string | undefined {
  try {
    return path.dirname(path.dirname(createRequire(import.meta.url).resolve('@types/node/package.json')));
  } catch {
    return undefined;
  }
}
