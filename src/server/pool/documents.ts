import { PilotageError } from '../../ground/base/errors.ts';
import { shapeKey } from '../core/shape.ts';
import type { Fields } from '../core/token.ts';
import type { DocumentRow, Revision } from '../store/document-rows.ts';
import type { DocumentWrite, NewAttachment, WriteAnswer } from '../store/verbs/document-write.ts';
import type { DocumentRange } from '../store/verbs/read-documents.ts';
import { toShape } from './new-submission.ts';
import type { Parts } from './parts.ts';
import type { SpecFacts } from './step-facts.ts';

/** A project as a database of documents. Times in milliseconds. */
export interface Database {
  readonly id: number;
  readonly name: string;
  readonly owner: string;
  /** JSON as CouchDB has it, or null: nobody but administrators and the project's own tokens. */
  readonly security: string | null;
  readonly maxLockMs: number;
  readonly maxScrubs: number;
}

export const documentTopic = (project: number) => `d:${project}`;

/** The database of that name, with its standard views; null: there is none. */
export async function findDatabase(parts: Parts, name: string): Promise<Database | null> {
  const row = (await parts.store.listProjects()).find((project) => project.name === name);
  if (!row) return null;
  return {
    id: row.id,
    name: row.name,
    owner: row.owner,
    security: row.security,
    maxLockMs: row.max_lock_ms ?? parts.settings.maxLockMs,
    maxScrubs: row.max_scrubs ?? parts.settings.maxScrubs,
  };
}

export interface NewDocument {
  readonly id: string;
  readonly rev: Revision | null;
  readonly deleted: boolean;
  /** Without what begins with an underscore. */
  readonly fields: Fields;
  readonly attachments: Readonly<Record<string, NewAttachment>>;
  readonly kept?: Revision;
}

/** So many go into one transaction: heartbeats do not wait for a hundred thousand tokens. */
const CHUNK = 1000;

/** Writes documents in the name of a user; each is judged on its own. Answers in order. */
export async function writeDocuments(
  parts: Parts,
  database: Database,
  user: string,
  documents: readonly NewDocument[],
): Promise<WriteAnswer[]> {
  const answers: WriteAnswer[] = [];
  for (let at = 0; at < documents.length; at += CHUNK) {
    const result = await parts.store.writeDocuments({
      projectId: database.id,
      owner: user,
      maxLockMs: database.maxLockMs,
      writes: documents.slice(at, at + CHUNK).map((document) => toWrite(document, database)),
    });
    answers.push(...result.answers);
    tellChange(parts, database.id);
    for (const submission of result.submissions) parts.signals.changed(submission);
    if (result.sessions.length > 0) await parts.store.alertWorkers({ sessions: result.sessions });
    for (const session of result.sessions) parts.signals.session(session);
  }
  if (documents.length > 0) {
    parts.dirty();
    parts.signals.queued();
  }
  return answers;
}

function tellChange(parts: Parts, project: number): void {
  parts.store.tell(documentTopic(project));
}

function toWrite(document: NewDocument, database: Database): DocumentWrite {
  const { id, rev, deleted, fields, attachments, kept } = document;
  const { spec, payload } = taskOf(fields, database);
  return {
    id,
    rev,
    deleted,
    body: bodyOf(fields),
    attachments,
    shapeKey: shapeKey(toShape(spec)),
    spec: JSON.stringify(spec),
    payload: payload === undefined ? null : JSON.stringify(payload),
    ...(kept ? { kept } : {}),
  };
}

function bodyOf(fields: Fields): string {
  try {
    return JSON.stringify(fields);
  } catch (error) {
    throw new PilotageError('too-deep', 'the document nests too deeply: put deep data into an attachment', {
      cause: error,
    });
  }
}

/** With a command a token is for our workers; without, for whoever takes it. What it asks for is named as PiCaS names it. */
function taskOf(fields: Fields, database: Database): { spec: SpecFacts; payload: Fields | undefined } {
  const cores = Number(fields.cores);
  const gpus = Number(fields.gpus ?? fields.gpu);
  const cpus = Number.isInteger(cores) && cores > 0 && cores <= 4096 ? cores : 1;
  const spec = {
    resources: { cpus, ...(Number.isInteger(gpus) && gpus > 0 && gpus <= 64 ? { gpus } : {}) },
    retry: { lostLimit: database.maxScrubs },
  };
  const input = Object.hasOwn(fields, 'input') ? { input: fields.input } : {};
  const { command } = fields;
  // A line for the shell is a value of the task, so that tokens with different ones come in one submission.
  if (typeof command === 'string' && command.trim() !== '')
    return { spec: { ...spec, command: ['/bin/sh', '-c', '{command}'] }, payload: { command, ...input } };
  const isWords = Array.isArray(command) && command.length > 0 && command.every((word) => typeof word === 'string');
  const words = isWords ? { command: (command as string[]).map(escaped) } : {};
  return { spec: { ...spec, ...words }, payload: Object.hasOwn(fields, 'input') ? input : undefined };
}

/** Braces are the token's own: nothing is filled in. */
function escaped(word: string): string {
  return word.replaceAll('{', '{{').replaceAll('}', '}}');
}

export function getDocuments(parts: Parts, database: Database, ids: readonly string[]): Promise<DocumentRow[]> {
  return parts.store.getDocuments({ projectId: database.id, ids });
}

export function listDocuments(
  parts: Parts,
  database: Database,
  range: Omit<DocumentRange, 'projectId'>,
): Promise<DocumentRow[]> {
  return parts.store.listDocuments({ projectId: database.id, ...range });
}

/** Gives back what clients held in silence. */
export async function rescueTokens(parts: Parts): Promise<void> {
  const rescued = await parts.store.rescueTokens({ maxScrubs: parts.settings.maxScrubs });
  if (rescued.length === 0) return;
  parts.log.warn(
    { rescued: rescued.length },
    'clients that held tokens were not heard of any more: the tokens are free again',
  );
  for (const project of new Set(rescued)) tellChange(parts, project);
  parts.dirty();
  parts.signals.queued();
}

export async function undoClaim(parts: Parts, database: Database, id: string, revision: Revision): Promise<void> {
  if (!(await parts.store.undoClaim({ projectId: database.id, id, revision }))) return;
  parts.log.info(
    { database: database.name, token: id },
    'the reply to a claim could not be sent: the token is free again',
  );
  tellChange(parts, database.id);
  parts.dirty();
}
