import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
  type YAMLError,
  type Node as YamlNode,
} from 'yaml';
import { type ErrorCode, PilotageError } from '../../../ground/base/errors.ts';

/** Where something stands in a file: `water.yaml:3:7`. */
export type Place = string;

export interface Entry {
  readonly key: string;
  readonly keyAt: Place;
  readonly value: Located;
}

/** A YAML value that knows where it stands. `text` is a scalar as it was written. */
export type Located =
  | { readonly kind: 'map'; readonly at: Place; readonly entries: readonly Entry[] }
  | { readonly kind: 'list'; readonly at: Place; readonly items: readonly Located[] }
  | {
      readonly kind: 'scalar';
      readonly at: Place;
      readonly value: string | number | boolean | null;
      readonly text: string;
    };

/** A few anchors save typing; many that name each other are a trap: so much may come out of them in all. */
const MAX_FROM_ALIASES = 100_000;
const MAX_DEPTH = 64;

export function failAt(at: Place, message: string, code: ErrorCode = 'bad-spec'): PilotageError {
  return new PilotageError(code, `${at}: ${message}`);
}

/** Reads one YAML document. Throws with file, line and column for everything that is not YAML. */
export function readYaml(text: string, fileName: string): Located {
  const lines = new LineCounter();
  const toPlace = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return `${fileName}:${line}:${col}`;
  };
  const document = parse(text, fileName, lines);
  const [error] = document.errors;
  if (error) throw failAt(toPlace(error.pos[0]), plainMessage(error));
  if (!document.contents) throw failAt(`${fileName}:1:1`, 'the file is empty: describe a job, at least its command');
  return locate(document, document.contents as YamlNode, toPlace);
}

function parse(text: string, fileName: string, lineCounter: LineCounter): Document {
  const place = text.indexOf('\0');
  if (place >= 0) throw failAt(`${fileName}:1:1`, 'this is not text but binary data: a job file is YAML');
  try {
    return parseDocument(text, { lineCounter, prettyErrors: false, uniqueKeys: true, strict: true });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw failAt(`${fileName}:1:1`, `it nests too deeply: at most ${MAX_DEPTH} levels`, 'too-deep');
  }
}

function plainMessage(error: YAMLError): string {
  if (error.message.startsWith('Maximum call stack')) return `it nests too deeply: at most ${MAX_DEPTH} levels`;
  if (error.code === 'DUPLICATE_KEY') return 'this key is there twice: keep one of them';
  if (error.code === 'MULTIPLE_DOCS') return "a second document begins here: a job file is one document, without '---'";
  if (error.code === 'TAB_AS_INDENT') return 'a tab: YAML is indented with spaces';
  return error.message.split('\n')[0] ?? error.message;
}

function locate(document: Document, root: YamlNode, toPlace: (offset: number) => Place): Located {
  let fromAliases = 0;

  const toLocated = (node: YamlNode | null, depth: number, near: number, inAlias: boolean): Located => {
    const offset = node?.range?.[0] ?? near;
    const at = toPlace(inAlias ? near : offset);
    if (depth > MAX_DEPTH) throw failAt(at, `it nests too deeply: at most ${MAX_DEPTH} levels`, 'too-deep');
    if (inAlias && ++fromAliases > MAX_FROM_ALIASES) {
      throw failAt(at, 'the aliases of this file unfold into too much: write the values out, or use fewer');
    }
    if (node === null) return { kind: 'scalar', at, value: null, text: '' };
    if (isAlias(node)) {
      const target = node.resolve(document);
      if (!target) throw failAt(at, `the alias '*${node.source}' has no anchor '&${node.source}' before it`);
      return toLocated(target, depth + 1, offset, true);
    }
    const below = (child: unknown): Located =>
      toLocated((child ?? null) as YamlNode | null, depth + 1, inAlias ? near : offset, inAlias);
    if (isSeq(node)) return { kind: 'list', at, items: node.items.map(below) };
    if (isMap(node)) return { kind: 'map', at, entries: node.items.map((pair) => toEntry(pair, at, below)) };
    if (isScalar(node)) return toScalar(node.value, node.source, at);
    throw failAt(at, 'this kind of YAML is not understood here: write plain values, lists and maps');
  };

  const toEntry = (pair: Pair, at: Place, below: (child: unknown) => Located): Entry => {
    const key = below(pair.key);
    if (key.kind !== 'scalar') throw failAt(key.at, 'a key is a word');
    return {
      key: key.text,
      keyAt: key.at === '' ? at : key.at,
      value: pair.value === null ? { ...key, value: null, text: '' } : below(pair.value),
    };
  };

  return toLocated(root, 0, 0, false);
}

function toScalar(value: unknown, source: string | undefined, at: Place): Located {
  if (typeof value === 'bigint') return { kind: 'scalar', at, value: Number(value), text: source ?? String(value) };
  if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) {
    const text = typeof value === 'string' ? value : (source ?? String(value));
    return { kind: 'scalar', at, value: value as string | number | boolean | null, text };
  }
  throw failAt(at, 'this kind of YAML is not understood here: write plain values, lists and maps');
}
