/**
 * The process in which the hooks of one service run, one at a time: started and, when a hook does not come back, ended by
 * its host. It ends with its host.
 */
import { registerHooks } from 'node:module';
import { pathToFileURL } from 'node:url';
import type { PostprocessJob, PreprocessJob, RunResults, ServiceDefinition, ServiceFacts } from './define-service.ts';
import { openFrameworkLog } from './framework-log.ts';
import type { FromHooks, HookCall, HookName, LoadedService, ToHooks } from './hook-messages.ts';

type Definition = ServiceDefinition<Record<never, never>, Record<never, never>>;
/** As much as any hook may want. */
type AnyJob = PreprocessJob<object, object> & PostprocessJob<object, object>;

const HOOKS: readonly HookName[] = [
  'preprocess',
  'run',
  'rerun',
  'postprocess',
  'finalize',
  'complete',
  'archive',
  'expire',
];
const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** A service's module lies anywhere: what it imports of this package is this very package. */
registerHooks({
  resolve: (name, context, next) =>
    name === 'pilotage/service'
      ? { url: new URL(`./define-service.${extension}`, import.meta.url).href, shortCircuit: true }
      : next(name, context),
});

let definition: Definition | undefined;
let home = process.cwd();

process.on('disconnect', () => process.exit(0));
process.on('message', (message: ToHooks) => {
  void (message.kind === 'load' ? load(message) : call(message)).then(send, (error: unknown) => send(toFailed(error)));
});

function send(message: FromHooks): void {
  process.send?.(message);
}

function toFailed(error: unknown): Extract<FromHooks, { kind: 'failed' }> {
  if (error instanceof Error) return { kind: 'failed', message: error.message, stack: error.stack ?? null };
  return { kind: 'failed', message: `the hook threw ${describe(error)}, which is no Error`, stack: null };
}

function describe(value: unknown): string {
  try {
    return JSON.stringify(value)?.slice(0, 200) ?? String(value);
  } catch {
    return typeof value;
  }
}

async function load(message: { module: string; home: string }): Promise<FromHooks> {
  home = message.home;
  process.chdir(home);
  const loaded = (await import(pathToFileURL(message.module).href)) as { default?: Definition };
  definition = loaded.default;
  return { kind: 'loaded', service: checked(definition) };
}

function checked(found: Definition | undefined): LoadedService {
  if (typeof found !== 'object' || found === null)
    throw new Error("the module exports no service: write 'export default defineService({ … })'");
  const { name, title, parameters, results } = found;
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]{0,39}$/.test(name))
    throw new Error(`the service's name is ${describe(name)}: lower-case letters, digits and '-' make one, 40 at most`);
  if ((parameters as { type?: string } | undefined)?.type !== 'object')
    throw new Error("the service has no 'parameters': write 'parameters: Type.Object({ … })'");
  if (typeof found.run !== 'function') throw new Error("the service has no hook 'run'");
  const strange = HOOKS.find((hook) => found[hook] !== undefined && typeof found[hook] !== 'function');
  if (strange) throw new Error(`'${strange}' of the service is no function`);
  if (results !== undefined && !(Array.isArray(results) && results.every((one) => typeof one === 'string')))
    throw new Error("'results' of the service is a list of patterns, as in ['*.pdb', 'plots/*.png']");
  const hooks = HOOKS.filter((hook) => found[hook] !== undefined);
  return {
    name,
    title: title ?? null,
    parameters: JSON.parse(JSON.stringify(parameters)),
    hooks,
    results: results ?? null,
  };
}

async function call({ hook, job: facts, service, data, results }: HookCall): Promise<FromHooks> {
  const metadata: Record<string, unknown> = structuredClone(facts.metadata);
  let skip = false;
  let rescheduled: { data: unknown } | undefined;
  const only = (when: HookName, what: string): void => {
    if (hook !== when) throw new Error(`${what} can be called in '${when}' only, not in '${hook}'`);
  };
  const told = {
    ...facts,
    metadata,
    progress: (fraction: number | null, message?: string) =>
      send({ kind: 'progress', fraction, ...(message === undefined ? {} : { message: String(message) }) }),
    skipRun: () => {
      only('preprocess', 'skipRun');
      skip = true;
    },
    rescheduleRun: (given: unknown = null) => {
      only('postprocess', 'rescheduleRun');
      rescheduled = { data: given };
    },
  };
  process.chdir(facts.directory ?? home);
  const target = definition?.log?.(told as never) ?? {};
  const logger = openFrameworkLog(facts.directory, target, () => new Date());
  const job = { ...told, logger } as unknown as AnyJob;
  try {
    const value = await callHook(hook, job, { service, data, results });
    return toJson({ kind: 'done', value, metadata, skip, ...(rescheduled ? { rescheduled } : {}) });
  } catch (error) {
    logger.error(`${hook} failed: ${error instanceof Error ? (error.stack ?? error.message) : describe(error)}`);
    return { ...toFailed(error), ...kept(metadata) };
  } finally {
    logger.close();
    process.chdir(home);
  }
}

/** What comes besides the job. */
interface Given {
  readonly service: ServiceFacts;
  readonly data: unknown;
  readonly results: RunResults | undefined;
}

function callHook(hook: HookName, job: AnyJob, { service, data, results }: Given): unknown {
  if (hook === 'rerun') return definition?.rerun ? definition.rerun(job, data, service) : definition?.run(job, service);
  if (hook === 'postprocess') return definition?.postprocess?.(job, results ?? { tasks: [] }, service);
  return definition?.[hook]?.(job, service);
}

/** What cannot travel is found here, where it is the hook's fault. */
function toJson(message: FromHooks): FromHooks {
  try {
    return JSON.parse(JSON.stringify(message));
  } catch (error) {
    throw new Error(`what the hook returned, or wrote into the metadata, is no JSON: ${(error as Error).message}`);
  }
}

function kept(metadata: Record<string, unknown>): { metadata?: Record<string, unknown> } {
  try {
    return { metadata: JSON.parse(JSON.stringify(metadata)) };
  } catch {
    return {};
  }
}
