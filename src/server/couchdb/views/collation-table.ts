/**
 * The order of strings in the root collation of Unicode (ICU's, which CouchDB sorts view keys by), as weights that can
 * be written into a binary key. Node.js has ICU's comparison but not its sort keys, so the weights are worked out from
 * the comparison, once, when a thread first needs them (some 0.3 s).
 *
 * A string is compared by three levels, each over the whole string: letters, then accents, then case. Characters of the
 * tables (all alphabets in common use, signs, emoji) come out as ICU has them; others (Han, rare scripts, unassigned)
 * follow them by code point.
 */

/** What one character adds to the three levels of a string's key. */
export interface Weights {
  /** Ranks of letters; none for an accent or a control character. Several for a character that sorts as several ('æ'). */
  readonly primary: readonly number[];
  readonly secondary: readonly number[];
  readonly tertiary: readonly number[];
}

export interface CollationTable {
  /** Weights of a character of the tables, after canonical decomposition. */
  find(character: string): Weights | undefined;
}

/** The lowest weight of the second and third level: an ordinary letter. */
export const COMMON = 2;

const RANGES: ReadonlyArray<readonly [number, number]> = [
  [0x0000, 0xabff],
  [0xf900, 0xfffd],
  [0x1d400, 0x1d7ff],
  [0x1f000, 0x1faff],
];

/** 'en' has no rules of its own: it is the root collation whatever the environment's language is. */
const BASE = new Intl.Collator('en', { sensitivity: 'base' });
const ACCENT = new Intl.Collator('en', { sensitivity: 'accent' });
const VARIANT = new Intl.Collator('en', { sensitivity: 'variant' });

let table: CollationTable | undefined;

export function collationTable(): CollationTable {
  table ??= makeTable();
  return table;
}

function makeTable(): CollationTable {
  const characters = assignedCharacters();
  const known = new Map<string, Weights>();
  const marks = weighMarks(
    characters.filter((character) => BASE.compare(character, '') === 0),
    known,
  );
  const letters = characters.filter((character) => BASE.compare(character, '') !== 0);
  const groups = toGroups(letters, BASE);
  const simple = lettersOfTheirOwn(groups);
  for (const members of groups) {
    const ranks = toLetters(members[0]!, simple);
    weighGroup({ members, ranks }, { parts: ranks.map((rank) => simple[rank]!), marks, known });
  }
  return { find: (character) => known.get(character) };
}

interface Group {
  readonly members: readonly string[];
  readonly ranks: readonly number[];
}

/** Characters that a canonical decomposition leaves alone: the others never reach the table. */
function assignedCharacters(): string[] {
  const found: string[] = [];
  for (const [first, last] of RANGES) {
    for (let code = first; code <= last; code++) {
      const character = String.fromCodePoint(code);
      if (!/[\p{Cn}\p{Co}\p{Cs}]/u.test(character) && character.normalize('NFD') === character) found.push(character);
    }
  }
  return found;
}

/** Sorted, and cut where the comparison says that something differs. */
function toGroups(characters: readonly string[], collator: Intl.Collator): string[][] {
  const groups: string[][] = [];
  for (const character of [...characters].sort((a, b) => collator.compare(a, b) || VARIANT.compare(a, b))) {
    const last = groups.at(-1);
    if (last && collator.compare(last[0]!, character) === 0) last.push(character);
    else groups.push([character]);
  }
  return groups;
}

/** Marks in their order, and the weight of each. */
type Marks = ReadonlyArray<{ readonly mark: string; readonly weight: number }>;

/** Room between two marks for what sorts between them. */
const GAP = 8;

/** Accents weigh on the second level only; what ICU ignores altogether weighs nothing. */
function weighMarks(ignored: readonly string[], known: Map<string, Weights>): Marks {
  const marks: Array<{ mark: string; weight: number }> = [];
  toGroups(ignored, ACCENT).forEach((members, rank) => {
    const nothing = ACCENT.compare(members[0]!, '') === 0;
    const weight = COMMON + GAP * (rank + 1);
    if (!nothing) marks.push({ mark: members[0]!, weight });
    toGroups(members, VARIANT).forEach((same, tertiary) => {
      const weights = nothing
        ? { primary: [], secondary: [], tertiary: [] }
        : { primary: [], secondary: [weight], tertiary: [COMMON + tertiary] };
      for (const character of same) known.set(character, weights);
    });
  });
  return marks;
}

/** The highest of all characters: whatever begins with a letter sorts before that letter followed by it. */
const HIGHEST = '\uffff';

/** One character for each letter. What sorts as several letters ('æ') begins with the letter before it. */
function lettersOfTheirOwn(groups: readonly string[][]): string[] {
  const simple: string[] = [];
  for (const [character] of groups) {
    const last = simple.at(-1);
    if (last === undefined || BASE.compare(character!, last + HIGHEST) > 0) simple.push(character!);
  }
  return simple;
}

/** The places of the letters that a character is made of for ICU: its own, or several. */
function toLetters(character: string, simple: readonly string[]): number[] {
  const ranks: number[] = [];
  for (let prefix = ''; ranks.length < 24; prefix += simple[ranks.at(-1)!]) {
    const at = lastNotAfter(prefix, character, simple);
    if (at < 0) break;
    ranks.push(at);
    if (BASE.compare(prefix + simple[at], character) === 0) break;
  }
  return ranks;
}

function lastNotAfter(prefix: string, character: string, simple: readonly string[]): number {
  let low = 0;
  let high = simple.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (BASE.compare(prefix + simple[middle], character) <= 0) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

interface GroupPlace {
  /** The plainest character of each letter. */
  readonly parts: readonly string[];
  readonly marks: Marks;
  readonly known: Map<string, Weights>;
}

/** Characters with the same letters: told apart by accent, then by case. */
function weighGroup({ members, ranks }: Group, { parts, marks, known }: GroupPlace): void {
  const plain = parts.join('');
  const common = parts.slice(1).map(() => COMMON);
  for (const same of toGroups(members, ACCENT)) {
    const mark = ACCENT.compare(plain, same[0]!) === 0 ? [] : [markOf(parts, same[0]!, marks)];
    const plainest = mark.length === 0 && VARIANT.compare(plain, same[0]!) === 0;
    toGroups(same, VARIANT).forEach((equal, rank) => {
      const weights = {
        primary: ranks,
        secondary: [COMMON, ...mark, ...common],
        tertiary: [COMMON + rank + (plainest ? 0 : 1), ...mark.map(() => COMMON), ...common],
      };
      for (const character of equal) known.set(character, weights);
    });
  }
}

/** 'ø' is an o with a stroke for ICU, though Unicode does not decompose it; 'æ' sorts like an a with a mark of its own. */
function markOf([first, ...others]: readonly string[], character: string, marks: Marks): number {
  const rest = others.join('');
  let low = 0;
  let high = marks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const order = ACCENT.compare(first + marks[middle]!.mark + rest, character);
    if (order === 0) return marks[middle]!.weight;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return (marks[low - 1]?.weight ?? COMMON) + 1;
}
