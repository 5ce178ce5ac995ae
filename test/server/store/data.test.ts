import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { questionOf } from '../../../src/server/pool/question.ts';
import { sha256 } from '../../../src/server/store/secrets.ts';
import type { Store } from '../../../src/server/store/store.ts';
import { arrayStep, NO_LEASE, openStores, reportOf, step, storeClients } from '../../support/open-stores.ts';
import { waitUntil } from '../../support/wait-until.ts';

const HOUR = 3_600_000;
/** Grace times: nothing stays, everything stays. */
const NONE = -1000;

describe.each(openStores())('files, checkpoints and answers on %s', (_name, open) => {
  let store: Store;
  let projectId: number;
  let other: number;
  let close: () => Promise<void>;
  let clients: ReturnType<typeof storeClients>;
  let made = 0;
  beforeAll(async () => {
    ({ store, close } = await open());
    projectId = (await store.createProject({ name: 'p', owner: 'o' })).id;
    other = (await store.createProject({ name: 'q', owner: 'o' })).id;
    clients = storeClients(store, projectId);
  });
  afterAll(() => close());
  beforeEach(async () => {
    for (const id of await store.unfinished({ projectId })) await store.endSubmission({ id, as: 'cancelled' });
    await clients.settle();
  });

  const blob = async (size = 10, options: { project?: number; graceMs?: number } = {}) => {
    const digest = sha256(`blob ${++made}`);
    const graceMs = options.graceMs ?? NONE;
    await store.addBlobs({ projectId: options.project ?? projectId, blobs: [{ digest, size }], graceMs });
    return digest;
  };
  const removable = async (): Promise<string[]> => {
    const found: string[] = [];
    let after: Parameters<Store['removableBlobs']>[0]['after'] = null;
    do {
      const chunk = await store.removableBlobs({ after, limit: 3, graceMs: NONE });
      found.push(...chunk.digests);
      after = chunk.next;
    } while (after !== null);
    return found;
  };
  const remove = (digest: string) => store.markRemoval({ digest, server: 's', graceMs: NONE });
  const runOne = async (
    over: Partial<ReturnType<typeof reportOf>> = {},
    outcome: 'succeeded' | 'failed' = 'succeeded',
  ) => {
    const worker = await clients.newWorker(1000);
    const { claims } = await worker.exchange();
    const reports = claims.map((claim) => ({ ...reportOf(claim, outcome), ...over }));
    const { answers } = await worker.exchange({ reports, most: 0 });
    await clients.settle();
    return { claims, answers };
  };
  const outputs = (...digests: string[]) => ({
    outputs: JSON.stringify(digests.map((digest, i) => ({ name: `f${i}`, digest, kind: 'file', size: 1 }))),
    digests,
  });

  test('a file is needed as long as a submission names it as an input, and no longer', async () => {
    const [used, own, unused] = [await blob(), await blob(), await blob()];
    const items = {
      first: 1,
      payloads: [null],
      inputs: [JSON.stringify([{ name: 'x', digest: own }])],
      digests: [own!],
    };
    const [id] = await clients.submit(step({ digests: [used!], items }));
    expect(await removable()).toContain(unused);
    expect(await removable()).not.toContain(used);
    expect(await removable()).not.toContain(own);
    expect(await remove(used!)).toBe('kept');
    await store.endSubmission({ id: id!, as: 'cancelled' });
    await clients.settle();
    expect(await store.forgetSubmission({ id: id! })).toBe('forgotten');
    while ((await store.removeChunk({ olderThanMs: HOUR })) > 0);
    expect(await removable()).toEqual(expect.arrayContaining([used, own]));
  });

  test('what an attempt left is needed, also what came too late', async () => {
    const [output, log, late] = [await blob(), await blob(), await blob()];
    await clients.submit(step());
    const first = await clients.newWorker(1, { lease: NO_LEASE });
    const { claims } = await first.exchange();
    await store.rescueExpired();
    await runOne({ ...outputs(output!), digests: [output!, log!] });
    const { answers } = await first.exchange({ reports: [{ ...reportOf(claims[0]!), ...outputs(late!) }], most: 0 });
    expect(answers).toEqual(['stale-attempt']);
    const free = await removable();
    for (const digest of [output, log, late]) expect(free).not.toContain(digest);
  });

  test('a report with a wrong secret keeps nothing', async () => {
    const output = await blob();
    await clients.submit(step());
    const { answers } = await runOne({ ...outputs(output), secretHash: 'x' });
    expect(answers).toEqual(['wrong-secret']);
    await clients.drain();
    expect(await removable()).toContain(output);
  });

  test('what a tree lists stays with the tree, and goes after it', async () => {
    const [tree, file] = [await blob(), await blob()];
    await store.addTree({ projectId, digest: tree, children: [file, file] });
    await store.addTree({ projectId, digest: tree, children: [file] });
    expect(await store.knownTrees({ projectId, digests: [tree, file] })).toEqual([tree]);
    expect(await removable()).not.toContain(file);
    expect(await remove(file)).toBe('kept');
    expect(await remove(tree)).toBe('bytes');
    expect(await store.knownTrees({ projectId, digests: [tree] })).toEqual([]);
    expect(await remove(file)).toBe('bytes');
  });

  test('who is told that a file is there, or brings it, finds it there for the grace time', async () => {
    const digest = await blob(10, { graceMs: HOUR });
    expect(await removable()).not.toContain(digest);
    expect(await remove(digest)).toBe('kept');
    const told = await blob();
    expect(await store.missingBlobs({ projectId, digests: [told, 'f'.repeat(64)], graceMs: HOUR })).toEqual([
      'f'.repeat(64),
    ]);
    expect(await remove(told)).toBe('kept');
  });

  test('while an attempt runs, what was brought since it was claimed may be an output of it', async () => {
    await clients.submit(step());
    const worker = await clients.newWorker(1);
    const { claims } = await worker.exchange();
    const digest = sha256('brought by a worker');
    // Held until a moment that is over, but later than the claim.
    await store.addBlobs({ projectId, blobs: [{ digest, size: 1 }], graceMs: 0 });
    const chunk = await store.removableBlobs({ after: null, limit: 10_000, graceMs: 0 });
    expect(chunk.digests).not.toContain(digest);
    expect(await store.markRemoval({ digest, server: 's', graceMs: 0 })).toBe('kept');
    await worker.exchange({ reports: [{ ...reportOf(claims[0]!), ...outputs(digest) }], most: 0 });
    expect(await removable()).not.toContain(digest);
  });

  test('an attempt that was given up for lost, and not claimed again, finds what it brought when it reports at last', async () => {
    const [id] = await clients.submit(step());
    const worker = await clients.newWorker(1, { lease: NO_LEASE });
    const { claims } = await worker.exchange();
    const digest = sha256(`brought before the worker was cut off ${id}`);
    await store.addBlobs({ projectId, blobs: [{ digest, size: 1 }], graceMs: 0 });
    expect(await store.rescueExpired()).toBe(1);
    expect((await store.removableBlobs({ after: null, limit: 10_000, graceMs: 0 })).digests).not.toContain(digest);
    expect(await store.markRemoval({ digest, server: 's', graceMs: 0 })).toBe('kept');
    await worker.exchange({ reports: [{ ...reportOf(claims[0]!), ...outputs(digest) }], most: 0 });
    expect(await store.getTask({ submission: id!, idx: 1 })).toMatchObject({ state: 'succeeded' });
  });

  test('who was told while an attempt runs that a file is there finds it, whenever it had been brought', async () => {
    const digest = sha256('brought shortly before the claim');
    await store.addBlobs({ projectId, blobs: [{ digest, size: 1 }], graceMs: 600 });
    await clients.submit(step());
    const worker = await clients.newWorker(1);
    const { claims } = await worker.exchange();
    expect(await store.missingBlobs({ projectId, digests: [digest], graceMs: 600 })).toEqual([]);
    await pause(700);
    expect(await store.markRemoval({ digest, server: 's', graceMs: 600 })).toBe('kept');
    await worker.exchange({ reports: claims.map((claim) => reportOf(claim)), most: 0 });
  });

  test('an attempt whose outputs are gone, or were never in its project, did not succeed', async () => {
    const [here, elsewhere] = [await blob(10, { graceMs: HOUR }), await blob(10, { project: other, graceMs: HOUR })];
    for (const lacking of [sha256('removed since'), elsewhere]) {
      const [id] = await clients.submit(step());
      const { answers } = await runOne(outputs(here, lacking));
      expect(answers).toEqual(['accepted']);
      const task = await store.getTask({ submission: id!, idx: 1 });
      expect(task).toMatchObject({ state: 'failed', reason: 'output-failed' });
      expect(task?.attempts[0]).toMatchObject({ outcome: 'failed', outputs: outputs(here).outputs });
      expect(task?.attempts[0]?.message).toContain(`the first is 'f1' (${lacking})`);
    }
  });

  test('a log that is gone does not cost the result', async () => {
    const [id] = await clients.submit(step());
    const digest = sha256('a log that went');
    await runOne({ digests: [digest], logs: [{ stream: 'stdout', size: 100_000, data: null, digest }] });
    expect(await store.getTask({ submission: id!, idx: 1 })).toMatchObject({ state: 'succeeded' });
    const logs = await store.getLogs({ submission: id!, idx: 1, attempt: null });
    expect(logs?.logs).toMatchObject([{ stream: 'stdout', size: 100_000, digest: null }]);
  });

  test('a late report is accepted only as long as its outputs are there', async () => {
    const [id] = await clients.submit(step());
    const worker = await clients.newWorker(1, { lease: NO_LEASE });
    const { claims } = await worker.exchange();
    await store.rescueExpired();
    const { claims: again } = await runOne({}, 'failed');
    expect(again).toHaveLength(1);
    const gone = sha256('went before it was reported');
    const late = { ...reportOf(claims[0]!), ...outputs(gone) };
    expect((await worker.exchange({ reports: [late], most: 0 })).answers).toEqual(['stale-attempt']);
    expect(await store.acceptLate({ submission: id!, idx: 1, attempt: null })).toBe('files-gone');
    await store.addBlobs({ projectId, blobs: [{ digest: gone, size: 1 }], graceMs: HOUR });
    expect(await store.acceptLate({ submission: id!, idx: 1, attempt: null })).toBe('accepted');
    expect(await store.getTask({ submission: id!, idx: 1 })).toMatchObject({ state: 'succeeded' });
  });

  test('a blob of two projects loses its bytes with the second', async () => {
    const digest = await blob();
    await store.addBlobs({ projectId: other, blobs: [{ digest, size: 10 }], graceMs: HOUR });
    expect(await remove(digest)).toBe('forgotten');
    expect(await store.findBlob({ projectId, digest })).toBeNull();
    expect(await store.findBlob({ projectId: other, digest })).toEqual({ size: 10 });
  });

  test('while the bytes are being removed nobody adds them, and a server that takes the removal over ends it', async () => {
    const digest = await blob();
    expect(await remove(digest)).toBe('bytes');
    expect(await store.addBlobs({ projectId, blobs: [{ digest, size: 10 }], graceMs: HOUR })).toBe('being-removed');
    expect(await store.takeOverRemovals({ server: 'other', aliveWithinMs: HOUR })).toContain(digest);
    await store.finishRemoval({ digest, server: 's' });
    expect(await store.addBlobs({ projectId, blobs: [{ digest, size: 10 }], graceMs: HOUR })).toBe('being-removed');
    await store.finishRemoval({ digest, server: 'other' });
    expect(await store.addBlobs({ projectId, blobs: [{ digest, size: 10 }], graceMs: HOUR })).toBe('added');
  });

  test('usage is what is there, and a quota is kept', async () => {
    const project = (await store.createProject({ name: 'small', owner: 'o' })).id;
    await store.setQuota({ projectId: project, bytes: 100 });
    const first = await blob(60, { project, graceMs: HOUR });
    expect(await store.addBlobs({ projectId: project, blobs: [{ digest: first, size: 60 }], graceMs: HOUR })).toBe(
      'added',
    );
    const result = await store.addBlobs({
      projectId: project,
      blobs: [{ digest: sha256('too large'), size: 41 }],
      graceMs: HOUR,
    });
    expect(result).toEqual({ overQuota: { quotaBytes: 100, bytes: 60 } });
    await blob(40, { project, graceMs: NONE });
    expect(await store.projectUsage({ projectId: project })).toEqual({
      blobs: 2,
      bytes: 100,
      unreferencedBlobs: 2,
      unreferencedBytes: 100,
      quotaBytes: 100,
    });
    expect(await store.findQuota({ projectId: project })).toEqual({ quotaBytes: 100, bytes: 100 });
    for (const digest of await removable()) await remove(digest);
    expect(await store.projectUsage({ projectId: project })).toMatchObject({ blobs: 1, bytes: 60 });
    expect(await store.findQuota({ projectId })).toBeNull();
  });

  test('many that bring files at once never get past the quota', async () => {
    const project = (await store.createProject({ name: 'crowded', owner: 'o' })).id;
    await store.setQuota({ projectId: project, bytes: 50 });
    const all = Array.from({ length: 20 }, (_, i) =>
      store.addBlobs({ projectId: project, blobs: [{ digest: sha256(`crowd ${i}`), size: 10 }], graceMs: HOUR }),
    );
    expect((await Promise.all(all)).filter((result) => result === 'added')).toHaveLength(5);
    expect(await store.projectUsage({ projectId: project })).toMatchObject({ blobs: 5, bytes: 50 });
  });

  describe('checkpoints', () => {
    const claimOne = async () => {
      const worker = await clients.newWorker(1);
      const { claims } = await worker.exchange();
      return { worker, claim: claims[0]! };
    };
    type Claim = Awaited<ReturnType<typeof claimOne>>['claim'];
    const keep = async (claim: Claim, number: number, over: { secretHash?: string } = {}) => {
      const digest = await blob();
      const answer = await store.keepCheckpoint({
        submission: claim.submission_id,
        idx: claim.idx,
        attempt: claim.attempt,
        number,
        secretHash: reportOf(claim).secretHash,
        files: JSON.stringify([{ name: 'state', digest, kind: 'file', size: 1 }]),
        digests: [digest],
        ...over,
      });
      return { answer, digest };
    };
    const kept = async (id: number) =>
      (await store.getCheckpoints({ tasks: [{ submission: id, idx: 1 }] })).map(
        ({ attempt, number, suspect }) => `${attempt}/${number}${suspect === 1 ? '?' : ''}`,
      );

    test('the newest two are kept, and their files; with the result they go', async () => {
      const [id] = await clients.submit(step({ hasCheckpoint: true }));
      const { worker, claim } = await claimOne();
      const digests: string[] = [];
      for (const number of [1, 2, 3]) digests.push((await keep(claim, number)).digest);
      expect(await kept(id!)).toEqual(['1/3', '1/2']);
      const free = await removable();
      expect(digests.map((digest) => free.includes(digest))).toEqual([true, false, false]);
      await worker.exchange({ reports: [reportOf(claim)], most: 0 });
      expect(await kept(id!)).toEqual([]);
      expect(await removable()).toEqual(expect.arrayContaining(digests));
    });

    test('an older attempt never replaces what a newer one left, nor does anybody without its secret', async () => {
      const [id] = await clients.submit(
        step({ hasCheckpoint: true, spec: '{"retry":{"limit":5,"backoffSeconds":0}}' }),
      );
      const first = await claimOne();
      await keep(first.claim, 1);
      await first.worker.exchange({ reports: [reportOf(first.claim, 'failed')], most: 0 });
      expect((await keep(first.claim, 2)).answer).toBe('stale-attempt');
      const second = await claimOne();
      expect(second.claim.attempt).toBe(2);
      expect((await keep(second.claim, 1)).answer).toBe('kept');
      expect((await keep(first.claim, 9)).answer).toBe('stale-attempt');
      expect((await keep(second.claim, 2, { secretHash: 'wrong' })).answer).toBe('stale-attempt');
      expect(await kept(id!)).toEqual(['2/1', '1/1']);
    });

    test('one from which an attempt failed without getting further is suspect; one that got further is not', async () => {
      const [id] = await clients.submit(
        step({ hasCheckpoint: true, spec: '{"retry":{"limit":9,"backoffSeconds":0}}' }),
      );
      const fail = async (
        { worker, claim }: Awaited<ReturnType<typeof claimOne>>,
        from: object | null,
        reason = 'exit-code',
      ) =>
        worker.exchange({
          reports: [{ ...reportOf(claim, 'failed'), reason: reason as never, checkpoint: from as never }],
          most: 0,
        });
      const first = await claimOne();
      await keep(first.claim, 1);
      await keep(first.claim, 2);
      await fail(first, null);
      const second = await claimOne();
      await keep(second.claim, 1);
      await fail(second, { attempt: 1, number: 2 });
      expect(await kept(id!)).toEqual(['2/1', '1/2']);
      await fail(await claimOne(), { attempt: 2, number: 1 }, 'time-limit');
      expect(await kept(id!)).toEqual(['2/1', '1/2']);
      await fail(await claimOne(), { attempt: 2, number: 1 });
      expect(await kept(id!)).toEqual(['2/1?', '1/2']);
    });
  });

  describe('the same question', () => {
    const ask = async (question: string, over: Parameters<typeof step>[0]) => {
      const result = await store.submit({
        projectId,
        owner: 'o',
        requestId: `ask-${++made}`,
        open: true,
        steps: [step({ question, ...over })],
      });
      if (!result.ok) throw new Error('refused');
      const id = result.ids[0]!;
      let answered = 0;
      for (let after: number | null = -1; after !== null; ) {
        const chunk: { next: number | null; answered: number } = await store.answerReused({ id, after, graceMs: HOUR });
        after = chunk.next;
        answered += chunk.answered;
      }
      await store.openSubmissions({ ids: [id] });
      await clients.settle();
      return { id, answered };
    };
    const items = (...payloads: (string | null)[]) => ({
      items: { first: 1, payloads, inputs: payloads.map(() => null), digests: [] },
    });

    test('has the same answer: by payload where there is one, whatever the index, else by index', async () => {
      const question = `q${++made}`;
      const [source] = await clients.submit(step({ question, ...items('{"x":1}', '{"x":2}') }));
      const output = await blob();
      await runOne(outputs(output));
      const { id, answered } = await ask(question, items('{"x":3}', '{"x":2}', '{"x":1}'));
      expect(answered).toBe(2);
      expect(await clients.countsOf(id)).toMatchObject({ queued: 1, succeeded: 2 });
      expect(await store.getTask({ submission: id, idx: 2 })).toMatchObject({
        state: 'succeeded',
        reused_from: `${source}.2`,
        attempts: [{ attempt: 1, outcome: 'succeeded', outputs: outputs(output).outputs }],
      });
      expect(await store.getTask({ submission: id, idx: 1 })).toMatchObject({ state: 'queued', reused_from: null });
      // The files of an answer belong to whoever got it, also when the first one is forgotten.
      await store.forgetSubmission({ id: source! });
      while ((await store.removeChunk({ olderThanMs: HOUR })) > 0);
      expect(await removable()).not.toContain(output);
      expect(await clients.drain()).toBe(1);
      const byIndex = `q${++made}`;
      await clients.submit(arrayStep(5, { question: byIndex }));
      await clients.drain();
      expect((await ask(byIndex, { array: { first: 4, last: 7, step: 1 }, items: null })).answered).toBe(2);
      await clients.drain();
    });

    test('in which the index is written is the same for equal indices only', async () => {
      const spec = { command: ['sh', '-c', 'simulate --seed {index} {x}'] };
      const question = questionOf(spec)!;
      await clients.submit(step({ question, ...items('{"x":1}', '{"x":2}') }));
      await clients.drain();
      expect((await ask(question, items('{"x":2}', '{"x":2}', '{"x":1}'))).answered).toBe(1);
      await clients.drain();
      expect(questionOf({ command: ['a', '{x}'] })).not.toBe(questionOf({ command: ['a', '{index}'] }));
      // Of two inputs with one name the last one counts.
      const named = (digest: string) => ({ name: 'x', digest, kind: 'file' as const });
      const [one, two] = [named('1'.repeat(64)), named('2'.repeat(64))];
      expect(questionOf({ ...spec, inputs: [one, two] })).not.toBe(questionOf({ ...spec, inputs: [two, one] }));
    });

    test('is not answered by what failed, is not finished, has other inputs, or lost its files', async () => {
      const question = `q${++made}`;
      await clients.submit(step({ question }));
      expect((await ask(question, {})).answered).toBe(0);
      await runOne({}, 'failed');
      expect((await ask(question, {})).answered).toBe(0);
      const output = await blob();
      await runOne(outputs(output));
      const inputs = { items: { first: 1, payloads: [null], inputs: ['[{"name":"x"}]'], digests: [] } };
      expect((await ask(question, inputs)).answered).toBe(0);
      expect((await ask('another', {})).answered).toBe(0);
      expect((await ask(question, {})).answered).toBe(1);
      await clients.drain();
      const lost = `q${++made}`;
      await clients.submit(step({ question: lost }));
      await runOne(outputs(sha256('never there')));
      expect((await ask(lost, {})).answered).toBe(0);
      await clients.drain();
    });

    test('a submission that is answered in whole is finished, and lets go what waited for it', async () => {
      const question = `q${++made}`;
      await clients.submit(arrayStep(6_000, { question }));
      await clients.drain();
      const { id, answered } = await ask(question, { array: { first: 1, last: 6_000, step: 1 }, items: null });
      expect(answered).toBe(6_000);
      expect(await clients.countsOf(id)).toMatchObject({ queued: 0, succeeded: 6_000 });
      const [after] = await clients.submit(step({ after: [{ submission: id, idx: null }] }));
      await clients.settle();
      expect(await clients.countsOf(after!)).toMatchObject({ queued: 1, waiting: 0 });
    });
  });

  describe('forgetting', () => {
    test('takes finished submissions only, and none that an unfinished one needs', async () => {
      const [id] = await clients.submit(step());
      expect(await store.forgetSubmission({ id: id! })).toBe('unfinished');
      const [after] = await clients.submit(step({ after: [{ submission: id!, idx: null }] }));
      await runOne();
      expect(await store.forgetSubmission({ id: id! })).toEqual({ neededBy: after });
      await clients.drain();
      expect(await store.forgetSubmission({ id: id! })).toBe('forgotten');
      expect(await store.forgetSubmission({ id: id! })).toBe('unknown');
      expect(await store.getTask({ submission: id!, idx: 1 })).toBeNull();
    });

    test('does not take what a submission needs that is not complete yet', async () => {
      const [id] = await clients.submit(step());
      await clients.drain();
      const steps = [step({ after: [{ submission: id!, idx: null }] })];
      const result = await store.submit({ projectId, owner: 'o', requestId: `part-${++made}`, open: true, steps });
      const after = (result.ok && result.ids[0]) as number;
      expect(await store.forgetSubmission({ id: id! })).toEqual({ neededBy: after });
      await store.openSubmissions({ ids: [after] });
      await clients.settle();
      expect(await clients.countsOf(after)).toMatchObject({ queued: 1, waiting: 0 });
      await clients.drain();
      expect(await store.forgetSubmission({ id: id! })).toBe('forgotten');
    });

    test('frees what the submission had, also while an attempt runs that is older', async () => {
      await clients.submit(step());
      const worker = await clients.newWorker(1);
      const { claims } = await worker.exchange();
      const [tree, file] = [sha256('tree of the forgotten'), sha256('file of the forgotten')];
      for (const digest of [tree, file]) await store.addBlobs({ projectId, blobs: [{ digest, size: 1 }], graceMs: 0 });
      await store.addTree({ projectId, digest: tree, children: [file] });
      const [id] = await clients.submit(step({ digests: [tree] }));
      await clients.drain();
      expect(await store.forgetSubmission({ id: id! })).toBe('forgotten');
      while ((await store.removeChunk({ olderThanMs: HOUR })) > 0);
      await clients.settle();
      while ((await store.removeChunk({ olderThanMs: HOUR })) > 0);
      for (const digest of [tree, file])
        await waitUntil(
          'it goes',
          async () => (await store.markRemoval({ digest, server: 's', graceMs: 0 })) === 'bytes',
        );
      await worker.exchange({ reports: claims.map((claim) => reportOf(claim)), most: 0 });
    });

    test('fulfils nothing: what waited for one that failed still waits for it', async () => {
      const [id] = await clients.submit(step());
      const [after] = await clients.submit(step({ after: [{ submission: id!, idx: null }] }));
      await runOne({}, 'failed');
      expect(await clients.countsOf(after!)).toMatchObject({ failed: 1 });
      expect(await store.forgetSubmission({ id: id! })).toBe('forgotten');
      await clients.settle();
      while ((await store.removeChunk({ olderThanMs: HOUR })) > 0);
      const [row] = await store.getSubmissions({ ids: [after!] });
      expect(row).toMatchObject({ gate: 'waiting', after: [{ submission: id, done: false }] });
    });

    test('takes a submission out of the counts, with all that it left', async () => {
      const before = (await store.countByProject()).find((row) => row.projectId === projectId)?.counts;
      const [id] = await clients.submit(arrayStep(11_000));
      await clients.drain();
      expect(await store.forgetSubmission({ id: id! })).toBe('forgotten');
      await clients.settle();
      while ((await store.removeChunk({ olderThanMs: HOUR })) > 0);
      expect((await store.countByProject()).find((row) => row.projectId === projectId)?.counts).toEqual(before);
      expect(await store.getSubmissions({ ids: [id!] })).toEqual([]);
      expect(await store.listResults({ submission: id!, idx: null, attempt: null, after: null, limit: 10 })).toEqual(
        [],
      );
    });
  });

  describe('sources', () => {
    const share = (name: string) => JSON.stringify([`http://${name}`]);
    const node = async (name: string, zone = 'z') => {
      const { session, exchange } = await clients.newWorker(1, { zone, share: share(name) });
      const question = { session, sessionSecret: 's3cret', projectId, serverOnly: false, leaveOutMs: HOUR };
      const ask = async (digest: string, over: Partial<Parameters<Store['findSource']>[0]> = {}) => {
        const source = await store.findSource({ ...question, digest, faults: [], ...over });
        if (typeof source === 'string') throw new Error(source);
        return source.peer?.holder ?? 'server';
      };
      const holds = (add: string[], remove: string[] = []) =>
        store.setHolds({ session, sessionSecret: 's3cret', add, remove });
      return { session, ask, holds, exchange };
    };

    test('those who ask at once make a chain, and the server is asked once', async () => {
      const digest = await blob(1000);
      const nodes = await Promise.all(Array.from({ length: 8 }, (_, i) => node(`n${i}`)));
      const named = await Promise.all(nodes.map(({ ask }) => ask(digest)));
      expect(named.filter((holder) => holder === 'server')).toHaveLength(1);
      expect(new Set(named).size).toBe(8);
    });

    test('one that has it whole is named before one that is fetching it, and who has fewest others first', async () => {
      const digest = await blob(1000);
      const [a, b, c, d] = await Promise.all(['a', 'b', 'c', 'd'].map((name) => node(name, 'whole')));
      await a!.holds([digest]);
      expect(await b!.ask(digest)).toBe(a!.session);
      expect(await c!.ask(digest)).toBe(b!.session);
      await b!.holds([digest]);
      await c!.holds([digest]);
      expect([a!.session, b!.session, c!.session]).toContain(await d!.ask(digest));
    });

    test('other zones, workers that do not share, and strangers are not named', async () => {
      const digest = await blob(1000);
      const [here, there] = [await node('here', 'one'), await node('there', 'two')];
      await there.holds([digest]);
      expect(await here.ask(digest)).toBe('server');
      const secretive = await clients.newWorker(1, { zone: 'one' });
      await store.setHolds({ session: secretive.session, sessionSecret: 's3cret', add: [digest], remove: [] });
      const another = await node('another', 'one');
      expect(await another.ask(digest)).toBe(here.session);
      const question = { projectId, digest, faults: [], serverOnly: false, leaveOutMs: HOUR };
      expect(await store.findSource({ ...question, session: here.session, sessionSecret: 'x' })).toBe(
        'unknown-session',
      );
      expect(await store.setHolds({ session: here.session, sessionSecret: 'x', add: [], remove: [] })).toBe(false);
      const elsewhere = { ...question, projectId: other, session: here.session, sessionSecret: 's3cret' };
      expect(await store.findSource(elsewhere)).toBe('unknown-blob');
    });

    test('a holder with a fault is left out by all for a while, and nobody is sent to one that gets it from it', async () => {
      const [digest, more] = [await blob(1000), await blob(1000)];
      const [a, b, c] = [await node('a', 'faults'), await node('b', 'faults'), await node('c', 'faults')];
      await a.holds([digest, more]);
      expect(await b.ask(digest)).toBe(a.session);
      expect(await c.ask(digest)).toBe(b.session);
      expect(await b.ask(digest, { faults: [{ holder: a.session, what: 'slow' }] })).toBe('server');
      expect(await c.ask(more)).toBe('server');
      await a.holds([digest]);
      const fresh = await node('fresh', 'faults');
      expect(await fresh.ask(digest, { serverOnly: true })).toBe('server');
    });

    test('a blob that is gone from a holder says nothing against the holder', async () => {
      const [digest, more] = [await blob(1000), await blob(1000)];
      const [a, b] = [await node('a', 'gone'), await node('b', 'gone')];
      await a.holds([digest, more]);
      expect(await b.ask(digest)).toBe(a.session);
      expect(await b.ask(digest, { faults: [{ holder: a.session, what: 'gone' }] })).toBe('server');
      expect(await b.ask(more)).toBe(a.session);
      await a.holds([], [more]);
      const late = await node('late', 'gone');
      expect(await late.ask(more)).toBe(b.session);
    });
  });
});
