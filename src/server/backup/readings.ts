import type { Readable } from 'node:stream';
import { PilotageError } from '../../ground/base/errors.ts';
import type { Snapshot } from '../store/dump/snapshot.ts';
import { readSnapshot } from './read-snapshot.ts';
import type { CopySettings } from './settings.ts';

/**
 * The snapshots that are being read at this server. Each is a thread or a connection, and keeps the database from cleaning
 * up: a copy has one at a time, and there are only a few. The last one is for a backup, whatever exports there are.
 */
export interface Readings {
  /**
   * Whoever asks for a copy's database anew lost the connection, or has no use for what is still on its way: that is ended
   * first. Rejects with `busy` when there are too many.
   */
  read(of: { readonly id: string; readonly isBackup: boolean }, open: () => Promise<Snapshot>): Promise<Readable>;
}

interface Reading {
  readonly isOver: Promise<void>;
  end(): void;
}

export function createReadings(settings: CopySettings): Readings {
  const readings = new Map<string, Reading>();
  return {
    async read({ id, isBackup }, open) {
      const before = readings.get(id);
      const most = isBackup ? settings.readings : settings.readings - 1;
      if (!before && readings.size >= most) throw tooMany(readings.size);
      const over = Promise.withResolvers<void>();
      let stream: Readable | undefined;
      let isEnded = false;
      const reading: Reading = {
        isOver: over.promise,
        end: () => {
          isEnded = true;
          stream?.destroy(replaced());
        },
      };
      const giveBack = (): void => {
        if (readings.get(id) === reading) readings.delete(id);
        over.resolve();
      };
      readings.set(id, reading);
      before?.end();
      await before?.isOver;
      try {
        if (isEnded) throw replaced();
        const snapshot = await open();
        stream = readSnapshot({ ...snapshot, close: () => snapshot.close().finally(giveBack) }, settings);
      } catch (error) {
        giveBack();
        throw error;
      }
      if (!isEnded) return stream;
      stream.destroy();
      throw replaced();
    },
  };
}

function tooMany(count: number): PilotageError {
  return new PilotageError(
    'busy',
    `${count} copies of the database are being read at this server, and no more may be at once: try again when one of them is through`,
  );
}

function replaced(): PilotageError {
  return new PilotageError('interrupted', 'the database of this copy was asked for once more: this reading was ended');
}
