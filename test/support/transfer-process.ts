/** `serve DIR`, `up URL FILE` or `down URL DIGEST FILE`: one side of a transfer in a process of its own, which tells its peak memory. */
import { createClient } from '../../src/ground/client/client.ts';
import { downloadFile } from '../../src/ground/client/download.ts';
import { httpTransport } from '../../src/ground/client/http-transport.ts';
import { uploadFile } from '../../src/ground/client/upload.ts';
import { openBlobs } from '../../src/server/blobs/blobs.ts';
import { startBlobServer } from './blob-server.ts';

const [, , what, where = '', first = '', second = ''] = process.argv;
const tell = (facts: object): void => void process.stdout.write(`${JSON.stringify(facts)}\n`);
const peakMb = (): number => process.resourceUsage().maxRSS / 1024;

if (what === 'serve') {
  const { url } = await startBlobServer(await openBlobs(where));
  tell({ url });
  process.on('SIGTERM', () => {
    tell({ peakMb: peakMb() });
    process.exit();
  });
} else {
  const client = createClient(httpTransport({ url: where }), () => 'token');
  const store = { client, project: 'default' };
  if (what === 'up') tell({ digest: (await uploadFile(store, first)).digest, peakMb: peakMb() });
  else tell({ digest: (await downloadFile(store, { digest: first }, second)).digest, peakMb: peakMb() });
  client.close();
}
