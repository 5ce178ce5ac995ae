import { Compile, type Validator } from 'typebox/schema';
import { Claim } from '../../../ground/protocol/exchange.ts';
import { TaskSpec } from '../../../ground/protocol/spec.ts';

/** Made when the first task is borrowed: many servers never do. */
let sound: { readonly claim: Validator; readonly spec: Validator } | undefined;
const known = new WeakMap<object, boolean>();

/** Is it what the protocol says? Specs are shared by the claims of a submission, and looked at once. */
export function isSound(claim: unknown, spec: object): boolean {
  sound ??= { claim: Compile(Claim), spec: Compile(TaskSpec) };
  const isSpec = known.get(spec) ?? sound.spec.Check(spec);
  known.set(spec, isSpec);
  return isSpec && sound.claim.Check(claim) && /^[1-9]\d{0,14}\.\d{1,15}$/.test((claim as Claim).task);
}
