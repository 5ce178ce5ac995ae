import Type, { type Static } from 'typebox';
import { Errors } from 'typebox/schema';
import { parseArrayRange } from '../../ground/protocol/array-range.ts';
import { closed } from '../../ground/protocol/schema.ts';
import type { Runner } from './runners.ts';

const Texts = Type.Array(Type.String({ minLength: 1, maxLength: 131_072 }), { maxItems: 10_000 });
const Amount = Type.Union([Type.String(), Type.Number({ minimum: 0 })]);
const Files = Type.Union([Type.Literal('sent'), Type.Literal('shared')]);
const Environment = Type.Record(Type.String(), Type.String());
const command = {
  command: Type.Array(Type.String({ maxLength: 131_072 }), { minItems: 1, maxItems: 10_000 }),
  inputs: Type.Optional(Texts),
  outputs: Type.Optional(Texts),
  env: Type.Optional(Environment),
  array: Type.Optional(Type.String()),
  cpus: Type.Optional(Type.Integer({ minimum: 0 })),
  memory: Type.Optional(Amount),
  gpus: Type.Optional(Type.Integer({ minimum: 0 })),
  timeLimit: Type.Optional(Amount),
  retries: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000 })),
};
const KINDS = {
  pool: closed({
    runner: Type.Literal('pool'),
    commands: Type.Array(closed(command), { minItems: 1, maxItems: 1000 }),
  }),
  site: closed({
    runner: Type.Literal('site'),
    commands: Type.Array(
      closed({
        ...command,
        name: Type.String({ minLength: 1 }),
        machine: Type.Optional(Type.String()),
        user: Type.Optional(Type.String()),
        files: Type.Optional(Files),
      }),
      { minItems: 1, maxItems: 1000 },
    ),
  }),
  script: closed({
    runner: Type.Literal('script'),
    script: closed({
      scheduler: Type.Union([Type.Literal('slurm'), Type.Literal('grid-engine')]),
      site: Type.String({ minLength: 1 }),
      text: Type.String({ minLength: 1, maxLength: 1_000_000 }),
      options: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String())])),
      array: Type.Optional(Type.String()),
      inputs: Type.Optional(Texts),
      outputs: Type.Optional(Texts),
      env: Type.Optional(Environment),
      files: Type.Optional(Files),
    }),
  }),
  nothing: closed({ runner: Type.Literal('nothing') }),
};

/** The runner that a hook returned. Throws what the hook's author has to know when it is none. */
export function checkRunner(hook: string, value: unknown): Runner {
  const kind = (value as { runner?: unknown } | null | undefined)?.runner;
  const schema = KINDS[kind as keyof typeof KINDS];
  if (typeof kind !== 'string' || !Object.hasOwn(KINDS, kind))
    throw new Error(
      `'${hook}' returned ${value === undefined ? 'nothing' : (JSON.stringify(value)?.slice(0, 200) ?? typeof value)}, which is no runner: return pool(…), site(…), script(…) or nothing()`,
    );
  const [isRight, complaints] = Errors(schema, value) as unknown as [
    boolean,
    { instancePath: string; message: string }[],
  ];
  if (!isRight)
    throw new Error(
      `the runner of '${hook}' is wrong: ${complaints
        .map((one) => `${one.instancePath.slice(1)} ${one.message}`)
        .slice(0, 3)
        .join('; ')}`,
    );
  const runner = value as Static<typeof schema> as Runner;
  for (const { array } of runner.runner === 'script' ? [runner.script] : 'commands' in runner ? runner.commands : [])
    if (array !== undefined) parseArrayRange(array);
  return runner;
}
