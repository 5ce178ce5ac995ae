import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseExact } from '../../../src/ground/base/exact-json.ts';
import { shapeKey } from '../../../src/server/core/shape.ts';
import { type Fields, tokenState } from '../../../src/server/core/token.ts';
import {
  type DocumentRow,
  fieldsOf,
  type Revision,
  revisionOf,
  textOf,
} from '../../../src/server/store/document-rows.ts';
import type { Store } from '../../../src/server/store/store.ts';
import type { ChangePosition } from '../../../src/server/store/verbs/document-changes.ts';
import type { DocumentWrite, WriteAnswer } from '../../../src/server/store/verbs/document-write.ts';
import { arrayStep, LEASE, type OpenedStore, openStores, step, storeClients } from '../../support/open-stores.ts';

const PLAIN = shapeKey({ kind: 'payload', cpus: 1, memory: 0, gpus: 0, named: {}, labels: {}, timeRequestSeconds: 0 });
const HOUR = 3_600_000;
const TODO = { type: 'token', lock: 0, done: 0, hostname: '', scrub_count: 0, exit_code: '', input: 'x' };

describe.each(openStores())('tokens on %s', (_name, open) => {
  let opened: OpenedStore;
  let store: Store;
  let project: number;
  let count = 0;

  beforeAll(async () => {
    opened = await open();
    store = opened.store;
  });
  afterAll(() => opened.close());
  beforeEach(async () => {
    count += 1;
    await store.createProject({ name: `tokens-${count}`, owner: 'o' });
    project = (await store.listProjects()).find(({ name }) => name === `tokens-${count}`)?.id as number;
  });

  const write = (
    id: string,
    fields: Fields,
    rev: Revision | null,
    over: Partial<DocumentWrite> = {},
  ): DocumentWrite => ({
    id,
    rev,
    deleted: false,
    body: JSON.stringify(fields),
    attachments: {},
    shapeKey: PLAIN,
    spec: '{"retry":{"lostLimit":2}}',
    payload: null,
    ...over,
  });
  const writeAll = async (writes: DocumentWrite[], maxLockMs = HOUR): Promise<readonly WriteAnswer[]> =>
    (await store.writeDocuments({ projectId: project, owner: 'picas', maxLockMs, writes })).answers;
  const put = async (id: string, fields: Fields, rev: Revision | null = null, maxLockMs = HOUR): Promise<Revision> => {
    const [answer] = await writeAll([write(id, fields, rev)], maxLockMs);
    if (!answer?.ok) throw new Error(`refused: ${JSON.stringify(answer)}`);
    return answer.rev;
  };
  const refusal = async (id: string, fields: Fields, rev: Revision | null) => {
    const [answer] = await writeAll([write(id, fields, rev)]);
    return answer?.ok ? 'accepted' : answer?.why;
  };
  const get = async (id: string): Promise<DocumentRow> => {
    const [row] = await store.getDocuments({ projectId: project, ids: [id] });
    if (!row) throw new Error(`there is no ${id}`);
    return row;
  };
  const read = async (id: string): Promise<Fields> => fieldsOf(await get(id));
  const stateOf = async (id: string) => {
    const row = await get(id);
    return `${tokenState(fieldsOf(row))} ${row.task?.state}`;
  };
  const claim = { ...TODO, lock: 1_700_000_000, hostname: 'node7', slurm_job_id: '12' };
  const claimed = async (id: string, maxLockMs = HOUR) => {
    const rev = await put(id, TODO);
    return put(id, claim, rev, maxLockMs);
  };
  const counts = async () => {
    await store.foldCounts();
    return (await store.countByProject()).find(({ projectId }) => projectId === project)?.counts;
  };
  const submit = async (over: Parameters<typeof step>[0] = {}) => {
    count += 1;
    const result = await store.submit({
      projectId: project,
      owner: 'o',
      requestId: `r${count}-${project}`,
      open: false,
      steps: [step(over)],
    });
    if (!result.ok) throw new Error('not submitted');
    return result.ids[0] as number;
  };

  test('a token goes through its life as a task does, and the counts go with it', async () => {
    const first = await put('a', TODO);
    expect(await stateOf('a')).toBe('todo queued');
    const second = await put('a', claim, first);
    expect(await stateOf('a')).toBe('locked running');
    expect((await get('a')).task?.attempt).toBe(1);
    await put('a', { ...claim, done: 1_700_000_100, exit_code: 0 }, second);
    expect(await stateOf('a')).toBe('done succeeded');
    expect(await counts()).toMatchObject({ queued: 0, running: 0, succeeded: 1 });
    const task = (await get('a')).task;
    const detail = await store.getTask({ submission: task?.submission_id as number, idx: task?.idx as number });
    expect(detail?.attempts).toMatchObject([{ outcome: 'succeeded', exit_code: 0, host: 'node7' }]);
  });

  test('an exit code other than 0, or PiCaS’ mark of an error, makes a failed task with its reason', async () => {
    await put('a', { ...claim, done: 5, exit_code: 3 }, await claimed('a'));
    await put('b', { ...claim, lock: 99, done: 99, error: [{ message: 'no such file' }] }, await claimed('b'));
    expect((await get('a')).task).toMatchObject({ state: 'failed', exit_code: 3, reason: 'exit-code' });
    expect(await stateOf('b')).toBe('error failed');
  });

  test('revisions count on, and a write on an old one is refused without any change', async () => {
    const first = await put('a', TODO);
    const second = await put('a', claim, first);
    expect(second.number).toBe(2);
    const before = textOf(await get('a'));
    expect(await refusal('a', { ...TODO, input: 'y' }, first)).toBe('conflict');
    expect(await refusal('a', TODO, null)).toBe('conflict');
    expect(textOf(await get('a'))).toBe(before);
  });

  test.each([
    ['another host', { ...claim, hostname: 'node8' }],
    ['the same host a second later', { ...claim, lock: claim.lock + 1 }],
    ['another job on the same host in the same second', { ...claim, slurm_job_id: '13' }],
    ['the very same text', claim],
  ])('a claim on top of a claim is refused: %s', async (_what, second) => {
    const rev = await claimed('a');
    expect(await refusal('a', second, rev)).toBe('conflict');
    expect(revisionOf(await get('a'))).toEqual(rev);
    expect((await get('a')).task?.attempt).toBe(1);
  });

  test('a claim of what has just ended is refused', async () => {
    const rev = await put('a', { ...claim, done: 7, exit_code: 0 }, await claimed('a'));
    expect(await refusal('a', { ...claim, lock: 1_800_000_000, hostname: 'node9', done: 7, exit_code: 0 }, rev)).toBe(
      'conflict',
    );
  });

  test('of two claims at once one is accepted', async () => {
    const rev = await put('a', TODO);
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) => writeAll([write('a', { ...claim, hostname: `node${i}` }, rev)])),
    );
    expect(answers.flat().filter((answer) => answer.ok)).toHaveLength(1);
    expect((await get('a')).task?.attempt).toBe(1);
  });

  test('of two new documents of one name at once one is accepted, and one task comes of it', async () => {
    const answers = await Promise.all(Array.from({ length: 6 }, () => writeAll([write('new', TODO, null)])));
    expect(answers.flat().filter((answer) => answer.ok)).toHaveLength(1);
    expect(await counts()).toMatchObject({ queued: 1 });
  });

  test('the holder may write as often as it likes, and ends what it holds', async () => {
    const rev = await put('a', { ...claim, progress: 0.5 }, await claimed('a'));
    expect(await stateOf('a')).toBe('locked running');
    await put('a', { ...claim, done: 3, exit_code: 0, result: [1, 2] }, rev);
    expect(await read('a')).toMatchObject({ result: [1, 2] });
  });

  test('a token that is given back, or reset after its end, is claimed again with the next attempt', async () => {
    let rev = await put('a', { ...TODO, scrub_count: 1, hostname: 'node7' }, await claimed('a'));
    expect(await stateOf('a')).toBe('todo queued');
    rev = await put('a', { ...claim, lock: 9 }, rev);
    rev = await put('a', { ...claim, lock: 9, done: 10, exit_code: 1 }, rev);
    rev = await put('a', { ...TODO, scrub_count: 2 }, rev);
    expect(await stateOf('a')).toBe('todo queued');
    await put('a', { ...claim, lock: 11 }, rev);
    expect((await get('a')).task?.attempt).toBe(3);
  });

  test('a silent holder loses its token: free, counted, on a new revision; after so many times it is in error, with the reason', async () => {
    const rev = await claimed('a', -1);
    expect(await store.rescueTokens({ maxScrubs: 2 })).toEqual([project]);
    expect(await read('a')).toMatchObject({ lock: 0, done: 0, scrub_count: 1, hostname: '' });
    expect(await read('a')).not.toHaveProperty('slurm_job_id');
    const freed = revisionOf(await get('a'));
    expect(freed.number).toBe(rev.number + 1);
    await put('a', { ...claim, lock: 22, scrub_count: 1 }, freed, -1);
    await store.rescueTokens({ maxScrubs: 2 });
    expect(await stateOf('a')).toBe('error failed');
    expect((await get('a')).task?.reason).toBe('worker-lost');
    expect(await read('a')).toMatchObject({
      lock: 99,
      done: 99,
      scrub_count: 2,
      error: [{ message: expect.stringContaining('2') }],
    });
  });

  test('another limit holds for what is held now, too', async () => {
    await claimed('a', -1);
    await store.setTokenLimits({ projectId: project, maxLockMs: 2 * HOUR, usualLockMs: HOUR });
    expect(await store.rescueTokens({ maxScrubs: 2 })).toEqual([]);
    await store.setTokenLimits({ projectId: project, maxLockMs: null, usualLockMs: HOUR });
    expect(await store.rescueTokens({ maxScrubs: 2 })).toEqual([project]);
  });

  test('the time that no server was there does not count as silence', async () => {
    const identity = { host: 'h', pid: 1, ticketKey: 'k', lease: LEASE, aliveWithinMs: 15_000 };
    await store.startServer({ id: `before-${project}`, ...identity });
    await claimed('a', 0);
    await store.startServer({ id: `after-${project}`, ...identity, aliveWithinMs: 0 });
    expect(await store.rescueTokens({ maxScrubs: 2 })).toEqual([]);
    expect(await stateOf('a')).toBe('locked running');
  });

  test('every write of the holder is a sign of life', async () => {
    const rev = await claimed('a', -1);
    await put('a', { ...claim, progress: 0.1 }, rev, HOUR);
    expect(await store.rescueTokens({ maxScrubs: 2 })).toEqual([]);
    expect(await stateOf('a')).toBe('locked running');
  });

  test('the worker that stands for the clients of a host does not lose what they hold before its time', async () => {
    await claimed('a', 1);
    await store.rescueExpired();
    expect(await stateOf('a')).toBe('locked running');
  });

  test('a result that comes too late is refused and kept aside, and may be made to count after all', async () => {
    const rev = await claimed('a', -1);
    await store.rescueTokens({ maxScrubs: 5 });
    await put('a', { ...claim, hostname: 'node8', lock: 50 }, revisionOf(await get('a')));
    const late = { ...claim, done: 60, exit_code: 0, result: 'precious' };
    expect(await refusal('a', late, rev)).toBe('conflict');
    const { task } = await get('a');
    const key = { submission: task?.submission_id as number, idx: task?.idx as number };
    expect((await store.getTask(key))?.late).toMatchObject([{ attempt: 1 }]);
    // The second one fails, and the first result is taken.
    await put('a', { ...claim, hostname: 'node8', lock: 50, done: 70, exit_code: 9 }, revisionOf(await get('a')));
    expect(await store.acceptLate({ ...key, attempt: 1 })).toBe('accepted');
    expect(await stateOf('a')).toBe('done succeeded');
    expect(await read('a')).toMatchObject({ result: 'precious', exit_code: 0 });
  });

  test('a late client that scrubs its old document does not take the token from the new holder', async () => {
    await claimed('a', -1);
    await store.rescueTokens({ maxScrubs: 5 });
    const held = await put('a', { ...claim, hostname: 'node8', lock: 50, scrub_count: 1 }, revisionOf(await get('a')));
    const lateScrub = { ...TODO, hostname: 'node7', scrub_count: 1, error: [{ message: 'mine' }] };
    expect(await refusal('a', lateScrub, held)).toBe('conflict');
    // An operator who resets what stands there is not refused.
    await put('a', { ...claim, hostname: '', lock: 0, done: 0, scrub_count: 2 }, held);
    expect(await stateOf('a')).toBe('todo queued');
  });

  test('a claim whose reply never left is undone and charged to nobody', async () => {
    const rev = await claimed('a');
    expect(await store.undoClaim({ projectId: project, id: 'a', revision: rev })).toBe(true);
    expect(await read('a')).toMatchObject({ lock: 0, done: 0, scrub_count: 0 });
    expect((await get('a')).task).toMatchObject({ state: 'queued', losses: 0 });
    expect(await store.undoClaim({ projectId: project, id: 'a', revision: rev })).toBe(false);
  });

  test('what workers and commands do to a token shows in its document, on a new revision', async () => {
    const first = await put('a', { ...TODO, command: 'true' });
    const { task } = await get('a');
    const key = { submission: task?.submission_id as number, idx: task?.idx as number };
    await store.endTasks({ ...key, as: 'cancelled', limit: 10 });
    expect(await read('a')).toMatchObject({ lock: 99, done: 99, error: [{ message: 'cancelled' }], command: 'true' });
    expect(revisionOf(await get('a')).number).toBe(first.number + 1);
    expect(await refusal('a', claim, first)).toBe('conflict');
    await store.retryTasks({ ...key, failedOnly: false });
    expect(await read('a')).toMatchObject({ lock: 0, done: 0, input: 'x' });
  });

  test('a native task is a token: seen, claimed by a client, and then not by a worker', async () => {
    const id = await submit({
      spec: '{"command":["echo","hi"]}',
      items: { first: 1, payloads: ['{"n":1.0}'], inputs: [null], digests: [] },
    });
    const name = `pilotage:${id}.1`;
    expect(await read(name)).toMatchObject({ type: 'token', lock: 0, done: 0, command: ['echo', 'hi'] });
    expect(textOf(await get(name))).toContain('"n":1.0');
    await put(name, { ...(await read(name)), lock: 5, hostname: 'node1' }, revisionOf(await get(name)));
    expect(await stateOf(name)).toBe('locked running');
    const worker = await storeClients(store, project, `w${project}`).newWorker(10);
    expect((await worker.exchange()).claims).toEqual([]);
    await worker.leave();
  });

  test('a task that waits is in no view, and no client lets it go; once it is let go its document changes', async () => {
    const first = await submit();
    const second = await submit({ after: [{ submission: first, idx: null }] });
    const name = `pilotage:${second}.1`;
    expect(await stateOf(name)).toBe('none queued');
    const waiting = revisionOf(await get(name));
    expect(await refusal(name, { ...(await read(name)), lock: 0, done: 0 }, waiting)).toBe('waiting');
    const start = await readAll({ after: 0 });
    await put(`pilotage:${first}.1`, { ...claim, done: 3, exit_code: 0 }, revisionOf(await get(`pilotage:${first}.1`)));
    await store.foldCounts();
    expect(await stateOf(name)).toBe('todo queued');
    expect(revisionOf(await get(name))).not.toEqual(waiting);
    expect((await readAll(start.position)).ids).toContain(name);
  });

  const readAll = async (from: ChangePosition, limit = 100) => {
    const ids: string[] = [];
    let position = from;
    for (let more = true; more; ) {
      const page = await store.readChanges({ projectId: project, position, limit });
      ids.push(...page.changes.map((row) => row.id));
      ({ position, more } = page);
    }
    return { ids, position };
  };

  test('changes are told once each, in order, in pages, and again when there are new ones', async () => {
    await writeAll(Array.from({ length: 25 }, (_, i) => write(`t${i}`, TODO, null)));
    await writeAll([write('plain', { type: 'log' }, null)]);
    const submission = await store.submit({
      projectId: project,
      owner: 'o',
      requestId: `many-${project}`,
      open: false,
      steps: [arrayStep(30)],
    });
    const { ids, position } = await readAll({ after: 0 }, 7);
    expect(new Set(ids).size).toBe(56);
    expect(ids).toEqual(
      expect.arrayContaining(['t0', 't24', 'plain', `pilotage:${submission.ok ? submission.ids[0] : 0}.30`]),
    );
    expect((await readAll(position)).ids).toEqual([]);
    await put('t3', claim, revisionOf(await get('t3')));
    expect((await readAll(position)).ids).toEqual(['t3']);
  });

  test('a deleted document is a mark, its task is cancelled, and its name may be used again', async () => {
    const rev = await put('a', TODO);
    const [answer] = await writeAll([write('a', {}, rev, { deleted: true })]);
    expect(answer).toMatchObject({ ok: true });
    expect((await get('a')).deleted).toBe(1);
    expect(await counts()).toMatchObject({ queued: 0, cancelled: 1 });
    expect((await put('a', TODO)).number).toBe(3);
    expect(await counts()).toMatchObject({ queued: 1 });
  });

  test('what is forgotten leaves a mark for those who follow', async () => {
    await store.followChanges({ projectId: project });
    const native = await submit();
    const name = `pilotage:${native}.1`;
    await put('a', { ...claim, done: 2, exit_code: 0 }, await claimed('a'));
    await put(name, { ...claim, done: 2, exit_code: 0 }, revisionOf(await get(name)));
    await store.foldCounts();
    const { position } = await readAll({ after: 0 });
    const token = (await get('a')).task?.submission_id as number;
    for (const id of [native, token]) expect(await store.forgetSubmission({ id })).toBe('forgotten');
    while ((await store.removeChunk({ olderThanMs: 0 })) > 0) await store.foldCounts();
    expect((await readAll(position)).ids.sort()).toEqual(['a', name].sort());
    expect(await store.getDocuments({ projectId: project, ids: ['a', name] })).toMatchObject([
      { deleted: 1 },
      { deleted: 1 },
    ]);
  });

  test('documents are listed in the order of their ids, with tasks of other faces among them, both ways, in pages', async () => {
    const native = await store.submit({
      projectId: project,
      owner: 'o',
      requestId: `list-${project}`,
      open: false,
      steps: [arrayStep(12)],
    });
    const submission = native.ok ? native.ids[0] : 0;
    await writeAll(['zeta', 'Alpha', 'beta', 'pilot', 'ümlaut', 'qed'].map((id) => write(id, TODO, null)));
    const wanted = [
      'Alpha',
      'beta',
      'pilot',
      ...Array.from({ length: 12 }, (_, i) => `pilotage:${submission}.${i + 1}`),
      'qed',
      'zeta',
      'ümlaut',
    ];
    const list = async (descending: boolean, from: string | null = null, to: string | null = null) => {
      const ids: string[] = [];
      let at = from;
      let fromIncluded = true;
      for (;;) {
        const rows = await store.listDocuments({
          projectId: project,
          from: at,
          fromIncluded,
          to,
          toIncluded: true,
          descending,
          limit: 5,
        });
        ids.push(...rows.map((row) => row.id));
        if (rows.length < 5) return ids;
        at = ids.at(-1) as string;
        fromIncluded = false;
      }
    };
    expect(await list(false)).toEqual(wanted);
    expect(await list(true)).toEqual(wanted.toReversed());
    expect(await list(false, 'beta', 'pilot')).toEqual(['beta', 'pilot']);
    expect(await list(false, `pilotage:${submission}.11`, 'qed')).toEqual([
      `pilotage:${submission}.11`,
      `pilotage:${submission}.12`,
      'qed',
    ]);
    expect(await list(true, 'qed', `pilotage:${submission}.12`)).toEqual(['qed', `pilotage:${submission}.12`]);
    expect(await list(false, 'q')).toEqual(['qed', 'zeta', 'ümlaut']);
  });

  test('fields survive to the last digit, known or not', async () => {
    const body =
      '{"type":"token","lock":0,"done":0,"big":12345678901234567890,"one":1.0,"deep":{"__proto__":{"x":[1e400]}},"":null}';
    const [answer] = await writeAll([{ ...write('a', {}, null), body }]);
    expect(answer?.ok).toBe(true);
    expect(textOf(await get('a'))).toContain(body.slice(1));
    const claimedBody = JSON.stringify({ ...(parseExact(body) as object), lock: 5 });
    await writeAll([{ ...write('a', {}, answer?.ok ? answer.rev : null), body: claimedBody }]);
    await store.rescueExpired();
    expect(textOf(await get('a'))).toContain('"big":12345678901234567890,"one":1.0');
  });

  test('a copy from elsewhere keeps its revision; of two the newer one stays', async () => {
    const kept = (number: number, hash: string) => ({ rev: { number, hash }, kept: { number, hash } });
    await writeAll([write('a', TODO, null, kept(4, 'bb'))]);
    expect(revisionOf(await get('a'))).toEqual({ number: 4, hash: 'bb' });
    expect((await writeAll([write('a', { ...TODO, input: 'old' }, null, kept(4, 'aa'))]))[0]?.ok).toBe(false);
    await writeAll([write('a', { ...TODO, input: 'new' }, null, kept(5, 'aa'))]);
    expect(await read('a')).toMatchObject({ input: 'new' });
  });

  test('an attachment is kept by its name alone, and a name that is not there is refused', async () => {
    const attachment = { content_type: 'text/plain', digest: 'md5-x', length: 3, blob: 'a'.repeat(64) };
    const [answer] = await writeAll([write('a', TODO, null, { attachments: { log: attachment } })]);
    const rev = answer?.ok ? answer.rev : null;
    const [second] = await writeAll([write('a', claim, rev, { attachments: { log: { stub: true } } })]);
    expect(second?.ok).toBe(true);
    expect(JSON.parse((await get('a')).attachments ?? '')).toEqual({ log: { ...attachment, revpos: 1 } });
    const [third] = await writeAll([
      write('a', claim, second?.ok ? second.rev : null, { attachments: { other: { stub: true } } }),
    ]);
    expect(third).toMatchObject({ ok: false, why: 'missing-stub', what: 'other' });
  });

  test('the worker in whose name clients of a host hold tokens is listed, and nobody can act for it', async () => {
    await claimed('a');
    const [worker] = (await store.listWorkers({ all: true })).filter(
      ({ host, projects }) => host === 'node7' && projects === `[${project}]`,
    );
    expect(worker).toMatchObject({ state: 'alive', name: 'picas@node7', running: 1 });
    expect(await store.leaveWorker({ session: worker?.session_id as string, sessionSecret: '' })).toBeUndefined();
    expect(await stateOf('a')).toBe('locked running');
  });
});
