import { PilotageError } from '../../../ground/base/errors.ts';
import { runVerb, type VerbName } from '../store.ts';
import { steadyClock } from './clock.ts';
import type { SqliteConnection } from './sqlite-db.ts';
import { toStorageError } from './sqlite-errors.ts';

export interface Command {
  readonly id: number;
  readonly verb: VerbName;
  readonly input: unknown;
}

export type Outcome =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: PilotageError };

/** A group is closed after so long, so that a heartbeat does not wait for a large submission. */
const LONGEST_GROUP_MS = 20;

export interface KeptState {
  readonly now: number;
  readonly sequence: number;
}

/**
 * Group commit. What arrives while one transaction is being written goes into the next one together, each command in
 * a savepoint of its own, so that a bad one fails alone. Nothing is answered before the transaction is on disk.
 */
export function createWriter(
  connection: SqliteConnection,
  kept: KeptState,
  answer: (outcomes: readonly Outcome[]) => void,
) {
  const clock = steadyClock(kept.now, { wall: Date.now, monotonic: () => performance.now() });
  const countChanges = connection.raw.prepare('select total_changes() as n');
  const keep = connection.raw.prepare(
    "insert into meta (key, value) values ('kept', ?) on conflict (key) do update set value = excluded.value",
  );
  const totalChanges = () => (countChanges.get() as { n: number }).n;
  const keepState = () => {
    const state: KeptState = { now: connection.db.now, sequence: connection.sequence() };
    keep.run(JSON.stringify(state));
  };
  const queue: Command[] = [];
  let scheduled = false;

  const schedule = () => {
    if (scheduled || queue.length === 0) return;
    scheduled = true;
    setImmediate(() => void writeGroup());
  };

  const writeGroup = async () => {
    const begun = performance.now();
    const outcomes: Outcome[] = [];
    try {
      connection.raw.exec('begin immediate');
      const changes = totalChanges();
      connection.setNow(clock());
      while (queue.length > 0 && performance.now() - begun < LONGEST_GROUP_MS)
        outcomes.push(await runOne(connection, queue.shift() as Command));
      if (totalChanges() !== changes) keepState();
      connection.raw.exec('commit');
      answer(outcomes);
    } catch (error) {
      rollBack(connection);
      const failed = toStorageError(error);
      // If not even a transaction could be begun, what waits is refused too: it would only wait for the same refusal.
      const refused = outcomes.length > 0 ? [] : queue.splice(0);
      answer([
        ...outcomes.map(({ id }) => ({ id, error: failed })),
        ...refused.map(({ id }) => ({ id, error: failed })),
      ]);
    }
    scheduled = false;
    schedule();
  };

  return {
    push(command: Command) {
      queue.push(command);
      schedule();
    },
    get idle() {
      return !scheduled && queue.length === 0;
    },
  };
}

/** Errors of the storage end the whole group: SQLite may have undone the transaction already. */
async function runOne(connection: SqliteConnection, command: Command): Promise<Outcome> {
  connection.raw.exec('savepoint command');
  try {
    const value = await runVerb(connection.db, command.verb, command.input);
    connection.raw.exec('release command');
    return { id: command.id, value };
  } catch (error) {
    const storage = toStorageError(error);
    if (storage.code === 'storage-full' || !connection.raw.isTransaction) throw storage;
    connection.raw.exec('rollback to command');
    connection.raw.exec('release command');
    return { id: command.id, error: error instanceof PilotageError ? error : storage };
  }
}

function rollBack(connection: SqliteConnection): void {
  if (!connection.raw.isTransaction) return;
  connection.raw.exec('rollback');
}
