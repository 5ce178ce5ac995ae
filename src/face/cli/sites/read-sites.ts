import { parseDuration } from '../../../ground/base/duration.ts';
import { MECHANISMS, type Mechanism, type SiteConfig, toSite } from '../../../ground/protocol/site.ts';
import { failAt, type Located, type Place, readYaml } from '../job-file/located.ts';
import {
  asBoolean,
  asInteger,
  asList,
  asListOrOne,
  asMap,
  asText,
  at,
  readKeys,
  unexpected,
} from '../job-file/values.ts';
import { hintOf } from '../nearest.ts';

export interface ReadSite {
  readonly at: Place;
  readonly config: SiteConfig;
}

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;
const LONGEST_NAME = 50;
const MOST_TRIES = 100;

/** Reads a file of sites. Throws with line and column, also for what contradicts itself. A blank file has none. */
export function readSites(text: string, file: string): readonly ReadSite[] {
  if (text.trim() === '') return [];
  let sites: readonly ReadSite[] = [];
  for (const { key, keyAt, value } of asMap(readYaml(text, file), "a map with the list 'sites:'")) {
    if (key !== 'sites') throw failAt(keyAt, `unknown key '${key}'${hintOf(key, ['sites'])}`);
    if (value.kind !== 'scalar' || value.value !== null) sites = asList(value, 'a list of sites').map(readSite);
  }
  const seen = new Map<string, Place>();
  for (const { at: place, config } of sites) {
    const first = seen.get(config.name);
    if (first !== undefined)
      throw failAt(place, `a site '${config.name}' is there twice (the first at ${first}): rename or remove one`);
    seen.set(config.name, place);
  }
  return sites;
}

function readSite(node: Located): ReadSite {
  const config = readKeys<SiteConfig>(node, READERS, 'a site: name, mechanism, machines and so on');
  if (config.name === undefined) throw failAt(node.at, 'this site has no name: give it one (name: …)');
  const whole = { ...config, name: config.name };
  at(node, () => toSite(whole));
  return { at: node.at, config: whole };
}

const READERS: Readonly<Record<keyof SiteConfig, (node: Located) => Partial<SiteConfig>>> = {
  name: (node) => ({ name: asName(node) }),
  mechanism: (node) => ({ mechanism: asOneOf(node, Object.keys(MECHANISMS) as Mechanism[], 'mechanism') }),
  transport: (node) => ({ transport: asOneOf(node, ['local', 'ssh'], 'transport') }),
  scheduler: (node) => ({ scheduler: asOneOf(node, ['process', 'slurm', 'grid-engine'], 'scheduler') }),
  staging: (node) => ({ staging: asOneOf(node, ['shared', 'archive'], 'staging') }),
  machines: (node) => ({ machines: asListOrOne(node).map(asMachine) }),
  userExtensible: (node) => ({ userExtensible: asBoolean(node) }),
  user: (node) => ({ user: asWord(node) }),
  programDirectory: (node) => ({ programDirectory: asWord(node) }),
  temporaryDirectory: (node) => ({ temporaryDirectory: asWord(node) }),
  queueOptions: (node) => ({ queueOptions: asListOrOne(node).map(asWord) }),
  queueOptionsFile: (node) => ({ queueOptionsFile: asWord(node) }),
  setup: (node) => ({ setup: asListOrOne(node).map(asText) }),
  sshConfig: (node) => ({ sshConfig: asWord(node) }),
  timeout: (node) => ({ timeout: asTimeout(node) }),
  tries: (node) => ({ tries: asTries(node) }),
};

export const SITE_KEYS = Object.keys(READERS) as (keyof SiteConfig)[];

function asName(node: Located): string {
  const text = asText(node);
  if (NAME.test(text) && text.length <= LONGEST_NAME) return text;
  throw failAt(
    node.at,
    `a site cannot be called '${text}': use letters, digits, '_', '.' and '-', at most ${LONGEST_NAME}`,
  );
}

/** One that begins with a dash would be an option of ssh. */
function asMachine(node: Located): string {
  const text = asWord(node);
  if (!/^-|\s/.test(text)) return text;
  throw failAt(
    node.at,
    `'${text}' is not the name of a machine: write a host name, or an alias of the SSH configuration`,
  );
}

function asWord(node: Located): string {
  const text = asText(node);
  if (text !== '' && !/[\0\r\n]/.test(text)) return text;
  throw unexpected(node, 'a text of one line');
}

function asOneOf<T extends string>(node: Located, words: readonly T[], what: string): T {
  const text = asText(node);
  const found = words.find((word) => word === text);
  if (found !== undefined) return found;
  throw failAt(node.at, `there is no ${what} '${text}'${hintOf(text, words)}`);
}

/** A number is one of seconds. */
function asTimeout(node: Located): string {
  const text = asText(node);
  if (at(node, () => parseDuration(text)) >= 0.1) return text;
  throw failAt(node.at, `a timeout of ${text} is too short: give some seconds, as in 20s`);
}

function asTries(node: Located): number {
  const tries = asInteger(node, 1);
  if (tries <= MOST_TRIES) return tries;
  throw failAt(node.at, `so many tries are not sensible: at most ${MOST_TRIES}`);
}
