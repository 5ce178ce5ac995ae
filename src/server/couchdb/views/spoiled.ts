import { createHash } from 'node:crypto';
import type { PilotageError } from '../../../ground/base/errors.ts';
import { couchError } from './couch-error.ts';
import type { ViewFunctions } from './design.ts';
import type { SandboxFailure } from './sandbox.ts';

/**
 * A view whose function did what no function may. It stays spoiled until its design document or the document that it
 * failed on changes.
 */
export interface Spoiled {
  readonly view: number;
  readonly error: string;
  readonly reason: string;
  readonly document?: { readonly id: string; readonly digest: string };
}

const WHAT = {
  thrown: 'failed',
  time: 'ran longer than it may (it may loop for ever)',
  memory: 'used more memory than it may',
  output: 'gave out more than it may',
  crash: 'brought its interpreter down',
} as const;

export function doesNotCompile(
  { number, name }: ViewFunctions,
  kind: 'map' | 'reduce',
  failure: SandboxFailure,
): Spoiled {
  return {
    view: number,
    error: 'compilation_error',
    reason: `Compilation of the ${kind} function in the '${name}' view failed: ${failure.message}; correct it and save the design document again`,
  };
}

export function failedOn(
  view: ViewFunctions,
  document: { id: string; json: string },
  failure: SandboxFailure,
): Spoiled {
  const more = failure.failure === 'output' || failure.failure === 'crash' ? ` (${failure.message})` : '';
  return {
    view: view.number,
    error: 'map_runtime_error',
    reason: `the map function of the view '${view.name}' ${WHAT[failure.failure]}${more} on the document '${document.id}': correct the function and save the design document again, or change that document`,
    document: { id: document.id, digest: digestOf(document.json) },
  };
}

/** Which of a design's functions it was cannot be told from outside. */
export function hung({ number, name }: ViewFunctions): Spoiled {
  return {
    view: number,
    error: 'map_runtime_error',
    reason: `the view '${name}' belongs to a design document with a function that hung its interpreter and did not let itself be interrupted: correct the functions and save the design document again`,
  };
}

/** A reduce function spoils nothing that is kept: only the query that asked for it fails. */
export function reduceFailed(view: ViewFunctions, failure: SandboxFailure): PilotageError {
  if (failure.failure === 'thrown') return toError(doesNotCompile(view, 'reduce', failure));
  return toError({
    view: view.number,
    error: 'reduce_runtime_error',
    reason: `the reduce function of the view '${view.name}' ${WHAT[failure.failure]} (${failure.message}): correct it and save the design document again, or query with reduce=false`,
  });
}

/** CouchDB answers 500 to a function that does not compile or does not end. */
export function toError(spoiled: Spoiled): PilotageError {
  return couchError('bad-spec', 500, spoiled.error, spoiled.reason);
}

/** Whether a change of a document gives its views another chance. */
export function isOtherDocument(spoiled: Spoiled, id: string, json: string | null): boolean {
  return spoiled.document?.id === id && (json === null || spoiled.document.digest !== digestOf(json));
}

function digestOf(json: string): string {
  return createHash('sha256').update(json).digest('hex');
}
