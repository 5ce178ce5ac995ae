/** What a service's module is made of: `export default defineService({ … })`. */
import Type, { type Static, type TArray, type TObject, type TProperties, type TString } from 'typebox';
import type { FileRule } from '../../ground/content/file-parameters.ts';
import type { Runner } from './runners.ts';

export { nothing, pool, type Runner, script, site } from './runners.ts';
export { Type };

interface About {
  readonly title?: string;
  readonly description?: string;
}

/**
 * A parameter that stands for a file which comes with the job: its value is the file's name in the job's directory. Never
 * trust the name: it is whatever somebody called it.
 */
export function File({ title, description, ...rule }: FileRule & About = {}): TString {
  return Type.String({ file: rule, ...about({ title, description }) });
}

/** As `File`, for several: the value is a list of names. */
export function Files({
  title,
  description,
  minItems,
  maxItems,
  ...rule
}: FileRule & About & { readonly minItems?: number; readonly maxItems?: number } = {}): TArray<TString> {
  const counts = { ...(minItems === undefined ? {} : { minItems }), ...(maxItems === undefined ? {} : { maxItems }) };
  return Type.Array(Type.String({ file: rule }), { ...counts, ...about({ title, description }) });
}

function about(facts: { readonly title: string | undefined; readonly description: string | undefined }) {
  return Object.fromEntries(Object.entries(facts).filter(([, text]) => text !== undefined));
}

export type LogLevel = 'debug' | 'info' | 'warning' | 'error' | 'critical';

export interface Logger {
  debug(message: string): void;
  info(message: string): void;
  warning(message: string): void;
  error(message: string): void;
  critical(message: string): void;
}

/** Where a job's log goes, and from which level on. `write` takes each line in place of the file. */
export interface LogTarget {
  /** `warning` unless given. */
  readonly level?: LogLevel;
  /** In the job's directory, made with the first line; `framework.log` unless given. */
  readonly file?: string;
  readonly write?: (line: string) => void;
}

/** A job as its hooks see it. Each hook runs in the job's directory, but for `expire`: then it is gone. */
export interface Job<Parameters, Metadata> {
  readonly number: string;
  /** The same everywhere and for ever. */
  readonly uid: string;
  readonly name: string | null;
  readonly owner: string;
  readonly contact: string | null;
  /** Null when it is gone. */
  readonly directory: string | null;
  readonly parameters: Parameters;
  /** Fields of the service's own. What a hook writes is kept, also when the hook fails, and after the job's end. */
  readonly metadata: Metadata;
  /** The job's page, with its secret: whoever has it sees the results. */
  readonly url: string;
  /** How often it has been run, 1 in the first run. */
  readonly run: number;
  readonly logger: Logger;
  /** Tells people how far it is: 0 to 1, or null where that is not known. */
  progress(fraction: number | null, message?: string): void;
}

export interface PreprocessJob<Parameters, Metadata> extends Job<Parameters, Metadata> {
  /** There is nothing to run: the job goes to COMPLETED once this hook returns. */
  skipRun(): void;
}

export interface PostprocessJob<Parameters, Metadata> extends Job<Parameters, Metadata> {
  /** Another round: once this hook returns the job goes back to RUNNING, and `rerun` gets the data. */
  rescheduleRun(data?: unknown): void;
}

/** The service that runs the job: `config` holds the keys under `config` of its file. */
export interface ServiceFacts {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
}

/** What became of the tasks of a run. All of them succeeded, else the job had failed. */
export interface RunResults {
  readonly tasks: readonly string[];
}

type Awaitable<T> = T | Promise<T>;
type Fields = Record<string, unknown>;

/**
 * A hook that throws fails its job: an exception is a fault of the service. Bad input is none: let the job end with a
 * result that explains. After a crash the hook that was under way is called again: it must bear that.
 */
export interface ServiceDefinition<P extends TProperties, M extends TProperties> {
  /** Lower-case letters, digits and '-'. */
  readonly name: string;
  /** For people. */
  readonly title?: string;
  /** What a job takes: the form, the API's validation and the hooks' types come from it. */
  readonly parameters: TObject<P>;
  /** Types of the metadata. All of it is optional until a hook has written it. */
  readonly metadata?: TObject<M>;
  /**
   * Patterns of files in the job's directory that people may fetch once the job is complete; all of it unless given, but
   * for the log, hidden files, and links.
   */
  readonly results?: readonly string[];
  /** Asked before each hook. */
  readonly log?: (job: Omit<Job<Static<TObject<P>>, MetadataOf<M>>, 'logger'>) => LogTarget;
  /** Seconds, not minutes: one job at a time is prepared. */
  readonly preprocess?: (
    job: PreprocessJob<Static<TObject<P>>, MetadataOf<M>>,
    service: ServiceFacts,
  ) => Awaitable<void>;
  readonly run: (job: Job<Static<TObject<P>>, MetadataOf<M>>, service: ServiceFacts) => Awaitable<Runner>;
  /** After `rescheduleRun(data)`; `run` unless given. */
  readonly rerun?: (
    job: Job<Static<TObject<P>>, MetadataOf<M>>,
    data: unknown,
    service: ServiceFacts,
  ) => Awaitable<Runner>;
  readonly postprocess?: (
    job: PostprocessJob<Static<TObject<P>>, MetadataOf<M>>,
    results: RunResults,
    service: ServiceFacts,
  ) => Awaitable<void>;
  /** After the last round. */
  readonly finalize?: (job: Job<Static<TObject<P>>, MetadataOf<M>>, service: ServiceFacts) => Awaitable<void>;
  /** The results are where people find them. */
  readonly complete?: (job: Job<Static<TObject<P>>, MetadataOf<M>>, service: ServiceFacts) => Awaitable<void>;
  /** The results are in the archive, and not to be seen any more. */
  readonly archive?: (job: Job<Static<TObject<P>>, MetadataOf<M>>, service: ServiceFacts) => Awaitable<void>;
  /** The directory is gone. */
  readonly expire?: (job: Job<Static<TObject<P>>, MetadataOf<M>>, service: ServiceFacts) => Awaitable<void>;
}

type MetadataOf<M extends TProperties> = string extends keyof M ? Fields : Partial<Static<TObject<M>>>;

/** Gives a definition back, with its types checked against each other. */
export function defineService<P extends TProperties, M extends TProperties = TProperties>(
  definition: ServiceDefinition<P, M>,
): ServiceDefinition<P, M> {
  return definition;
}
