import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a real program printed. The file's first line names program, version and date, and is no part of it. */
export function captured(name: string): string {
  const text = readFileSync(join(import.meta.dirname, '../../fixtures/scheduler', name), 'utf8');
  return text.slice(text.indexOf('\n') + 1);
}
