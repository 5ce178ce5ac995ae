import { Check } from 'typebox/schema';
import { Claim } from '../../../ground/protocol/exchange.ts';
import { TaskSpec } from '../../../ground/protocol/spec.ts';

const known = new WeakMap<object, boolean>();

/** Is it what the protocol says? Specs are shared by the claims of a submission, and looked at once. */
export function isSound(claim: unknown, spec: object): boolean {
  const isSpec = known.get(spec) ?? Check(TaskSpec, spec);
  known.set(spec, isSpec);
  return isSpec && Check(Claim, claim) && /^[1-9]\d{0,14}\.\d{1,15}$/.test((claim as Claim).task);
}
