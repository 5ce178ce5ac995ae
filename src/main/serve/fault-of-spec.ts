import { Errors } from 'typebox/schema';
import { TaskSpec } from '../../ground/protocol/spec.ts';

/** What is wrong with a description of tasks that comes from elsewhere; undefined: nothing. */
export function faultOfSpec(spec: unknown): string | undefined {
  const [isSound, errors] = Errors(TaskSpec, spec);
  if (isSound) return undefined;
  const [first] = errors;
  return first ? `${first.instancePath || 'the whole'}: ${first.message}` : 'it is none';
}
