import { Compile, type Validator } from 'typebox/schema';
import { Claim } from '../../../ground/protocol/exchange.ts';
import { TaskSpec } from '../../../ground/protocol/spec.ts';
import type { Shape } from '../../core/shape.ts';
import { toShape } from '../../pool/new-submission.ts';

/** Made when the first task is borrowed: many servers never do. */
let sound: { readonly claim: Validator; readonly spec: Validator } | undefined;
/** Of specs that are as the protocol says; null for others. */
const known = new WeakMap<object, Shape | null>();

/**
 * What a claim of a neighbour asks for; undefined where it or its spec is not as the protocol says. Specs are shared by
 * the claims of a submission, and looked at once.
 */
export function soundShape(claim: unknown, spec: object): Shape | undefined {
  sound ??= { claim: Compile(Claim), spec: Compile(TaskSpec) };
  let shape = known.get(spec);
  if (shape === undefined) {
    shape = sound.spec.Check(spec) ? toShape(spec as Parameters<typeof toShape>[0]) : null;
    known.set(spec, shape);
  }
  const isSound = sound.claim.Check(claim) && /^[1-9]\d{0,14}\.\d{1,15}$/.test((claim as Claim).task);
  return shape && isSound ? shape : undefined;
}
