import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { quote } from '../../../src/worker/transport/quote.ts';
import { missing, type Needed, skipIfMissing } from '../../support/debian.ts';
import { openTransport } from '../../support/ssh-client.ts';
import { FISH, type SshServer, skipWithoutSshd, startSshServer, TCSH } from '../../support/ssh-server.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

beforeEach(({ skip }) => skipWithoutSshd(skip));

const DASH: Needed = { program: '/bin/dash', packages: ['dash'] };
const BASH: Needed = { program: '/bin/bash', packages: ['bash'] };
const TEXT = `a 'b' "c" $HOME \`id\` \\ !x !! %s *\n{a,b} ~ é`;
const NOISE = 'echo "stdout of the rc file"; sh -c "echo its stderr >&2"';

/** What each shell reads at the start, also when it was not started for a person. */
const LOGIN_SHELLS: [Needed, string, string][] = [
  [BASH, '.bashrc', `${NOISE}; printf "no newline"`],
  [DASH, '.profile', NOISE],
  [TCSH, '.cshrc', `${NOISE}; echo -n "no newline"`],
  [FISH, '.config/fish/config.fish', NOISE],
];

function addFile(server: SshServer, name: string, text: string): void {
  const file = path.join(server.seen(server.home), name);
  execFileSync('mkdir', ['-p', path.dirname(file)]);
  writeFileSync(file, `${text}\n`);
  execFileSync('chown', ['-R', server.user, server.seen(server.home)]);
}

describe.each(LOGIN_SHELLS)('with $program as the login shell', (shell, file, noise) => {
  test.each([true, false])(
    'a script is a POSIX script, and what is printed around it is no part of its output (multiplexed: %s)',
    async (multiplex) => {
      skipIfMissing((reason) => expect.soft(reason).toBe(''), shell);
      const server = await startSshServer({
        shell: shell.program,
        banner: 'WELCOME\nPermission denied (this is only a banner)\n',
      });
      onTestFinished(() => server.stop());
      addFile(server, file, noise);
      const transport = openTransport(server, { multiplex });
      const result = await transport.run(`x=${quote(TEXT)}; printf %s "$x"; printf %s "$x" >&2; cat; exit 3`, {
        stdin: ' in',
      });
      expect(result).toEqual({ exitCode: 3, stdout: `${TEXT} in`, stderr: TEXT, isCut: false });
      const local = temporaryDirectory({ up: TEXT });
      await transport.put(path.join(local, 'up'), `/tmp/${TEXT}`);
      await transport.get(`/tmp/${TEXT}`, path.join(local, 'down'));
      expect(await transport.read(`/tmp/${TEXT}`, { offset: 0, limit: 1000 })).toEqual(Buffer.from(TEXT));
    },
  );
});

test('a shell that is none is told as that, with its words', async () => {
  expect(missing(DASH)).toBeUndefined();
  const server = await startSshServer({ shell: '/usr/sbin/nologin' });
  onTestFinished(() => server.stop());
  for (const multiplex of [true, false]) {
    const transport = openTransport(server, { multiplex, tries: 1 });
    await expect(transport.run('echo')).rejects.toMatchObject({ message: expect.stringContaining('not available') });
  }
});
