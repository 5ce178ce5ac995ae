/** A process of its own that holds a connection, to be killed. Its only argument: the options as JSON. */
import { type SshOptions, sshTransport } from '../../src/worker/transport/ssh/ssh-transport.ts';

const transport = sshTransport({
  timeoutMs: 5000,
  tries: 1,
  ask: async () => undefined,
  environment: process.env,
  ...(JSON.parse(process.argv[2] as string) as Pick<SshOptions, 'machine' | 'controlDirectory'>),
});
await transport.run('echo');
process.stdout.write('connected\n');
// Long enough for every test, and no longer than that if nobody kills it.
await transport.run('sleep 300').catch(() => {});
await transport.close();
