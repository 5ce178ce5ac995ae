/** A worker in a process of its own, for tests that kill it: one JSON argument says where its server and directory are. */
import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { runWorker } from '../../src/main/worker-command.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as { url: string; workDirectory: string };
await mkdir(options.workDirectory, { recursive: true });
const tokenFile = path.join(options.workDirectory, 'token');
writeFileSync(tokenFile, 'token\n', { mode: 0o600 });
process.exitCode = await runWorker({
  version: 'test',
  server: options.url,
  tokenFile,
  slots: 2,
  verbosity: 0,
  ...options,
});
