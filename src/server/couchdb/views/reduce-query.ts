import type { Reducer } from './builtin-reduce.ts';
import { queryParseError } from './couch-error.ts';
import type { StoredRow } from './index-rows.ts';
import { type Readable, type TextList, textList } from './map-query.ts';
import { compareBytes, toSortKey } from './sort-key.ts';
import type { ViewQuery } from './views.ts';

/** How many elements of an array tell groups apart: none at all (one group), some, or the whole key. */
export type GroupLevel = number | 'exact';

export function groupLevelOf({ group = false, groupLevel, keys }: ViewQuery): GroupLevel {
  const level = groupLevel ?? (group ? 'exact' : 0);
  if (keys !== undefined && level !== 'exact')
    throw queryParseError('Multi-key fetches for reduce views must use `group=true`');
  return level;
}

/** Rows {key, value} as one JSON text. Without rows there is no group, and the answer is empty, as CouchDB has it. */
export function readReduced(
  { rows, ranges, maxCharacters }: Readable,
  query: ViewQuery,
  newReducer: () => Reducer,
): string {
  const { descending = false } = query;
  const level = groupLevelOf(query);
  const groups = groupList(query, textList(maxCharacters));
  for (const range of ranges) {
    let group: Group | undefined;
    for (const row of rows.read(range, { descending, limit: -1, skip: 0 })) {
      if (!group || !belongs(row, group, level)) {
        if (group) groups.add(group);
        group = groups.isFull ? undefined : openGroup(row, level, groups.isSkipping ? undefined : newReducer());
        if (!group) break;
      }
      group.reducer?.add(row);
    }
    if (group) groups.add(group);
    if (groups.isFull) break;
  }
  return groups.end();
}

interface Group {
  /** JSON text. */
  readonly key: string;
  /** The key's text of the first row: where it is the same, nothing needs to be compared. */
  readonly rowKey: string;
  readonly sortKey: Uint8Array;
  /** None for a group that is skipped. */
  readonly reducer: Reducer | undefined;
}

function openGroup(row: StoredRow, level: GroupLevel, reducer: Reducer | undefined): Group {
  if (level === 0) return { key: 'null', rowKey: row.key, sortKey: row.sortKey, reducer };
  const prefix = prefixOf(row, level);
  if (prefix === undefined) return { key: row.key, rowKey: row.key, sortKey: row.sortKey, reducer };
  return { key: JSON.stringify(prefix), rowKey: row.key, sortKey: toSortKey(prefix), reducer };
}

function belongs(row: StoredRow, group: Group, level: GroupLevel): boolean {
  if (level === 0 || row.key === group.rowKey) return true;
  const prefix = prefixOf(row, level);
  return compareBytes(prefix === undefined ? row.sortKey : toSortKey(prefix), group.sortKey) === 0;
}

/** The first elements of an array that has more. */
function prefixOf({ key }: StoredRow, level: GroupLevel): readonly unknown[] | undefined {
  if (level === 'exact' || !key.startsWith('[')) return undefined;
  const elements = JSON.parse(key) as unknown[];
  return elements.length > level ? elements.slice(0, level) : undefined;
}

interface GroupList {
  readonly isSkipping: boolean;
  readonly isFull: boolean;
  add(group: Group): void;
  end(): string;
}

function groupList({ limit = Number.POSITIVE_INFINITY, skip = 0 }: ViewQuery, text: TextList): GroupList {
  let skipped = 0;
  let taken = 0;
  return {
    get isSkipping() {
      return skipped < skip;
    },
    get isFull() {
      return taken >= limit;
    },
    add: ({ key, reducer }) => {
      if (!reducer) {
        skipped++;
        return;
      }
      taken++;
      text.add(`{"key":${key},"value":${reducer.end()}}`);
    },
    end: () => text.end(),
  };
}
