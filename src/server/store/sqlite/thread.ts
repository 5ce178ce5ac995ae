/** The threads of an embedded database: one writer, and one reader that never makes it wait. */
import { parentPort, workerData } from 'node:worker_threads';
import type { PilotageError } from '../../../ground/base/errors.ts';
import { runVerb } from '../store.ts';
import { steadyClock } from './clock.ts';
import { connect, type SqliteConnection } from './sqlite-db.ts';
import { toStorageError } from './sqlite-errors.ts';
import { type Command, createWriter, type KeptState, type Outcome } from './writer.ts';

const port = parentPort;
if (!port) throw new Error('thread.ts is started by open-sqlite.ts');
const { file, role } = workerData as { file: string; role: 'writer' | 'reader' };

const kept = keptState(file);
const connection = connect(file, { readOnly: role === 'reader', sequence: kept.sequence });
if (role === 'writer') configureWriter(connection);
let writer: ReturnType<typeof createWriter> | undefined;
const push = role === 'writer' ? startWriter() : startReader();
port.on('message', (message: Command | 'close') => {
  if (message === 'close') void close();
  else push(message);
});
port.postMessage('ready');

function startWriter(): (command: Command) => void {
  writer = createWriter(connection, kept, answer);
  return writer.push;
}

function startReader(): (command: Command) => void {
  const clock = steadyClock(kept.now, { wall: Date.now, monotonic: () => performance.now() });
  connection.raw.exec('pragma cache_size = -8000');
  return (command) => {
    connection.setNow(clock());
    runVerb(connection.db, command.verb, command.input).then(
      (value) => answer([{ id: command.id, value }]),
      (error: unknown) => answer([{ id: command.id, error: toStorageError(error) }]),
    );
  };
}

function configureWriter({ raw }: SqliteConnection): void {
  raw.exec('pragma synchronous = full');
  raw.exec('pragma cache_size = -16000');
  raw.exec('pragma wal_autocheckpoint = 4000');
}

function keptState(path: string): KeptState {
  const reader = connect(path, { readOnly: true, sequence: 0 });
  const row = reader.raw.prepare("select value from meta where key = 'kept'").get() as { value: string } | undefined;
  reader.close();
  return row ? (JSON.parse(row.value) as KeptState) : { now: 0, sequence: 0 };
}

/** Errors do not cross threads whole: their code, message and details do. */
function answer(outcomes: readonly Outcome[]): void {
  port?.postMessage(
    outcomes.map((outcome) =>
      'error' in outcome
        ? {
            id: outcome.id,
            failed: {
              code: outcome.error.code,
              message: outcome.error.message,
              details: outcome.error.details,
              trace: traceOf(outcome.error),
            },
          }
        : outcome,
    ),
  );
}

function traceOf(error: PilotageError): string {
  return error.cause instanceof Error ? (error.cause.stack ?? '') : '';
}

async function close(): Promise<void> {
  while (writer && !writer.idle) await new Promise((resolve) => setImmediate(resolve));
  if (role === 'writer') connection.raw.exec('pragma optimize');
  connection.close();
  port?.postMessage('closed');
  port?.close();
}
