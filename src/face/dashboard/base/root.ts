/** Where the server's pages begin: '' at the root of a host, or a path below which somebody shows them: `/pilotage`. */
export function rootOf(scriptUrl: string): string {
  return /^(.*)\/assets\/[^/]+$/.exec(new URL(scriptUrl).pathname)?.[1] ?? '';
}

/** The script knows where it came from. */
export const ROOT = rootOf(import.meta.url);
