import { distance } from 'fastest-levenshtein';

/** The known word that was probably meant, if one is near enough. */
export function findNearest(word: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((candidate) => ({ candidate, steps: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.steps - b.steps);
  const [best] = ranked;
  return best && best.steps <= Math.max(1, Math.floor(word.length / 3)) ? best.candidate : undefined;
}

/** `: did you mean 'command'?`, or what is known when nothing is near. */
export function hintOf(word: string, known: readonly string[]): string {
  const nearest = findNearest(word, known);
  if (nearest !== undefined) return `: did you mean '${nearest}'?`;
  return known.length === 0 ? '' : `: known are ${known.join(', ')}`;
}
