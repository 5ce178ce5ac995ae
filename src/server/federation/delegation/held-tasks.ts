import type { LiveTask, LocalKey } from './live-task.ts';

/** What the neighbour calls an attempt. */
export interface RemoteKey {
  readonly task: string;
  readonly attempt: number;
}

/**
 * Everything that is here of one neighbour: live, until the neighbour has its end; leaving, until our pool has put it away.
 *
 *   claimed ──stored──▶ placed ──ended, answered──▶ leaving ──put away──▶ (gone)
 */
export interface HeldTasks {
  /** Those of which the neighbour is still to be told. */
  readonly live: ReadonlyMap<string, LiveTask>;
  add(task: LiveTask): void;
  find(key: RemoteKey): LiveTask | undefined;
  /** It is stored there. Undefined: nobody knows of it. */
  place(key: RemoteKey, local: LocalKey): LiveTask | undefined;
  /** Live or leaving. */
  at(local: LocalKey): LiveTask | undefined;
  /** The neighbour has its end, or wants it no longer. Returns whether it was live. */
  leave(key: RemoteKey): boolean;
  readonly leavingCount: number;
  takeLeaving(): LiveTask[];
  /** They could not be put away. */
  putBack(tasks: readonly LiveTask[]): void;
  forget(keys: readonly LocalKey[]): void;
}

export function createHeldTasks(): HeldTasks {
  const live = new Map<string, LiveTask>();
  const byPlace = new Map<string, LiveTask>();
  let leaving: LiveTask[] = [];
  return {
    live,
    add(task) {
      live.set(remoteName(task.claim), task);
      if (task.local) byPlace.set(localName(task.local), task);
    },
    find: (key) => live.get(remoteName(key)),
    place(key, local) {
      const task = live.get(remoteName(key)) ?? leaving.find(({ claim }) => remoteName(claim) === remoteName(key));
      if (!task) return undefined;
      task.local = local;
      byPlace.set(localName(local), task);
      return task;
    },
    at: (local) => byPlace.get(localName(local)),
    leave(key) {
      const task = live.get(remoteName(key));
      if (!task) return false;
      live.delete(remoteName(key));
      leaving.push(task);
      return true;
    },
    get leavingCount() {
      return leaving.length;
    },
    takeLeaving() {
      const tasks = leaving;
      leaving = [];
      return tasks;
    },
    putBack(tasks) {
      leaving.push(...tasks.filter(({ local }) => local && byPlace.has(localName(local))));
    },
    forget(keys) {
      for (const key of keys) byPlace.delete(localName(key));
    },
  };
}

function remoteName({ task, attempt }: RemoteKey): string {
  return `${task}/${attempt}`;
}

export function localName({ submission, idx }: LocalKey): string {
  return `${submission}.${idx}`;
}
