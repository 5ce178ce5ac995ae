import { statfs } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../ground/base/errors.ts';
import type { Log } from '../../ground/base/log.ts';
import { formatSize } from '../../ground/base/size.ts';
import type { ServiceConfig } from './read-config.ts';

/** Of the disk on which jobs run. */
export interface Room {
  /** Resolves when there is as much as the service wants before it begins a job. */
  await(signal: AbortSignal): Promise<void>;
  /** Is there as much now? */
  isThere(): Promise<boolean>;
}

const LOOK_MS = 5000;

export function createRoom({ directories, freeDisk }: Pick<ServiceConfig, 'directories' | 'freeDisk'>, log: Log): Room {
  const where = directories.RUNNING;
  let isTold = false;
  const lacks = async (): Promise<boolean> => {
    try {
      const { bavail, bsize } = await statfs(where);
      const free = bavail * bsize;
      if (free >= freeDisk) return false;
      if (!isTold)
        log.warn(
          {},
          `the disk of '${where}' has ${formatSize(free)} left, less than ${formatSize(freeDisk)}: no job is begun until there is room`,
        );
    } catch (error) {
      if (!isTold)
        log.warn({}, `the room on the disk of '${where}' cannot be seen, no job is begun: ${messageOf(error)}`);
    }
    return true;
  };
  return {
    isThere: async () => freeDisk === 0 || !(await lacks()),
    async await(signal) {
      if (freeDisk === 0) return;
      while (await lacks()) {
        isTold = true;
        await pause(LOOK_MS, undefined, { signal });
      }
      if (isTold) log.info({}, `there is room on the disk of '${where}' again`);
      isTold = false;
    },
  };
}
