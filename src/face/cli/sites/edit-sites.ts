/** Changes a file of sites in place: comments and order stay, and nothing is saved that could not be read again. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Document, isMap, isSeq, parseDocument, type YAMLMap, type YAMLSeq } from 'yaml';
import { messageOf, PilotageError } from '../../../ground/base/errors.ts';
import type { SiteConfig } from '../../../ground/protocol/site.ts';
import { type ReadSite, readSites } from './read-sites.ts';
import { removeFile, saveFile } from './save-file.ts';
import type { Owner } from './site-files.ts';

export interface EditedFile {
  readonly file: string;
  readonly owner: Owner;
}

/** What an edit sets, and what it takes away. */
export interface SiteChange {
  readonly set: Partial<SiteConfig>;
  readonly unset: readonly (keyof SiteConfig)[];
}

export function addSite(target: EditedFile, config: SiteConfig): void {
  const { document, sites } = open(target);
  if (sites.some((site) => site.config.name === config.name))
    throw new PilotageError(
      'already-exists',
      `there is a site '${config.name}' in '${target.file}' already: change it with 'pilotage site edit ${config.name}'`,
    );
  const list = listOf(document);
  list.flow = false;
  list.add(document.createNode(config));
  save(target, document);
}

export function editSite(target: EditedFile, name: string, { set, unset }: SiteChange): void {
  const { document, sites } = open(target);
  const site = listOf(document).get(indexOf(target, sites, name), true);
  if (!isMap(site)) throw aliased(target, name);
  for (const key of unset) (site as YAMLMap).delete(key);
  for (const [key, value] of Object.entries(set)) site.set(key, document.createNode(value));
  save(target, document);
}

/** @returns what became of the file */
export function removeSite(target: EditedFile, name: string, mayBeLast: boolean): 'saved' | 'file-removed' {
  const { document, sites } = open(target);
  const at = indexOf(target, sites, name);
  if (sites.length > 1) {
    listOf(document).delete(at);
    save(target, document);
    return 'saved';
  }
  if (!mayBeLast)
    throw new PilotageError(
      'wrong-state',
      `'${name}' is the only site in '${target.file}': give --last to remove it together with the file (which stays as ${path.basename(target.file)}.bak)`,
    );
  removeFile(target.file, target.owner);
  return 'file-removed';
}

/** Takes over a whole file. Names in it that begin at its own directory are written out. */
export function takeOver(from: EditedFile, to: EditedFile): readonly string[] {
  const { document, sites } = open(from);
  for (const [at, { config }] of sites.entries())
    for (const key of ['queueOptionsFile', 'sshConfig'] as const) {
      const value = config[key];
      if (value === undefined || path.isAbsolute(value) || /^~(\/|$)/.test(value)) continue;
      document.setIn(['sites', at, key], path.resolve(path.dirname(from.file), value));
    }
  save(to, document);
  return sites.map(({ config }) => config.name);
}

function open({ file }: EditedFile): { document: Document; sites: readonly ReadSite[] } {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const sites = readSites(text, file);
  return { document: text.trim() === '' ? new Document({ sites: [] }) : parseDocument(text), sites };
}

function listOf(document: Document): YAMLSeq {
  const found = document.get('sites', true);
  if (isSeq(found)) return found;
  const list = document.createNode([]) as YAMLSeq;
  document.set('sites', list);
  return list;
}

function indexOf({ file }: EditedFile, sites: readonly ReadSite[], name: string): number {
  const at = sites.findIndex(({ config }) => config.name === name);
  if (at >= 0) return at;
  throw new PilotageError('not-found', `there is no site '${name}' in '${file}': 'pilotage site list' shows them`);
}

function aliased({ file }: EditedFile, name: string): PilotageError {
  return new PilotageError(
    'wrong-state',
    `the site '${name}' in '${file}' is written as an alias (*…), which this command cannot change: edit the file`,
  );
}

function save({ file, owner }: EditedFile, document: Document): void {
  const text = document.toString({ lineWidth: 0 });
  try {
    readSites(text, file);
  } catch (error) {
    if (!(error instanceof PilotageError)) throw error;
    const message = messageOf(error);
    const what = message.startsWith(`${file}:`) ? message.slice(file.length).replace(/^:\d+:\d+: /, '') : message;
    throw new PilotageError(error.code, `${what}; nothing was saved`, { cause: error });
  }
  saveFile(file, text, owner);
}
