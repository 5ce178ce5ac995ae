import { closeSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { LOG_FILE } from '../../ground/content/file-parameters.ts';
import type { Logger, LogLevel, LogTarget } from './define-service.ts';

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warning', 'error', 'critical'];

export interface FrameworkLog extends Logger {
  /** Nothing of it stays open. */
  close(): void;
}

/** The log of one hook: the file is made with its first line. A line that cannot be written is no reason to fail. */
export function openFrameworkLog(directory: string | null, target: LogTarget, now: () => Date): FrameworkLog {
  const least = LEVELS.indexOf(target.level ?? 'warning');
  const file = directory === null ? undefined : path.resolve(directory, target.file ?? LOG_FILE);
  let open: number | undefined;
  const write = (level: LogLevel, message: string): void => {
    if (LEVELS.indexOf(level) < least) return;
    const line = `${now().toISOString()} ${level.toUpperCase()} ${message}\n`;
    if (target.write) target.write(line);
    else if (file === undefined) process.stderr.write(line);
    else writeTo(file, line);
  };
  const writeTo = (file: string, line: string): void => {
    try {
      open ??= openSync(file, 'a');
      writeSync(open, line);
    } catch (error) {
      process.stderr.write(`'${file}' cannot be written (${(error as Error).message}): ${line}`);
    }
  };
  const at =
    (level: LogLevel) =>
    (message: string): void =>
      write(level, message);
  return {
    debug: at('debug'),
    info: at('info'),
    warning: at('warning'),
    error: at('error'),
    critical: at('critical'),
    close() {
      if (open !== undefined) closeSync(open);
      open = undefined;
    },
  };
}
