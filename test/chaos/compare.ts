import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from '../../src/ground/client/client.ts';
import { routes } from '../../src/ground/protocol/routes.ts';
import type { TaskDetail } from '../../src/ground/protocol/task.ts';
import { ignoreOutage } from './outage.ts';
import type { Testimony, Witness } from './witness.ts';

export interface Verdict {
  readonly tasks: number;
  readonly attempts: number;
  /** What does not agree, in words. Empty when all is well. */
  readonly wrong: readonly string[];
}

/** Waits for the last result, then holds what the system says against what the witness saw. */
export async function compare(client: Client, witness: Witness, say: (line: string) => void): Promise<Verdict> {
  await allFinished(client, witness, say);
  const testimony = witness.read();
  const wrong: string[] = [];
  let tasks = 0;
  let attempts = 0;
  for (const [submission, count] of testimony.acknowledged) {
    const view = await patiently(() => client.call(routes.submission, { params: { id: submission } }));
    if (view.tasks !== count)
      wrong.push(`submission ${submission} was acknowledged with ${count} tasks and has ${view.tasks}`);
    for (let index = 1; index <= count; index += 1) {
      const task = await patiently(() => client.call(routes.task, { params: { id: `${submission}.${index}` } }));
      wrong.push(...judge(task, testimony));
      wrong.push(...(await judgeOutput(client, task, testimony.inputs.get(submission))));
      tasks += 1;
      attempts += task.attempts.length;
    }
  }
  for (const [attempt, times] of testimony.started)
    if (times > 1) wrong.push(`attempt ${attempt} was started ${times} times: its number was used twice`);
  return { tasks, attempts, wrong };
}

/** Exactly one accepted result, by an attempt whose program ended, and no attempt number twice. */
function judge(task: TaskDetail, testimony: Testimony): string[] {
  const wrong: string[] = [];
  const succeeded = task.attempts.filter((attempt) => attempt.outcome === 'succeeded');
  if (task.state !== 'succeeded') wrong.push(`task ${task.id} is ${task.state} (${task.reason})`);
  if (succeeded.length !== 1) wrong.push(`task ${task.id} has ${succeeded.length} accepted results`);
  const [accepted] = succeeded;
  if (accepted && !testimony.ended.has(`${task.id}/${accepted.attempt}`))
    wrong.push(`task ${task.id}: attempt ${accepted.attempt} was accepted, but its program never ended`);
  const numbers = task.attempts.map((attempt) => attempt.attempt);
  if (new Set(numbers).size !== numbers.length)
    wrong.push(`task ${task.id} lists an attempt number twice: ${numbers.join(', ')}`);
  return wrong;
}

/** The output of a task that had an input holds it, byte for byte, whatever was killed on the way. */
async function judgeOutput(client: Client, task: TaskDetail, input: string | undefined): Promise<string[]> {
  if (input === undefined || task.state !== 'succeeded') return [];
  const [output] = task.outputs;
  if (!output) return [`task ${task.id} has no output`];
  const params = { project: 'default', digest: output.digest };
  const text = await patiently(async () => textOf(await client.stream(routes.getBlob, { params })));
  return text === `${input}\n${task.id}\n` ? [] : [`task ${task.id}: its output is '${text.slice(0, 200)}'`];
}

async function textOf(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

async function allFinished(client: Client, witness: Witness, say: (line: string) => void): Promise<void> {
  const deadline = performance.now() + 300_000;
  let left = [...witness.read().acknowledged.keys()];
  while (left.length > 0) {
    const views = await Promise.all(
      left.slice(0, 20).map((id) => patiently(() => client.call(routes.submission, { params: { id } }))),
    );
    const open = new Set(views.filter((view) => !view.finished).map((view) => view.id));
    left = [...left.slice(0, 20).filter((id) => open.has(id)), ...left.slice(20)];
    if (performance.now() > deadline) {
      say(`submissions ${left.join(', ')} do not finish`);
      throw new Error(`chaos: ${left.length} submissions do not finish, the first: ${JSON.stringify(views[0])}`);
    }
    if (open.size > 0) await pause(100);
  }
}

async function patiently<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    const answer = await call().catch(ignoreOutage);
    if (answer !== undefined) return answer;
    await pause(100);
  }
}
