/** Sites as their files describe them (`sites.yaml`), and as the agent uses them. */
import Type from 'typebox';
import { parseDuration } from '../base/duration.ts';
import { PilotageError } from '../base/errors.ts';
import { closed } from './schema.ts';

export type TransportKind = 'local' | 'ssh';
export type SchedulerKind = 'process' | 'slurm' | 'grid-engine';
export type StagingKind = 'shared' | 'archive';

/** The mechanisms of the CCP4 documentation, and their Slurm twins: names for combinations. */
export const MECHANISMS = {
  ssh: ['ssh', 'process', 'archive'],
  ssh_shared: ['ssh', 'process', 'shared'],
  qsub_local: ['local', 'grid-engine', 'shared'],
  qsub_remote: ['ssh', 'grid-engine', 'archive'],
  qsub_shared: ['ssh', 'grid-engine', 'shared'],
  slurm_local: ['local', 'slurm', 'shared'],
  slurm_remote: ['ssh', 'slurm', 'archive'],
  slurm_shared: ['ssh', 'slurm', 'shared'],
} as const satisfies Readonly<Record<string, readonly [TransportKind, SchedulerKind, StagingKind]>>;
export type Mechanism = keyof typeof MECHANISMS;

const Text = Type.String({ minLength: 1, maxLength: 4096 });
const oneOf = <T extends string>(words: readonly T[]) =>
  Type.Unsafe<T>(Type.Union(words.map((word) => Type.Literal(word))));

/** One site of a file. Times as `10s` or a number of seconds. */
export const SiteConfig = closed({
  name: Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]*$', maxLength: 50 }),
  mechanism: Type.Optional(oneOf(Object.keys(MECHANISMS) as Mechanism[])),
  transport: Type.Optional(oneOf<TransportKind>(['local', 'ssh'])),
  scheduler: Type.Optional(oneOf<SchedulerKind>(['process', 'slurm', 'grid-engine'])),
  staging: Type.Optional(oneOf<StagingKind>(['shared', 'archive'])),
  machines: Type.Optional(Type.Array(Text, { maxItems: 10_000 })),
  userExtensible: Type.Optional(Type.Boolean({ description: 'may a job name another machine' })),
  user: Type.Optional(Text),
  programDirectory: Type.Optional(Text),
  temporaryDirectory: Type.Optional(Text),
  queueOptions: Type.Optional(Type.Array(Text, { maxItems: 1000 })),
  queueOptionsFile: Type.Optional(Text),
  setup: Type.Optional(Type.Array(Type.String({ maxLength: 4096 }), { maxItems: 1000 })),
  sshConfig: Type.Optional(Text),
  timeout: Type.Optional(Type.Union([Type.Number({ minimum: 0.1 }), Text])),
  tries: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
});
export type SiteConfig = Type.Static<typeof SiteConfig>;

export const SitesFile = closed({ sites: Type.Array(SiteConfig, { maxItems: 1000 }) });
export type SitesFile = Type.Static<typeof SitesFile>;

/** A site with everything said that its file may leave out. Times in seconds. */
export interface Site {
  readonly name: string;
  readonly transport: TransportKind;
  readonly scheduler: SchedulerKind;
  readonly staging: StagingKind;
  /** Host names or aliases of the SSH configuration; `localhost` for the local transport. */
  readonly machines: readonly string[];
  readonly userExtensible: boolean;
  readonly user?: string;
  /** `$USER` in it is the remote user's name, as in `temporaryDirectory`. */
  readonly programDirectory?: string;
  readonly temporaryDirectory: string;
  readonly queueOptions: readonly string[];
  readonly setup: readonly string[];
  readonly sshConfig?: string;
  readonly timeoutSeconds: number;
  readonly tries: number;
}

const TIMEOUT_SECONDS = 20;
const TRIES = 2;
const TEMPORARY_DIRECTORY = '/tmp';

/** `queueOptions` are those of the option file that goes before, if there is one, else those of the site. Rejects what contradicts itself. */
export function toSite(config: SiteConfig, optionsOfFile?: readonly string[]): Site {
  const { name, user, programDirectory, sshConfig } = config;
  const [transport, scheduler, staging] = combinationOf(config);
  const machines = config.machines ?? [];
  if (transport === 'ssh' && machines.length === 0 && !config.userExtensible)
    throw bad(
      name,
      'has no machines: list at least one under `machines`, or let users name one (`userExtensible: true`)',
    );
  return {
    name,
    transport,
    scheduler,
    staging,
    machines: transport === 'local' && machines.length === 0 ? ['localhost'] : machines,
    userExtensible: config.userExtensible ?? false,
    ...(user === undefined ? {} : { user }),
    ...(programDirectory === undefined ? {} : { programDirectory }),
    temporaryDirectory: config.temporaryDirectory ?? TEMPORARY_DIRECTORY,
    queueOptions: optionsOfFile ?? config.queueOptions ?? [],
    setup: config.setup ?? [],
    ...(sshConfig === undefined ? {} : { sshConfig }),
    timeoutSeconds: config.timeout === undefined ? TIMEOUT_SECONDS : parseDuration(config.timeout),
    tries: config.tries ?? TRIES,
  };
}

function combinationOf(config: SiteConfig): readonly [TransportKind, SchedulerKind, StagingKind] {
  const { name, mechanism, transport, scheduler, staging } = config;
  if (mechanism !== undefined) {
    if (transport !== undefined || scheduler !== undefined || staging !== undefined)
      throw bad(
        name,
        `has a mechanism (${mechanism}), which says transport, scheduler and staging already: leave these out`,
      );
    return MECHANISMS[mechanism];
  }
  if (transport === undefined && scheduler === undefined && staging === undefined)
    throw bad(
      name,
      `says neither a mechanism (${Object.keys(MECHANISMS).join(', ')}) nor transport, scheduler and staging`,
    );
  return [transport ?? 'ssh', scheduler ?? 'process', staging ?? (transport === 'local' ? 'shared' : 'archive')];
}

function bad(name: string, what: string): PilotageError {
  return new PilotageError('bad-spec', `the site '${name}' ${what}`);
}
