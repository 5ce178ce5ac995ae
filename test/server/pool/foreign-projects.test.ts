/** Of another project's work nothing is told, also not by a number that is guessed or a request that is called alike. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Client } from '../../../src/ground/client/client.ts';
import { routes } from '../../../src/ground/protocol/routes.ts';
import { clientOf, handWorker, raw } from '../../support/api.ts';
import { type RunningServer, startServer } from '../../support/running-server.ts';

let server: RunningServer;
let client: Client;
let bob: string;
beforeAll(async () => {
  server = await startServer();
  client = clientOf(server);
  for (const name of ['of-bob', 'secret-merger']) await client.call(routes.createProject, { body: { name } });
  const made = { name: 'bob', scopes: ['submit', 'read'], projects: ['of-bob'] } as const;
  bob = (await client.call(routes.createToken, { body: { ...made, scopes: [...made.scopes], projects: ['of-bob'] } }))
    .token;
});
afterAll(() => server[Symbol.asyncDispose]());

const submit = async (as: Client, project: string, requestId?: string) => {
  const body = { project, steps: [{ spec: { command: ['true'] }, array: { first: 1, last: 3 } }] };
  const reply = await as.call(routes.submit, { body: { ...body, ...(requestId ? { requestId } : {}) } });
  return reply.submissions[0] as { id: number; project: string };
};

test('a number of another project is answered as one that nobody has', async () => {
  const { id } = await submit(client, 'secret-merger');
  const answers = async (number: number) => {
    const items = JSON.stringify({ offset: 0, items: [{}] });
    const requests = [
      raw(server, `POST /api/v1/submissions/${number}/items`, { token: bob, body: items }),
      raw(server, `POST /api/v1/submissions/${number}/close`, { token: bob }),
      raw(server, `GET /api/v1/submissions/${number}`, { token: bob }),
      raw(server, `GET /api/v1/tasks/${number}`, { token: bob }),
      raw(server, `GET /api/v1/tasks/${number}.1`, { token: bob }),
    ];
    const all = await Promise.all(requests);
    return all.map(
      ({ status, text }) => `${status} ${text.replace(new RegExp(`(submission|task) ${number}`), '$1 N')}`,
    );
  };
  const unknown = await answers(id + 1000);
  expect(await answers(id)).toEqual(unknown);
  for (const answer of unknown) expect(answer).toMatch(/^404 /);
});

test('programs of tasks of two projects that call their requests alike make two submissions; a task that asks again one', async () => {
  const worker = await handWorker(client, 'hand', 100);
  const ids = [await submit(client, 'of-bob'), await submit(client, 'secret-merger')].map(({ id }) => id);
  const claims = (await worker.exchange({ cpus: 100 })).claims.filter(({ task }) =>
    ids.some((id) => task === `${id}.1`),
  );
  expect(claims.length).toBe(2);
  const asTask = (i: number): Client => {
    const { task, attempt, secret } = claims[i] as (typeof claims)[number];
    return clientOf(server, `task:${task}:${attempt}:${secret}`);
  };
  const projects = claims.map(({ project }) => project);
  const made = await Promise.all([0, 0, 1].map((i) => submit(asTask(i), projects[i] as string, 'analysis-step-1')));
  expect(made.map(({ project }) => project)).toEqual([projects[0], projects[0], projects[1]]);
  expect(new Set(made.map(({ id }) => id)).size).toBe(2);
});
