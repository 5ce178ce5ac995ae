import { randomUUID } from 'node:crypto';
import { type Readable, Transform } from 'node:stream';
import { PilotageError } from '../../ground/base/errors.ts';
import { mayEnter, type Principal, requireAdministrator, requireScope } from '../access/principal.ts';
import { readBlob } from '../pool/files.ts';
import type { Parts } from '../pool/parts.ts';
import { projectOf } from '../pool/projects.ts';
import type { HoldRow } from '../store/verbs/holds.ts';
import { createReadings } from './readings.ts';
import type { CopySettings } from './settings.ts';

export interface CopyFacts {
  readonly id: string;
  readonly version: string;
  readonly at: string;
  readonly holdSeconds: number;
}

/**
 * Backups of everything and exports of projects. Whoever makes one fetches it piece by piece and keeps it; the server
 * keeps nothing of it but a hold on the files, which ends by itself. Refusals are `PilotageError`s: `gone` when the hold
 * ran out, after which the copy has to be begun anew.
 */
export interface Copies {
  startBackup(who: Principal): Promise<CopyFacts>;
  startExport(who: Principal, project: string): Promise<CopyFacts>;
  /** Rows at one moment, after the hold began. Asked for anew it begins anew, and what was on its way ends. `busy`: too many are read. */
  database(who: Principal, id: string): Promise<Readable>;
  blob(who: Principal, id: string, digest: string, start: number): Promise<{ size: number; bytes: Readable }>;
  /** Secrets of the server, by the names of their files. */
  identity(who: Principal, id: string): Promise<Record<string, string>>;
  /** Idempotent. */
  end(who: Principal, id: string): Promise<void>;
}

export interface CopyParts {
  readonly parts: Parts;
  readonly settings: CopySettings;
  readonly readIdentity: () => Promise<Record<string, string>>;
}

export function createCopies({ parts, settings, readIdentity }: CopyParts): Copies {
  const { store, log } = parts;
  const readings = createReadings(settings);
  const start = async (who: Principal, kind: 'backup' | 'export', projectId: number | null): Promise<CopyFacts> => {
    const id = randomUUID();
    const most = kind === 'export' ? { most: settings.exportsOfUser } : {};
    const hold = { id, kind, projectId, who: who.name, forMs: settings.holdMs, ...most };
    if (!(await store.beginHold(hold))) throw tooMany(who.name, settings);
    log.info({ copy: id, kind, who: who.name }, `a ${kind} began`);
    return { id, version: parts.version, at: new Date().toISOString(), holdSeconds: settings.holdMs / 1000 };
  };
  const open = async (who: Principal, id: string): Promise<HoldRow> => {
    const hold = await store.findHold({ id });
    if (!hold || hold.kind === 'import') throw ranOut(settings);
    requireHolder(who, hold);
    await requireStillIn(who, hold);
    return hold;
  };
  /** Whoever gets something is there: the hold goes on. Not for who asks for what is not to be had. */
  const holdOn = async ({ id, leftMs }: HoldRow, bytes: Readable): Promise<Readable> => {
    const held = keepHeld(id, bytes);
    // It may break off before whoever sends it listens.
    held.on('error', () => undefined);
    try {
      if (leftMs < 0.75 * settings.holdMs && !(await renew(id))) throw ranOut(settings);
    } catch (error) {
      held.destroy();
      throw error;
    }
    return held;
  };
  /** Access may have been taken since, or somebody else have the name: each request is answered by what holds when it comes. */
  const requireStillIn = async (who: Principal, { project_id: projectId }: HoldRow): Promise<void> => {
    if (projectId === null) return;
    const project = (await store.listProjects()).find(({ id }) => id === projectId);
    if (project && mayEnter(who, project.name)) return;
    // Not `not-found`: a file that is not found is taken for lost, and the export goes on without it.
    throw new PilotageError(
      'forbidden',
      `'${who.name}' may not enter the project of this export (any more): ask its owner for access, and export it again`,
    );
  };
  /** With a full disk nothing can be written, and no file goes either: it is held as long as it was. */
  const renew = async (id: string): Promise<boolean> => {
    try {
      return await store.renewHold({ id, forMs: settings.holdMs, longestMs: settings.longestExportMs });
    } catch (error) {
      if (error instanceof PilotageError && error.code === 'storage-full') return true;
      throw error;
    }
  };
  /** A large file takes longer than a hold: each part of it that is taken counts as a sign. */
  const keepHeld = (id: string, bytes: Readable): Readable => {
    let last = performance.now();
    const watched = new Transform({
      transform(piece, _encoding, done) {
        const now = performance.now();
        if (now - last < settings.holdMs / 4) return done(null, piece);
        last = now;
        renew(id).then(
          (held) => done(held ? null : ranOut(settings), piece),
          (error: Error) => done(error),
        );
      },
    });
    bytes.once('error', (error) => watched.destroy(error));
    watched.once('close', () => bytes.destroy());
    return bytes.pipe(watched);
  };
  return {
    async startBackup(who) {
      requireAdministrator(who);
      await parts.audit.note(who, 'backup.take', '');
      return start(who, 'backup', null);
    },
    async startExport(who, project) {
      requireScope(who, 'read');
      requireScope(who, 'submit');
      const { id, peer_id: peer } = await projectOf(parts, who, project);
      if (peer === null) {
        await parts.audit.note(who, 'project.export', project);
        return start(who, 'export', id);
      }
      throw new PilotageError(
        'wrong-state',
        `the tasks of '${project}' are a neighbour's, and only borrowed: export it there`,
      );
    },
    async database(who, id) {
      const hold = await open(who, id);
      const { project_id: projectId } = hold;
      const wish = projectId === null ? ({ kind: 'all' } as const) : ({ kind: 'project', projectId } as const);
      const isBackup = hold.kind === 'backup';
      return holdOn(hold, await readings.read({ id, isBackup }, () => store.openSnapshot(wish)));
    },
    async blob(who, id, digest, from) {
      const hold = await open(who, id);
      const { project_id: projectId } = hold;
      if (projectId !== null && !(await store.findBlob({ projectId, digest })))
        throw new PilotageError('not-found', `the project has no bytes ${digest}`);
      const { size, bytes } = await readBlob(parts, digest, from);
      return { size, bytes: await holdOn(hold, bytes) };
    },
    async identity(who, id) {
      const hold = await open(who, id);
      if (hold.kind !== 'backup')
        throw new PilotageError('wrong-state', 'an export of a project holds no secrets of the server');
      await parts.audit.note(who, 'backup.identity', '');
      return readIdentity();
    },
    async end(who, id) {
      const hold = await store.findHold({ id });
      if (!hold || hold.kind === 'import') return;
      requireHolder(who, hold);
      await store.endHold({ id });
    },
  };
}

/** A backup is for administrators. An export is for whoever began it. */
function requireHolder(who: Principal, hold: HoldRow): void {
  if (hold.kind === 'backup' || who.name !== hold.who) requireAdministrator(who);
  requireScope(who, 'read');
  requireScope(who, 'submit');
}

function tooMany(name: string, { exportsOfUser, holdMs }: CopySettings): PilotageError {
  return new PilotageError(
    'busy',
    `'${name}' has ${exportsOfUser} exports under way, and no more may be at once: wait for one to end. One that was broken off ends by itself after ${holdMs / 1000} s`,
  );
}

function ranOut({ holdMs, longestExportMs }: CopySettings): PilotageError {
  return new PilotageError(
    'gone',
    `this copy is not under way (any more): nothing of it was asked for during ${holdMs / 1000} s, or it is an export that took more than ${longestExportMs / 3_600_000} h. Files may have gone meanwhile. Begin again: of a backup, what was fetched before need not be fetched a second time`,
  );
}
