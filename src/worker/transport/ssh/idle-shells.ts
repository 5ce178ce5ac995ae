import type { Shell } from '../shell.ts';

/** Shells that have nothing to do: the next command is spared the opening of one. They end by themselves after a while. */
export interface IdleShells {
  take(): Shell | undefined;
  keep(shell: Shell): void;
  /** Ends a shell that is not kept. Resolves when it is gone, or at once. */
  release(shell: Shell): Promise<void>;
}

const IDLE_MS = 15_000;

export function idleShells(): IdleShells {
  const idle = new Map<Shell, NodeJS.Timeout>();
  const drop = (shell: Shell): void => {
    clearTimeout(idle.get(shell));
    idle.delete(shell);
  };
  return {
    take: () => {
      for (const shell of idle.keys()) {
        drop(shell);
        if (shell.isOpen) return shell;
      }
      return undefined;
    },
    keep: (shell) => {
      if (!shell.isOpen) return;
      const end = (): void => {
        drop(shell);
        shell.end();
      };
      idle.set(shell, setTimeout(end, IDLE_MS).unref());
      void shell.closed.then(() => drop(shell));
    },
    release: async (shell) => {
      if (idle.has(shell)) return;
      shell.end();
      await shell.closed;
    },
  };
}
