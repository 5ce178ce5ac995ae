import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cli } from '../../support/cli-context.ts';

let directory: string;
let password: string;
beforeAll(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'pilotage-smtp-'));
  password = path.join(directory, 'password');
  writeFileSync(password, 'secret\n', { mode: 0o600 });
  writeFileSync(path.join(directory, 'short'), 'short', { mode: 0o600 });
  writeFileSync(path.join(directory, 'open'), 'a key that all can read', { mode: 0o644 });
});
afterAll(() => rmSync(directory, { recursive: true }));

const FROM = ['--mail-from', 'pilotage@x.org'];
const LOGIN = { user: 'me', password: 'secret' };
const serve = (argv: readonly string[]) => cli(['serve', ...argv.map((word) => word.replace('DIR', directory))]);

test.each([
  [['smtp://mail.x.org'], { host: 'mail.x.org', port: 25, isImplicitTls: false, mustBeTls: false }],
  [['smtp://mail.x.org:2525/'], { port: 2525 }],
  [['smtp://[::1]:25'], { host: '::1', mustBeTls: false }],
  [['smtps://mail.x.org'], { port: 465, isImplicitTls: true, mustBeTls: true }],
  [['smtp://mail.x.org', '--smtp-require-tls'], { mustBeTls: true }],
  [['smtp://me@mail.x.org', '--smtp-password-file', 'DIR/password'], { port: 587, mustBeTls: true, login: LOGIN }],
  [['smtp://me@127.0.0.1', '--smtp-password-file', 'DIR/password'], { mustBeTls: false, login: LOGIN }],
  [['smtp://a%40b@x.org', '--smtp-password-file', 'DIR/password'], { login: { user: 'a@b', password: 'secret' } }],
] as [string[], object][])('mail goes out through %j', async (argv, smtp) => {
  const { started, stderr } = await serve(['--smtp', ...argv, ...FROM]);
  expect(stderr).toBe('');
  expect(started).toMatchObject([{ smtp: { ...smtp, from: 'pilotage@x.org' } }]);
});

test.each([
  [['--smtp', 'smtp://me:secret@x.org', ...FROM], 'can be read by everybody on this machine'],
  [['--smtp', 'smtp://me@x.org', ...FROM], "the user 'me', whose password is missing: give --smtp-password-file"],
  [['--smtp', 'smtp://x.org', '--smtp-password-file', 'DIR/password', ...FROM], 'goes with a user'],
  [['--smtp', 'x.org:25', ...FROM], '--smtp is no address of a mail server'],
  [['--smtp', 'http://x.org', ...FROM], '--smtp is no address of a mail server'],
  [['--smtp', 'smtp://x.org/path', ...FROM], '--smtp ends after the port'],
  [['--smtp', 'smtp://x.org'], 'give --mail-from ADDRESS'],
  [
    ['--smtp', 'smtp://x.org', '--mail-from', 'Pilotage <p@x.org>'],
    "'Pilotage <p@x.org>' of --mail-from is no mail address",
  ],
  [FROM, '--mail-from goes with --smtp'],
  [['--smtp-password-file', 'DIR/password'], '--smtp-password-file goes with --smtp'],
  [['--smtp-require-tls'], '--smtp-require-tls goes with --smtp'],
  [['--webhook-key-file', 'DIR/short'], 'has 5 characters: 16 are the least'],
  [['--webhook-key-file', 'DIR/open'], "run 'chmod 600"],
  [['--webhook-key-file', 'DIR/none'], 'is not there'],
  [['--mail-window', 'soon'], 'mail-window'],
])('%j is refused with what is wrong', async (argv, message) => {
  const { code, stderr, started } = await serve(argv);
  expect(stderr).toContain(message);
  expect(stderr).not.toContain('secret@');
  expect({ code, started }).toEqual({ code: 2, started: [] });
});

test('each option has its variable', async () => {
  const env = {
    HOME: '/',
    PILOTAGE_SERVE_SMTP: 'smtp://me@x.org',
    PILOTAGE_SERVE_SMTP_PASSWORD_FILE: password,
    PILOTAGE_SERVE_MAIL_FROM: 'p@x.org',
    PILOTAGE_SERVE_MAIL_WINDOW: '1h',
  };
  expect((await cli(['serve'], { env })).started).toMatchObject([
    { smtp: { host: 'x.org', login: LOGIN }, mailWindowSeconds: 3600 },
  ]);
});
