import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from './temporary-directory.ts';

/** A service's directory: its module and its file. */
export function serviceHome(module: string, config = ''): string {
  const home = temporaryDirectory({ 'service.ts': module });
  writeFileSync(path.join(home, 'service.yaml'), config);
  mkdirSync(path.join(home, 'incoming'), { recursive: true });
  return home;
}

/** Names in a directory; none when it is not there. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}
