import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { type Digest, parseDigest } from '../../ground/base/digest.ts';
import { PilotageError } from '../../ground/base/errors.ts';
import { formatSize } from '../../ground/base/size.ts';
import { type Principal, requireScope } from '../access/principal.ts';
import type { Received } from '../blobs/blobs.ts';
import { IMPORTING, type ProjectRow } from '../store/verbs/projects.ts';
import type { Quota } from '../store/verbs/quotas.ts';
import type { Parts } from './parts.ts';
import { projectOf } from './projects.ts';

/** Files are for those who submit and for those who run: both hold tokens for the project. */
function requireAny(who: Principal): void {
  if (who.scopes.includes('work')) return;
  requireScope(who, 'read');
}

/** Whoever only looks brings nothing. */
function requireBringer(who: Principal): void {
  if (who.scopes.includes('work')) return;
  requireScope(who, 'submit');
}

export interface Asked {
  readonly digests: readonly string[];
  readonly sizes?: readonly number[] | undefined;
  readonly more?: number | undefined;
}

/** With sizes: refuses at once what would be over the quota, before any of it is sent. */
export async function missingBlobs(
  parts: Parts,
  who: Principal,
  project: string,
  asked: Asked,
): Promise<{ missing: string[]; fits?: boolean }> {
  requireAny(who);
  const { id } = await projectOf(parts, who, project);
  const { digests, sizes, more } = asked;
  if (sizes && sizes.length !== digests.length)
    throw new PilotageError(
      'bad-request',
      `${digests.length} digests came with ${sizes.length} sizes: give one for each`,
    );
  const missing = await parts.store.missingBlobs({ projectId: id, digests, graceMs: parts.settings.blobGraceMs });
  if (!sizes || (missing.length === 0 && more === undefined)) return { missing };
  const sizeOf = new Map(digests.map((digest, i) => [digest, sizes[i] ?? 0]));
  const bytes = missing.reduce((sum, digest) => sum + (sizeOf.get(digest) ?? 0), 0);
  const room = await roomOf(parts, { id, project }, bytes);
  return { missing, ...(more === undefined ? {} : { fits: bytes + more <= room }) };
}

/** How many bytes the project may take still. Rejects when `wanted` are more. */
async function roomOf(parts: Parts, { id, project }: { id: number; project: string }, wanted: number): Promise<number> {
  const quota = await parts.store.findQuota({ projectId: id });
  if (!quota) return Number.POSITIVE_INFINITY;
  const room = quota.quotaBytes - quota.bytes;
  if (wanted > 0 && wanted > room) throw overQuota(project, quota, wanted);
  return room;
}

function overQuota(project: string, { quotaBytes, bytes, user }: Quota, more: number) {
  if (project.startsWith(IMPORTING) && user === undefined)
    return new PilotageError(
      'over-quota',
      `the files of the export do not fit: with --quota the project may keep ${formatSize(quotaBytes)}, has ${formatSize(bytes)} of them already, and ${formatSize(more)} more were to come. Import it again with a larger --quota`,
    );
  if (user !== undefined)
    return new PilotageError(
      'over-quota',
      `${formatSize(more)} more do not fit into project '${project}': '${user}', who owns it, may keep ${formatSize(quotaBytes)} in all projects together and keeps ${formatSize(bytes)}. Remove finished submissions in any of them with 'pilotage forget', which makes room after two or three minutes, or ask an administrator for more ('pilotage user limit ${user} --storage SIZE')`,
    );
  return new PilotageError(
    'over-quota',
    `${formatSize(more)} more do not fit into project '${project}': it may keep ${formatSize(quotaBytes)} and keeps ${formatSize(bytes)}. Remove finished submissions with 'pilotage forget', which makes room after two or three minutes, or ask an administrator for more ('pilotage project quota ${project} SIZE')`,
  );
}

export interface Upload {
  readonly id: string | undefined;
  readonly offset: number;
  /** Bytes that are about to come, if the client says. */
  readonly length: number | undefined;
}

/** Resolves when the project has the bytes, verified and on disk. */
export async function putBlob(
  parts: Parts,
  who: Principal,
  to: { readonly project: string; readonly digest: string },
  upload: Upload,
  bytes: Readable,
): Promise<void> {
  requireBringer(who);
  const { id } = await projectOf(parts, who, to.project);
  const digest = parseDigest(to.digest);
  if (!(await parts.store.findBlob({ projectId: id, digest })))
    await roomOf(parts, { id, project: to.project }, upload.offset + (upload.length ?? 0));
  const { id: name = randomUUID(), offset } = upload;
  await takeIn(parts, { id, name: to.project }, digest, { id: name, offset, bytes });
}

/** Resolves when a project has the bytes, verified and on disk. Who may bring them has been asked. */
export async function takeIn(
  parts: Parts,
  project: { readonly id: number; readonly name: string },
  digest: Digest,
  upload: { readonly id: string; readonly offset: number; readonly bytes: Readable },
): Promise<void> {
  const received = await parts.blobs.receive({ digest, ...upload });
  try {
    await add(parts, { id: project.id, project: project.name }, [{ digest, size: received.size }], received);
  } finally {
    await received.discard();
  }
}

/** A file that came with a form: its digest is known, its bytes are here already. */
export interface FormFile {
  readonly id: string;
  readonly digest: string;
  readonly size: number;
  open(): Readable;
}

/** Resolves when the project has the file. Who may add jobs to services may bring the files of one. */
export async function keepFile(parts: Parts, who: Principal, project: string, file: FormFile): Promise<void> {
  requireScope(who, 'front');
  const { id } = await projectOf(parts, who, project);
  const digest = parseDigest(file.digest);
  if (!(await parts.store.findBlob({ projectId: id, digest }))) await roomOf(parts, { id, project }, file.size);
  const received = await parts.blobs.receive({ digest, id: file.id, offset: 0, bytes: file.open() });
  try {
    await add(parts, { id, project }, [{ digest, size: received.size }], received);
  } finally {
    await received.discard();
  }
}

export interface WholeBlob {
  readonly digest: string;
  readonly bytes: Buffer;
}

/** Many small ones at once. Those that are there already are not looked at. */
export async function putBlobs(
  parts: Parts,
  who: Principal,
  project: string,
  blobs: readonly WholeBlob[],
): Promise<void> {
  requireBringer(who);
  const { id } = await projectOf(parts, who, project);
  const sizes = blobs.map(({ bytes }) => bytes.length);
  const asked = await missingBlobs(parts, who, project, { digests: blobs.map(({ digest }) => digest), sizes });
  const missing = new Set(asked.missing);
  const wanted = [
    ...new Map(blobs.filter(({ digest }) => missing.has(digest)).map((blob) => [blob.digest, blob])).values(),
  ];
  if (wanted.length === 0) return;
  const received = await parts.blobs.receiveWhole(
    wanted.map(({ digest, bytes }) => ({ digest: parseDigest(digest), bytes })),
  );
  const known = wanted.map(({ digest, bytes }) => ({ digest, size: bytes.length }));
  await add(parts, { id, project }, known, received);
}

const LOOK_MS = 50;

/**
 * Bytes first, then the row. A removal of the same bytes may be under way: while it is, nobody adds them; and after the
 * row is there, which keeps others from beginning one, the bytes are put in place once more, in case they went before.
 */
async function add(
  parts: Parts,
  { id, project }: { id: number; project: string },
  blobs: readonly { digest: string; size: number }[],
  received: Received,
): Promise<void> {
  for (;;) {
    await received.place();
    const added = await parts.store.addBlobs({ projectId: id, blobs, graceMs: parts.settings.blobGraceMs });
    if (added === 'added') return received.place();
    if (added !== 'being-removed') throw overQuota(project, added.overQuota, received.size);
    await pause(LOOK_MS, undefined, { signal: parts.closing });
  }
}

export async function uploadState(
  parts: Parts,
  who: Principal,
  upload: { readonly project: string; readonly digest: string; readonly upload: string },
): Promise<{ received: number }> {
  requireAny(who);
  await projectOf(parts, who, upload.project);
  return { received: await parts.blobs.received(parseDigest(upload.digest), upload.upload) };
}

export async function getBlob(parts: Parts, who: Principal, project: string, digest: string, start: number) {
  requireAny(who);
  const row = await projectOf(parts, who, project);
  const known = await bringBlob(parts, row, digest);
  if (!known) throw new PilotageError('not-found', `project '${project}' has no bytes ${digest}`);
  return readBlob(parts, digest, start);
}

/** Is it here? What belongs to a borrowed task is fetched from where that came from. */
export async function bringBlob(parts: Parts, project: ProjectRow, digest: string): Promise<boolean> {
  if (await parts.store.findBlob({ projectId: project.id, digest })) return true;
  return project.peer_id !== null && (await parts.neighbours.fetch(project, parseDigest(digest)));
}

/** What the store lost is asked for again when a client comes that has it. */
export async function readBlob(parts: Pick<Parts, 'blobs' | 'store' | 'log'>, digest: string, start?: number) {
  try {
    return await parts.blobs.get(parseDigest(digest), start);
  } catch (error) {
    if (!(error instanceof PilotageError) || error.code !== 'not-found') throw error;
    parts.log.error({ digest }, `a file is lost: ${error.message}`);
    await parts.store.noteGone({ digest });
    throw error;
  }
}

export async function projectUsage(parts: Parts, who: Principal, project: string) {
  requireScope(who, 'read');
  const { id, running_limit: runningLimit } = await projectOf(parts, who, project);
  const { blobs, bytes, unreferencedBlobs, unreferencedBytes, quotaBytes } = await parts.store.projectUsage({
    projectId: id,
  });
  const counts = (await parts.store.countByProject()).find(({ projectId }) => projectId === id)?.counts;
  const runningTasks = Math.max(0, counts?.running ?? 0);
  return { project, blobs, bytes, unreferencedBlobs, unreferencedBytes, quotaBytes, runningTasks, runningLimit };
}

export async function setQuota(parts: Parts, who: Principal, project: string, bytes: number | null) {
  requireScope(who, 'admin');
  const { id } = await projectOf(parts, who, project);
  await parts.store.setQuota({ projectId: id, bytes });
  return projectUsage(parts, who, project);
}
