import { expect, test } from 'vitest';
import { composeMail } from '../../../src/server/notices/compose-mail.ts';
import type { TakenLetter } from '../../../src/server/store/verbs/deliver-letters.ts';
import type { NoticeFacts } from '../../../src/server/store/verbs/write-notices.ts';

const AT = Date.UTC(2026, 10, 27, 12, 0, 0);
const linkOf = ({ project, number }: { project: string; number: string }) => `https://x.org/${project}/${number}?$&`;

function letter(kind: TakenLetter['kind'], told: readonly NoticeFacts[], over: Partial<TakenLetter> = {}): TakenLetter {
  return {
    id: 1,
    uid: 'u',
    kind,
    address: 'a@x.org',
    createdAt: AT,
    tries: 1,
    windowMs: 600_000,
    service: 'words',
    title: 'Counting words',
    project: 'default',
    archiveMs: null,
    notices: told.length,
    told: told.map((facts, n) => ({ at: AT + n * 1000, facts })),
    ...over,
  };
}
const job = (number: string, name: string | null = null) => ({ number, name, uid: 'u' });
const failure = (n: number) => ({
  hook: 'run',
  message: `oh no ${n}`,
  stack: n < 5 ? `Error: oh no ${n}\n    at s.ts:${n}` : null,
});
const compose = (...how: Parameters<typeof letter>) => composeMail(letter(...how), linkOf);

test('the user reads which job is complete, where its results are, and for how long', () => {
  const mail = compose('completed', [{ job: job('12', 'hamlet') }], { archiveMs: 86_400_000 });
  expect(mail).toEqual({
    subject: 'Counting words: job hamlet is complete',
    text: 'Your job 12 (hamlet) is complete.\n\nIts results: https://x.org/default/12?$&\n\nThey are there until 2026-11-28 12:00:00 UTC.\n',
  });
  expect(compose('completed', [{ job: job('12') }], { title: null }).subject).toBe('words: job 12 is complete');
});

test("the author's own words get the link", () => {
  const facts = { job: job('12'), mail: { text: 'Look at {link}, I say {link}' } };
  expect(compose('completed', [facts])).toEqual({
    subject: 'Counting words: job 12 is complete',
    text: 'Look at https://x.org/default/12?$&, I say https://x.org/default/12?$&\n',
  });
  expect(compose('completed', [{ ...facts, mail: { subject: 'Mine', text: 't' } }]).subject).toBe('Mine');
});

test('a failure is told with its hook and its stack', () => {
  const { subject, text } = compose('failed', [{ job: job('7', 'x'), failure: failure(1) }]);
  expect(subject).toBe('words: job 7 FAILED');
  expect(text).toContain(
    "Job 7 (x) failed at 2026-11-27 12:00:00 UTC, in the hook 'run':\n\nError: oh no 1\n    at s.ts:1\n",
  );
  expect(text).toContain("Further failures of 'words' within 10 min come in one mail.");
});

test('many failures are one mail: some whole, the others in a line each, the rest as a number', () => {
  const told = Array.from({ length: 200 }, (_, n) => ({ job: job(String(n + 1)), failure: failure(n) }));
  const { subject, text } = compose('failed', told, { notices: 1000 });
  expect(subject).toBe('words: 1000 jobs FAILED');
  expect(text.match(/at s\.ts:/g)).toHaveLength(5);
  expect(text).toContain("\n  200, in the hook 'run': oh no 199\n");
  expect(text).toContain("And 800 more: 'pilotage job list --service words --state FAILED'");
});

test('a host that ended is told with its reason', () => {
  const host = { host: 'node', pid: 7, reason: 'the disk is full' };
  expect(compose('host-failed', [{ host }])).toMatchObject({
    subject: 'words: its host ended: the disk is full',
    text: expect.stringContaining('process 7 on node: the disk is full'),
  });
  expect(compose('host-failed', [{ host }, { host }]).subject).toBe('words: its host ended 2 times');
});

test.each(['\r\nBcc: other@x.org\r\n\r\nbody', '\nX: y', '\u2028Bcc: z', '\0\u007f', 'x'.repeat(10_000)])(
  'no name makes a second line of a header: %j',
  (name) => {
    const facts = { job: job('1', name), mail: { subject: name, text: 't' } };
    for (const mail of [
      compose('completed', [{ job: job('1', name) }]),
      compose('completed', [facts], { title: name }),
      compose('host-failed', [{ host: { host: name, pid: 1, reason: name } }]),
    ]) {
      expect(mail.subject).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
      expect(mail.subject.length).toBeLessThanOrEqual(200);
      expect(mail.text).not.toMatch(/[^\P{Cc}\n\t]/u);
    }
  },
);
