import { PilotageError } from './errors.ts';

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** A submission's number, from 1. */
export type SubmissionId = Branded<number, 'SubmissionId'>;
/** A task's name: the number of its submission, a dot, and its index (`12.3`). */
export type TaskId = Branded<string, 'TaskId'>;

export interface TaskKey {
  readonly submission: SubmissionId;
  readonly index: number;
}

/** What a command line names: a whole submission, or one task of it. */
export type Target = { readonly submission: SubmissionId; readonly index?: number };

const TARGET = /^([1-9]\d{0,14})(?:\.(0|[1-9]\d{0,14}))?$/;

export function formatTaskId(submission: number, index: number): TaskId {
  return `${submission}.${index}` as TaskId;
}

export function parseTaskId(text: string): TaskKey {
  const target = parseTarget(text);
  if (target.index === undefined) {
    throw new PilotageError(
      'bad-request',
      `'${text}' is a submission, not a task: name one task of it, as in '${text}.1'`,
    );
  }
  return { submission: target.submission, index: target.index };
}

export function parseTarget(text: string): Target {
  const match = TARGET.exec(text.trim());
  if (!match) {
    throw new PilotageError(
      'bad-request',
      `'${text}' names no task: write a submission ('12') or a task of it ('12.3')`,
    );
  }
  const submission = Number(match[1]) as SubmissionId;
  return match[2] === undefined ? { submission } : { submission, index: Number(match[2]) };
}

export function toSubmissionId(number: number): SubmissionId {
  return number as SubmissionId;
}
