import { open, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Command } from 'commander';
import { messageOf, PilotageError, systemCode } from '../../../ground/base/errors.ts';
import type { NewToken, Scope, TokenView } from '../../../ground/protocol/token.ts';
import { calls } from '../calls.ts';
import type { Define } from '../define.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { hintOf } from '../nearest.ts';
import { SEVERAL } from '../option-sources.ts';
import { collectList, duration, wholeNumber } from '../option-values.ts';
import { printLine } from '../output.ts';
import { type Column, formatAge, formatTable } from '../table.ts';

interface Options {
  readonly name: string;
  readonly scope: readonly string[];
  readonly project?: readonly string[];
  readonly user?: string;
  readonly expires?: number;
  readonly to: string;
}

const SCOPES: Readonly<Record<Scope, true>> = { admin: true, submit: true, read: true, work: true, front: true };

export function tokenCommand(define: Define): Command {
  const make = define('create', 'Make a token and write it to a file that only you can read', create)
    .requiredOption('--name <name>', 'for whom or what it is')
    .requiredOption('--scope <scope>', `admin, submit, read, work or front ${SEVERAL}`, collectList)
    .option('--user <name>', "whose it is: it ends with that user, and never does more; an administrator's is nobody's")
    .option('--project <name>', `only for this project ${SEVERAL}`, collectList)
    .option('--expires <duration>', 'good for so long, as in 30d; until revoked unless given', duration)
    .requiredOption('--to <file>', 'where to (- is standard output)');
  return define('token', 'List, create or revoke tokens: your own, as an administrator all', list)
    .addCommand(define('list', 'List tokens (never the secrets)', list))
    .addCommand(make)
    .addCommand(define('revoke', 'Revoke a token, at once', revoke).argument('<id>', 'its number', wholeNumber(1)));
}

async function create(invocation: Invocation, options: Options): Promise<number> {
  const { name, expires } = options;
  const body = {
    name,
    scopes: options.scope.map(toScope),
    ...defined({ projects: options.project && [...options.project], expiresInSeconds: expires, user: options.user }),
  };
  const make = (): Promise<NewToken> => invocation.client().call(calls.createToken, { body });
  if (options.to === '-') {
    await printLine(invocation.context.stdout, (await make()).token);
    return EXIT.done;
  }
  const { token: _secret, ...view } = await writeTo(path.resolve(invocation.context.cwd, options.to), make);
  await invocation.print(view, () => `token ${view.id} (${view.name}: ${view.scopes.join(', ')}) is in ${options.to}`);
  return EXIT.done;
}

/** The file is made first: a token that nobody can keep must not come to be. */
async function writeTo(file: string, make: () => Promise<NewToken>): Promise<NewToken> {
  const handle = await open(file, 'wx', 0o600).catch((error: unknown) => {
    if (systemCode(error) !== 'EEXIST')
      throw new PilotageError(
        'not-written',
        `'${file}' cannot be written (${messageOf(error)}), and no token was made: name a file in a directory that is there`,
        { cause: error },
      );
    throw new PilotageError(
      'already-exists',
      `'${file}' is there already and may hold another token: name another file, or remove it`,
    );
  });
  try {
    const made = await make();
    await handle.writeFile(`${made.token}\n`);
    await handle.sync();
    return made;
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

function toScope(text: string): Scope {
  if (Object.hasOwn(SCOPES, text)) return text as Scope;
  throw new PilotageError('bad-request', `there is no scope '${text}'${hintOf(text, Object.keys(SCOPES))}`);
}

async function list(invocation: Invocation): Promise<number> {
  const tokens = await invocation.client().call(calls.tokens);
  await invocation.printList(tokens, () => formatTable(columns(invocation.context.now()), tokens));
  return EXIT.done;
}

async function revoke(invocation: Invocation, _options: object, id: number): Promise<number> {
  const token = await invocation.client().call(calls.revokeToken, { params: { id } });
  await invocation.print(token, () => `token ${token.id} (${token.name}) is revoked`);
  return EXIT.done;
}

function columns(now: Date): Column<TokenView>[] {
  return [
    { title: 'ID', of: ({ id }) => String(id), align: 'right' },
    { title: 'NAME', of: ({ name, kind }) => (kind === 'session' ? '(a login)' : name) },
    { title: 'USER', of: ({ user }) => user ?? '-' },
    { title: 'SCOPES', of: ({ scopes }) => scopes.join(', ') },
    {
      title: 'PROJECTS',
      of: ({ projects, user }) => projects?.join(', ') ?? (user === null ? 'all' : "all of the user's"),
    },
    { title: 'CREATED', of: ({ createdAt }) => formatAge(createdAt, now) },
    { title: 'STATE', of: (token) => stateOf(token, now) },
  ];
}

function stateOf({ revokedAt, expiresAt }: TokenView, now: Date): string {
  if (revokedAt !== null) return `revoked ${formatAge(revokedAt, now)}`;
  if (expiresAt === null) return 'good';
  return Date.parse(expiresAt) <= now.getTime()
    ? `expired ${formatAge(expiresAt, now)}`
    : `expires ${formatAge(expiresAt, now)}`;
}
