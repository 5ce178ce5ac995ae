import { PilotageError } from '../../ground/base/errors.ts';
import { createSlowDown, networkOf } from './slow-down.ts';

/** A try: who it says it is, and where it comes from. */
export interface Try {
  readonly name: string;
  readonly address: string;
}

export interface LoginGate {
  /** Waits for the turn of a try that has to. Rejects with `too-many-failures` where too many wait already. */
  enter(one: Try): Promise<Entered>;
  /** It would have to wait. */
  isSlow(one: Try): boolean;
  failed(one: Try): void;
  passed(one: Try): void;
  tooMany(one: Try): PilotageError;
}

/** A try that is looked at. */
export interface Entered {
  /** It had to wait for its turn. */
  readonly waited: boolean;
  /** From a place from which that name was let in before. */
  readonly isTrusted: boolean;
  /** It was looked at: until then it counts as a failure. */
  leave(): void;
}

/** Many pilots may share a name and an address with a wrong one. */
const FROM_ONE_PLACE = { allowed: 20, turnMs: 1000, mostWaiting: 60 };
/** Tries at one name from many addresses: by the hundred thousand a day, not by the hundred million. */
const AT_ONE_NAME = { allowed: 100, turnMs: 500, mostWaiting: 60 };
/** Tries at many names from one address, which cost the server its time. */
const FROM_ONE_ADDRESS = { allowed: 300, turnMs: 100, mostWaiting: 100 };
const MOST_TRUSTED = 10_000;

/**
 * Slows guessing down: by the name and the address together, by the name from wherever, and by the address. The last
 * two do not hold for a place from which the name was let in before: whoever tries that name from elsewhere does not keep
 * its owner out. Tries that are looked at just now count as failures.
 */
export function createLoginGate(now: () => number): LoginGate {
  const byPlace = createSlowDown(now, FROM_ONE_PLACE);
  const byName = createSlowDown(now, AT_ONE_NAME);
  const byAddress = createSlowDown(now, FROM_ONE_ADDRESS);
  const trusted = new Set<string>();
  const placeOf = ({ name, address }: Try) => `${networkOf(address)} ${name}`;
  /** The lines that a try stands in. */
  const linesOf = (one: Try) => [
    { line: byPlace, key: placeOf(one), where: `from ${one.address}` },
    ...(trusted.has(placeOf(one))
      ? []
      : [
          { line: byName, key: one.name, where: 'from several addresses' },
          { line: byAddress, key: networkOf(one.address), where: `from ${one.address}` },
        ]),
  ];
  const tooMany = (one: Try) => {
    const blocked = linesOf(one).find(({ line, key }) => line.blockedFor(key) > 0);
    const seconds = blocked?.line.blockedFor(blocked.key) ?? 1;
    return new PilotageError(
      'too-many-failures',
      `too many wrong passwords of '${one.name}' came ${blocked?.where ?? `from ${one.address}`}: correct those, and try again in ${seconds} s`,
      { details: { retryAfterSeconds: seconds } },
    );
  };
  return {
    tooMany,
    isSlow: (one) => linesOf(one).some(({ line, key }) => line.blockedFor(key) > 0),
    async enter(one) {
      const isTrusted = trusted.has(placeOf(one));
      const entered: ReturnType<typeof linesOf> = [];
      const leave = () => {
        for (const { line, key } of entered.splice(0)) line.giveBack(key);
      };
      let waited = false;
      for (const at of linesOf(one)) {
        const answer = await at.line.enter(at.key);
        if (answer === 'full') {
          leave();
          throw tooMany(one);
        }
        entered.push(at);
        waited ||= answer === 'waited';
      }
      return { waited, isTrusted, leave };
    },
    failed(one) {
      for (const { line, key } of linesOf(one)) line.failed(key);
    },
    passed(one) {
      if (trusted.size >= MOST_TRUSTED) trusted.clear();
      trusted.add(placeOf(one));
    },
  };
}
