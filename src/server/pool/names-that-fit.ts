/**
 * Names that fit a user's pattern. A pattern becomes a regular expression, and some of these take longer than anybody
 * waits: it has little time, since nobody else is served meanwhile.
 */
import { createContext, Script } from 'node:vm';
import picomatch from 'picomatch';
import { PilotageError } from '../../ground/base/errors.ts';
import { parseSafePath } from '../../ground/content/safe-path.ts';

const PATIENCE_MS = 100;
const compare = new Script('names.filter((name) => matches(name))');

/** Rejects a pattern that leads outside, or takes too long. */
export function namesThatFit(pattern: string, names: readonly string[]): ReadonlySet<string> {
  const plain = parseSafePath(pattern);
  if (!picomatch.scan(plain).isGlob) return new Set(names.filter((name) => name === plain));
  const fits = picomatch(plain, { dot: plain.startsWith('.') });
  const context = createContext({ names, matches: (name: string) => name === plain || fits(name) });
  try {
    return new Set(compare.runInContext(context, { timeout: PATIENCE_MS + Math.ceil(names.length / 100) }) as string[]);
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    throw new PilotageError(
      'bad-spec',
      `the pattern '${plain.slice(0, 200)}' takes too long to compare with ${names.length} name(s): write a simpler one, with fewer stars and alternatives`,
      { cause: error },
    );
  }
}
