import { parse } from 'yaml';
import { PilotageError } from '../../ground/base/errors.ts';
import { findNearest } from './nearest.ts';
import { readSecretFile } from './secret-file.ts';

/** How an S3-compatible store is reached. What it does not say comes from the usual variables. */
export interface S3Access {
  readonly endpoint?: string;
  readonly region?: string;
  /** `endpoint/bucket` in place of `bucket.endpoint`. */
  readonly forcePathStyle?: boolean;
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
}

const KEYS = {
  endpoint: 'string',
  region: 'string',
  forcePathStyle: 'boolean',
  accessKeyId: 'string',
  secretAccessKey: 'string',
} as const;

/** Reads the file of `--s3-file`, which only its owner may read. What it holds is in no message. */
export function readS3File(file: string): S3Access {
  const text = readSecretFile(file, 'S3');
  const wrong = (what: string): PilotageError => new PilotageError('bad-request', `${file}: ${what}`);
  let found: unknown;
  try {
    found = parse(text);
  } catch {
    throw wrong('this is not YAML; it has lines as in "endpoint: https://s3.example.org"');
  }
  if (typeof found !== 'object' || found === null || Array.isArray(found))
    throw wrong(`it has no keys; there may be ${Object.keys(KEYS).join(', ')}`);
  for (const [key, value] of Object.entries(found)) {
    const wanted = Object.hasOwn(KEYS, key) ? KEYS[key as keyof typeof KEYS] : undefined;
    const nearest = findNearest(key, Object.keys(KEYS));
    if (wanted === undefined)
      throw wrong(`unknown key '${key}'${nearest === undefined ? '' : `: did you mean '${nearest}'?`}`);
    if (typeof value !== wanted) throw wrong(`'${key}' is a ${wanted === 'string' ? 'text' : 'true or false'}`);
  }
  const access = found as S3Access;
  if ((access.accessKeyId === undefined) !== (access.secretAccessKey === undefined))
    throw wrong('accessKeyId and secretAccessKey go together: give both or none');
  return access;
}
