import { expect, test } from 'vitest';
import { createQuestions, type OpenQuestion } from '../../../src/worker/agent/questions.ts';
import type { CredentialQuestion } from '../../../src/worker/transport/ssh/credentials.ts';

const password: CredentialQuestion = { machine: 'node1', kind: 'password', prompt: "maria@node1's password: " };
const never = new AbortController().signal;

function watched(terminal?: (question: OpenQuestion, signal: AbortSignal) => Promise<string | undefined>) {
  const tried: string[] = [];
  const opened: OpenQuestion[] = [];
  const questions = createQuestions({
    onAnswer: () => void tried.push('tried'),
    onOpen: (question) => void opened.push(question),
    ...(terminal ? { terminal } : {}),
  });
  return { questions, tried, opened };
}

test('what nobody answers is open, once, until somebody does; the answer is for the next login', async () => {
  const { questions, tried, opened } = watched();
  expect(await questions.ask(password, never)).toBeUndefined();
  expect(await questions.ask(password, never)).toBeUndefined();
  expect(opened).toHaveLength(1);
  const [open] = questions.open();
  expect(open).toMatchObject({ ...password, wasRefused: false });
  expect(questions.answer(open!.id, 'secret')).toBe(true);
  expect(tried).toEqual(['tried']);
  expect(questions.open()).toEqual([]);
  expect(await questions.ask(password, never)).toBe('secret');
  expect(await questions.ask(password, never)).toBeUndefined();
});

test('what was refused is open again at once, and says so', async () => {
  const { questions } = watched();
  await questions.ask(password, never);
  questions.answer(questions.open()[0]!.id, 'wrong');
  await questions.ask(password, never);
  questions.ask.refused?.(password);
  expect(questions.open()).toMatchObject([{ wasRefused: true }]);
  questions.answer(questions.open()[0]!.id, 'right');
  expect(await questions.ask(password, never)).toBe('right');
});

test('nobody asked that', () => {
  expect(watched().questions.answer('x', 'secret')).toBe(false);
});

test('the person at the terminal is asked at once', async () => {
  const { questions, opened } = watched(async () => 'typed');
  expect(await questions.ask(password, never)).toBe('typed');
  expect(questions.open()).toEqual([]);
  expect(opened).toEqual([]);
});

test('the socket may answer first; then the terminal is let go', async () => {
  let left = false;
  const { questions } = watched((_, signal) => {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    signal.addEventListener('abort', () => {
      left = true;
      resolve(undefined);
    });
    return promise;
  });
  const asked = questions.ask(password, never);
  expect(questions.answer(questions.open()[0]!.id, 'by socket')).toBe(true);
  expect(await asked).toBe('by socket');
  expect(left).toBe(true);
});

test('a person who gives no answer leaves it to the socket', async () => {
  const { questions, opened } = watched(async () => undefined);
  expect(await questions.ask(password, never)).toBeUndefined();
  expect(opened).toHaveLength(1);
  expect(questions.open()).toHaveLength(1);
});

test('after a refusal the person is asked anew, and the login is tried with what is given', async () => {
  const given = ['wrong', 'right'];
  const { questions, tried } = watched(async () => given.shift());
  expect(await questions.ask(password, never)).toBe('wrong');
  questions.ask.refused?.(password);
  await expect.poll(() => tried, { timeout: 30_000 }).toEqual(['tried']);
  expect(await questions.ask(password, never)).toBe('right');
});

test('at the end the person is let go, also one who is asked anew', async () => {
  let first = true;
  let left = false;
  const { questions, opened } = watched((_, signal) => {
    if (first) {
      first = false;
      return Promise.resolve('wrong');
    }
    const { promise, resolve } = Promise.withResolvers<undefined>();
    signal.addEventListener('abort', () => {
      left = true;
      resolve(undefined);
    });
    return promise;
  });
  await questions.ask(password, never);
  questions.ask.refused?.(password);
  questions.close();
  await expect.poll(() => left, { timeout: 30_000 }).toBe(true);
  expect(opened).toEqual([]);
});
