import type { Reducer } from './builtin-reduce.ts';
import type { Reduce } from './mapper.ts';

const ROWS_PER_CALL = 4000;
const CHARACTERS_PER_CALL = 512 * 1024;
const REDUCTIONS_PER_CALL = 100;

/** Feeds a design document's own reduce function in batches, and reduces what comes out again. */
export function ownReducer(reduce: Reduce): Reducer {
  let keys: string[] = [];
  let values: string[] = [];
  let characters = 0;
  let reductions: string[] = [];

  function reduceRows(): void {
    if (values.length === 0) return;
    reductions.push(reduce(`[${keys.join(',')}]`, `[${values.join(',')}]`, false));
    keys = [];
    values = [];
    characters = 0;
    if (reductions.length >= REDUCTIONS_PER_CALL) reductions = [reduce('', `[${reductions.join(',')}]`, true)];
  }

  return {
    add: ({ document, key, value }) => {
      keys.push(`[${key},${JSON.stringify(document)}]`);
      values.push(value);
      characters += key.length + document.length + value.length;
      if (values.length >= ROWS_PER_CALL || characters >= CHARACTERS_PER_CALL) reduceRows();
    },
    end: () => {
      reduceRows();
      return reductions.length === 1 ? reductions[0]! : reduce('', `[${reductions.join(',')}]`, true);
    },
  };
}
