import { claimOf, type Fields, looseNumber, scrubCountOf, type TokenState, tokenState, withoutClaim } from './token.ts';

/** What a client's new version of a token does to its task. */
export type TokenAct =
  /** Nothing but other fields. */
  | 'edit'
  | 'claim'
  /** A sign of life of the holder. */
  | 'beat'
  | 'end'
  /** The holder, or somebody in its place, gives it back. */
  | 'give-back'
  /** What was over begins anew. */
  | 'reset'
  /** It is in no view from here on. */
  | 'set-aside';

export type TokenVerdict =
  | { readonly ok: true; readonly act: TokenAct }
  | { readonly ok: false; readonly why: 'taken' | 'ended' | 'stale' | 'waiting' };

/** The token as it stands, and what the judge needs of its task. */
export interface StandingToken {
  readonly fields: Fields;
  /** It waits for other tasks or for its time: not for a client to let go. */
  readonly isGated: boolean;
  /** Somebody had it before: whoever that was may still write. */
  readonly wasHeldBefore: boolean;
  /** The new version brings the same attachments. */
  readonly sameAttachments: boolean;
}

/** Judges a new version of a token, written on top of the newest revision. */
export function judgeToken(standing: StandingToken, next: Fields): TokenVerdict {
  const from = tokenState(standing.fields);
  const to = tokenState(next);
  if (standing.isGated) return to === 'none' ? act('edit') : refused('waiting');
  switch (from) {
    case 'todo':
      return act(({ todo: 'edit', locked: 'claim', done: 'end', error: 'end', none: 'set-aside' } as const)[to]);
    case 'locked':
      return judgeLocked(standing, next, to);
    case 'done':
    case 'error':
      return judgeEnded(standing, next, to);
    case 'none':
      return act(({ todo: 'reset', locked: 'claim', done: 'end', error: 'end', none: 'edit' } as const)[to]);
  }
}

/**
 * Who read the token after another client had taken it writes a claim on top of that one: PiCaS looks at nothing but
 * the revision. Another client on the same host in the same second may even write the same text.
 */
function judgeLocked(standing: StandingToken, next: Fields, to: TokenState): TokenVerdict {
  switch (to) {
    case 'locked':
      if (claimOf(next) !== claimOf(standing.fields) || isUnchanged(standing, next)) return refused('taken');
      return act('beat');
    case 'done':
    case 'error':
      return act('end');
    case 'todo':
      return isLateScrub(standing, next) ? refused('stale') : act('give-back');
    case 'none':
      return act('set-aside');
  }
}

function isUnchanged({ fields, sameAttachments }: StandingToken, next: Fields): boolean {
  return sameAttachments && same(next, fields);
}

/**
 * A client whose token was given back meanwhile (by the server, or by an operator's reset) is refused its result,
 * fetches the new revision, and may then save its own old document as scrubbed on top of it, though another one works
 * on it or has ended it: its count is the one that was raised here, and it brings more than what a reset clears.
 */
function isLateScrub({ fields, wasHeldBefore }: StandingToken, next: Fields): boolean {
  if (!wasHeldBefore || scrubCountOf(next) > scrubCountOf(fields)) return false;
  // The client writes its own host there.
  if (typeof next.hostname !== 'string' || next.hostname === '') return false;
  const cleared = next.exit_code === '' || next.exit_code === undefined || next.exit_code === null;
  const compared = cleared ? { ...next, exit_code: fields.exit_code } : next;
  return !same(without(compared), without(fields));
}

/**
 * A claim by who read the token only after it had been ended leaves `done` as it is; made on the same host in the
 * second of the first claim, it changes nothing at all.
 */
function judgeEnded(standing: StandingToken, next: Fields, to: TokenState): TokenVerdict {
  const { fields } = standing;
  switch (to) {
    case 'todo':
      return isLateScrub(standing, next) ? refused('stale') : act('reset');
    case 'locked':
      return act('claim');
    case 'none':
      return act('set-aside');
    default: {
      const claimedOnly = claimOf(next) !== claimOf(fields) && looseNumber(next.done) === looseNumber(fields.done);
      if (claimedOnly || isUnchanged(standing, next)) return refused('ended');
      return act(tokenState(fields) === to ? 'edit' : 'end');
    }
  }
}

function without(fields: Fields): Fields {
  const { lock: _lock, done: _done, scrub_count: _count, ...rest } = withoutClaim(fields);
  return rest;
}

function same(a: Fields, b: Fields): boolean {
  return canonical(a) === canonical(b);
}

function canonical(fields: Fields): string {
  return JSON.stringify(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function act(what: TokenAct): TokenVerdict {
  return { ok: true, act: what };
}

function refused(why: 'taken' | 'ended' | 'stale' | 'waiting'): TokenVerdict {
  return { ok: false, why };
}
