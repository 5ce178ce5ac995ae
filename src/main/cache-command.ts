import {
  type CachedBlob,
  type CacheView,
  listCache,
  type Pruned,
  pruneCache,
  showCache,
} from '../worker/staging/cache/inspect-cache.ts';
import { usualWorkDirectory } from './usual-work-directory.ts';

/** What `pilotage cache` asks of a work directory, the usual one unless named. */
export const cacheCommands = {
  show: (directory = usualWorkDirectory()): Promise<CacheView> => showCache(directory),
  list: (directory = usualWorkDirectory()): Promise<CachedBlob[]> => listCache(directory),
  prune: (bytes: number, directory = usualWorkDirectory()): Promise<Pruned> => pruneCache(directory, bytes),
};
