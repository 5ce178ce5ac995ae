/** A reader of its own for one snapshot: it keeps the state that it saw first, while the writer goes on. */
import { parentPort, workerData } from 'node:worker_threads';
import type { DumpWish, Row, Still } from '../dump/snapshot.ts';
import { writeDump } from '../dump/write-dump.ts';
import type { Sql } from '../sql.ts';
import { connect } from './sqlite-db.ts';

const port = parentPort;
if (!port) throw new Error('snapshot-thread.ts is started by open-snapshot.ts');
const { file, wish } = workerData as { file: string; wish: DumpWish };
const BATCH_ROWS = 500;

const connection = connect(file, { readOnly: true, sequence: 0 });
connection.raw.exec('begin');
// Only the first look fixes the moment.
connection.raw.prepare('select count(*) as n from meta').get();
connection.setNow(Date.now());
const still: Still = { db: connection.db, batches };
const pieces = writeDump(still, wish);
port.on('message', (wish: 'next' | 'close') => {
  if (wish === 'next') return void next();
  // Orderly: what it saw is to be cleaned up from now on.
  connection.close();
  port.close();
});
port.postMessage('ready');

async function next(): Promise<void> {
  const { value, done } = await pieces.next();
  if (done) return port?.postMessage('end');
  const bytes = new TextEncoder().encode(value);
  port?.postMessage(bytes, [bytes.buffer]);
}

async function* batches(statement: Sql): AsyncGenerator<readonly Row[]> {
  const prepared = connection.raw.prepare(statement.texts.join('?'));
  prepared.setReturnArrays(true);
  let batch: Row[] = [];
  for (const row of prepared.iterate(...(statement.values as (string | number | null)[]))) {
    batch.push(row as unknown as Row);
    if (batch.length < BATCH_ROWS) continue;
    yield batch;
    batch = [];
  }
  yield batch;
}
