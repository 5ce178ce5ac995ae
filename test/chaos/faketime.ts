import { existsSync, readdirSync } from 'node:fs';

/** The library that `faketime` preloads. */
export function findFaketime(): string {
  const found = readdirSync('/usr/lib').flatMap((name) => {
    const file = `/usr/lib/${name}/faketime/libfaketimeMT.so.1`;
    return existsSync(file) ? [file] : [];
  });
  if (found[0] === undefined) throw new Error('libfaketimeMT.so.1 is not below /usr/lib: apt-get install faketime');
  return found[0];
}
