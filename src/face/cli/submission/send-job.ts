import { randomUUID } from 'node:crypto';
import type { Client } from '../../../ground/client/client.ts';
import { MAX_ITEMS } from '../../../ground/protocol/limits.ts';
import type { Item, Step, SubmissionView, SubmitReply } from '../../../ground/protocol/submission.ts';
import { calls } from '../calls.ts';
import { type Patience, repeat } from '../repeat.ts';
import type { Job, JobStep } from './job-step.ts';
import { sendsItems, toItems, toStep, type Upload } from './to-items.ts';

export interface Sending {
  readonly client: Client;
  readonly upload: Upload;
  readonly project: string;
  readonly strict: boolean;
  readonly patience: Patience;
  /** Told how many tasks have been sent. */
  readonly onSent?: (tasks: number) => void;
}

/** What travels in one request, besides the limit on the number of items. */
const CHUNK_BYTES = 4 * 1024 * 1024;
/** A request that writes many rows may take long on a slow disk. */
const TIMEOUT_SECONDS = 300;

/**
 * Sends a job: in one request if it fits, else open, in chunks, and closed at the end, so that it is accepted whole or
 * not at all. Every request may be repeated, which makes a lost reply harmless.
 */
export async function sendJob(job: Job, sending: Sending): Promise<SubmitReply> {
  const steps: Step[] = [];
  for (const step of job.steps) steps.push(await toStep(step, sending.upload));
  const first = await firstItems(job, sending);
  if (first)
    return submit(
      sending,
      steps.map((step, at) => withItems(step, first[at])),
      false,
    );
  return sendInChunks(job, steps, sending);
}

function withItems(step: Step, items: Item[] | undefined): Step {
  return items ? { ...step, items } : step;
}

/** The items of every step, unless they are too many for one request. */
async function firstItems(job: Job, { upload }: Sending): Promise<(Item[] | undefined)[] | undefined> {
  const all: (Item[] | undefined)[] = [];
  let room = { items: MAX_ITEMS, bytes: CHUNK_BYTES };
  for (const step of job.steps) {
    if (!sendsItems(step)) {
      all.push(undefined);
      continue;
    }
    const items: Item[] = [];
    for await (const item of toItems(step, upload)) {
      room = { items: room.items - 1, bytes: room.bytes - sizeOf(item) };
      if (room.items < 0 || room.bytes < 0) return undefined;
      items.push(item);
    }
    all.push(items);
  }
  return all;
}

async function sendInChunks(job: Job, steps: readonly Step[], sending: Sending): Promise<SubmitReply> {
  const opened = await submit(
    sending,
    steps.map((step, at) => withItems(step, firstOfOpen(step, job.steps[at] ?? {}))),
    true,
  );
  let sent = 0;
  for (const [at, step] of job.steps.entries()) {
    const submission = opened.submissions[at];
    if (!submission || !sendsItems(step)) continue;
    let offset = 0;
    for await (const items of inChunks(toItems(step, sending.upload))) {
      await repeat(() => addItems(sending.client, submission.id, { offset, items }), sending.patience);
      offset += items.length;
      sent += items.length;
      sending.onSent?.(sent);
    }
  }
  const submissions: SubmissionView[] = [];
  for (const { id } of opened.submissions)
    submissions.push(await repeat(() => close(sending.client, id), sending.patience));
  return { submissions, warnings: opened.warnings };
}

/** In an open request a step has only the tasks that it names: none that follow in chunks, but its one if it has no more. */
function firstOfOpen(step: Step, described: JobStep): Item[] | undefined {
  if (sendsItems(described)) return [];
  return step.array ? undefined : [{}];
}

async function* inChunks(items: AsyncIterable<Item>): AsyncIterable<Item[]> {
  let chunk: Item[] = [];
  let bytes = 0;
  for await (const item of items) {
    const size = sizeOf(item);
    if (chunk.length > 0 && (chunk.length === MAX_ITEMS || bytes + size > CHUNK_BYTES)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(item);
    bytes += size;
  }
  if (chunk.length > 0) yield chunk;
}

function sizeOf(item: Item): number {
  return JSON.stringify(item).length;
}

function submit({ client, project, strict, patience }: Sending, steps: Step[], open: boolean): Promise<SubmitReply> {
  const body = { project, requestId: randomUUID(), steps, ...(open ? { open } : {}), ...(strict ? { strict } : {}) };
  return repeat(() => client.call(calls.submit, { body, timeoutSeconds: TIMEOUT_SECONDS }), patience);
}

function addItems(client: Client, id: number, body: { offset: number; items: Item[] }): Promise<SubmissionView> {
  return client.call(calls.addItems, { params: { id }, body, timeoutSeconds: TIMEOUT_SECONDS });
}

function close(client: Client, id: number): Promise<SubmissionView> {
  return client.call(calls.closeSubmission, { params: { id }, timeoutSeconds: TIMEOUT_SECONDS });
}
