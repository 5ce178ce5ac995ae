import path from 'node:path';
import type { Command } from 'commander';
import { PilotageError } from '../../../ground/base/errors.ts';
import { formatSize } from '../../../ground/base/size.ts';
import type { CachedBlob, CacheView } from '../context.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { size } from '../option-values.ts';
import { type Column, formatAge, formatTable, plural } from '../table.ts';

interface Options {
  readonly cache?: string;
  readonly list?: boolean;
}

interface PruneOptions extends Options {
  readonly to?: number;
  readonly all?: boolean;
}

const DIRECTORY = "the work directory of this machine's workers, as they were given it";

export function cacheCommand(define: Define): Command {
  const showing = define('show', 'Show the cache: how large, what is in use and by whom', show)
    .option('--cache <dir>', DIRECTORY)
    .option('--list', 'list the files');
  const pruning = define('prune', 'Remove what is not in use, the longest unused first; safe while workers run', prune)
    .option('--cache <dir>', DIRECTORY)
    .option('--to <size>', 'until so much is left', size)
    .option('--all', 'all that is not in use');
  return define('cache', "Show or prune this machine's cache of input files", show)
    .option('--cache <dir>', DIRECTORY)
    .option('--list', 'list the files')
    .addCommand(showing)
    .addCommand(pruning);
}

async function show(invocation: Invocation, { list, cache }: Options): Promise<number> {
  const { context } = invocation;
  const directory = directoryOf(invocation, cache);
  if (list) {
    const blobs = await context.cache.list(directory);
    await invocation.printList(blobs.map(toJson), () => formatTable(columns(context.now()), blobs));
    return EXIT.done;
  }
  const view = await context.cache.show(directory);
  await invocation.print(view, () => describe(view));
  return EXIT.done;
}

async function prune(invocation: Invocation, { to, all, cache }: PruneOptions): Promise<number> {
  if ((to === undefined) === (all !== true))
    throw new PilotageError('bad-request', 'how much is to go? Give --to SIZE for what may stay, or --all');
  const pruned = await invocation.context.cache.prune(to ?? 0, directoryOf(invocation, cache));
  await invocation.print(
    pruned,
    () => `removed ${plural(pruned.blobs, 'file')}, ${formatSize(pruned.bytes)}; ${formatSize(pruned.left)} stay`,
  );
  return EXIT.done;
}

function directoryOf({ context }: Invocation, cache: string | undefined): string | undefined {
  return cache === undefined ? undefined : path.resolve(context.cwd, cache);
}

function describe(view: CacheView): string {
  const { bytes, limitBytes, blobs, inUse, arriving, users } = view;
  const limit = limitBytes === null ? '' : ` of ${formatSize(limitBytes)}`;
  const lines = [
    `directory  ${view.directory}`,
    `size       ${formatSize(bytes)}${limit} in ${plural(blobs, 'file')}`,
    `in use     ${formatSize(inUse.bytes)} in ${plural(inUse.blobs, 'file')}`,
    ...(arriving > 0 ? [`arriving   ${plural(arriving, 'file')}`] : []),
    ...users.map(
      ({ pid, uses, blobs: held, arriving: coming }) =>
        `by         process ${pid}: ${plural(held, 'file')} for ${plural(uses, 'use')}${coming > 0 ? `, ${coming} arriving` : ''}`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}

function columns(now: Date): Column<CachedBlob>[] {
  return [
    { title: 'DIGEST', of: ({ digest }) => digest },
    { title: 'SIZE', of: ({ size: bytes }) => formatSize(bytes), align: 'right' },
    { title: 'USED', of: ({ usedAt }) => formatAge(new Date(usedAt).toISOString(), now) },
    { title: '', of: ({ inUse }) => (inUse ? 'in use' : '') },
  ];
}

function toJson({ usedAt, ...blob }: CachedBlob): object {
  return { ...blob, usedAt: new Date(usedAt).toISOString() };
}
