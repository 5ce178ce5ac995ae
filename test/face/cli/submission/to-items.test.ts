import path from 'node:path';
import { expect, test } from 'vitest';
import { parseJobFile } from '../../../../src/face/cli/job-file/parse-job-file.ts';
import { toItems, toStep, type Upload } from '../../../../src/face/cli/submission/to-items.ts';
import { hashBytes } from '../../../../src/ground/content/hash-file.ts';
import type { Item } from '../../../../src/ground/protocol/submission.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';

/** Answers with the digest of the name, and keeps what it was asked for. */
function recorder(): { upload: Upload; asked: (readonly string[])[] } {
  const asked: (readonly string[])[] = [];
  const upload: Upload = async (files) => {
    asked.push(files);
    return files.map((file) => ({ digest: hashBytes(path.basename(file)).digest, kind: 'file' }));
  };
  return { upload, asked };
}

function stepOf(text: string, files: Record<string, string>) {
  const directory = temporaryDirectory(files);
  const [step] = parseJobFile(text, { fileName: 'job.yaml', directory, now: new Date() }).steps;
  return step!;
}

test('the inputs of many tasks are asked for in few groups, and the tasks keep their order', async () => {
  const names = Array.from({ length: 600 }, (_, at) => `f${at}.txt`);
  const step = stepOf(
    `command: [cat, "{item}"]\ninputs: ["{item}", common]\nitems: ${JSON.stringify(names)}`,
    Object.fromEntries([...names.map((name) => [name, '']), ['common', '']]),
  );
  const { upload, asked } = recorder();
  const items: Item[] = [];
  for await (const item of toItems(step, upload)) items.push(item);
  expect(asked.map((files) => files.length)).toEqual([256, 256, 88]);
  expect(items.map(({ payload }) => payload)).toEqual(names);
  for (const [at, name] of names.entries())
    expect(items[at]?.inputs).toEqual([{ name, digest: hashBytes(name).digest, kind: 'file' }]);
});

test('shared inputs are asked for at once, each once', async () => {
  const step = stepOf('command: [x]\ninputs: ["*.txt", { path: a.txt, as: again }]', { 'a.txt': '', 'b.txt': '' });
  const { upload, asked } = recorder();
  const { spec } = await toStep(step, upload);
  expect(asked.map((files) => files.map((file) => path.basename(file)))).toEqual([['a.txt', 'b.txt']]);
  expect(spec.inputs?.map(({ name }) => name)).toEqual(['a.txt', 'b.txt', 'again']);
});
