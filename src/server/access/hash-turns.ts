import { PilotageError } from '../../ground/base/errors.ts';

/** Where a password comes from that is to be hashed. */
export interface From {
  readonly network: string;
  /** Goes before those of others. */
  readonly isTrusted: boolean;
}

/**
 * Hashing takes tens of milliseconds of one of four threads, which files and names of hosts need too: few passwords are
 * hashed at once, the others wait. Networks take turns, so that one that sends many keeps no other one waiting.
 */
export interface HashTurns {
  /** Rejects with `busy` when too many of that network wait, or too many in all; the latter not for a trusted place. */
  take<T>(from: From, act: () => Promise<T>): Promise<T>;
}

const DEFAULTS = { atOnce: 2, mostOfNetwork: 50, most: 1000 };

type Line = Map<string, (() => void)[]>;

export function createHashTurns(settings: Partial<typeof DEFAULTS> = {}): HashTurns {
  const { atOnce, mostOfNetwork, most } = { ...DEFAULTS, ...settings };
  const trusted: Line = new Map();
  const others: Line = new Map();
  let working = 0;
  let waiting = 0;

  const next = () => {
    const begin = shift(trusted) ?? shift(others);
    if (!begin) return;
    waiting -= 1;
    begin();
  };
  const wait = ({ network, isTrusted }: From): Promise<void> => {
    const line = isTrusted ? trusted : others;
    const own = line.get(network) ?? [];
    if (own.length >= mostOfNetwork || (waiting >= most && !isTrusted)) throw busy();
    const { promise, resolve } = Promise.withResolvers<void>();
    own.push(resolve);
    line.set(network, own);
    waiting += 1;
    return promise;
  };
  return {
    async take(from, act) {
      // Who waited takes the place of the one that ended.
      if (working >= atOnce) await wait(from);
      else working += 1;
      try {
        return await act();
      } finally {
        if (waiting > 0) next();
        else working -= 1;
      }
    },
  };
}

/** The first of the network whose turn it is, which goes to the end of the line with what it has left. */
function shift(line: Line): (() => void) | undefined {
  for (const [network, own] of line) {
    line.delete(network);
    const first = own.shift();
    if (own.length > 0) line.set(network, own);
    return first;
  }
  return undefined;
}

function busy(): PilotageError {
  return new PilotageError('busy', 'too many passwords wait to be looked at: try again in 1 s', {
    details: { retryAfterSeconds: 1 },
  });
}
