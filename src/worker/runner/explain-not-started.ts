import { accessSync, closeSync, constants, existsSync, openSync, readSync, statSync } from 'node:fs';
import path from 'node:path';
import type { FailureReason } from '../../ground/protocol/task-state.ts';

/** Why a program did not start. Without a reason it was not the task's fault but this machine's: another may do it. */
export interface NotStarted {
  readonly reason?: FailureReason;
  readonly message: string;
}

export interface StartTried {
  readonly command: string;
  readonly sandbox: string;
  readonly searchPath: string;
  readonly code: string;
  readonly systemMessage: string;
}

const TOO_LONG =
  'the arguments and environment together are larger than this system takes: put them into an input file';

export function explainNotStarted(tried: StartTried): NotStarted {
  const { command, code, systemMessage } = tried;
  if (code === 'ENOENT' || code === 'ENOTDIR') return explainMissing(tried);
  if (code === 'EACCES' || code === 'ENOEXEC' || code === 'EISDIR') return notExecutable(tried);
  if (code === 'E2BIG') return { reason: 'start-failed', message: `'${command}' could not be started: ${TOO_LONG}` };
  if (code === 'ERR_INVALID_ARG_VALUE' || code === 'EINVAL' || code === 'ENAMETOOLONG' || code === 'ELOOP') {
    return { reason: 'start-failed', message: `'${short(command)}' could not be started: ${systemMessage}` };
  }
  return { message: `this machine could not start '${short(command)}': ${systemMessage}` };
}

function explainMissing(tried: StartTried): NotStarted {
  const file = locate(tried);
  if (file === undefined) return notFound(tried);
  const interpreter = interpreterOf(file);
  const message =
    interpreter === undefined
      ? `'${tried.command}' is there, but what it needs to start is not (the loader or libraries of another system?): use a program made for this machine`
      : `'${tried.command}' is a script for '${interpreter}', which this machine does not have: install it, or correct the script's first line`;
  return { reason: 'command-not-found', message };
}

function notFound({ command, searchPath }: StartTried): NotStarted {
  const message = command.includes('/')
    ? `there is no '${short(command)}'${command.startsWith('/') ? ' on this machine' : " in the task's directory: give it along with --input, or name it by its full path"}`
    : `no program '${short(command)}' in the PATH of the task (${searchPath}): install it on the workers, name it by its full path, or set PATH in the task's env`;
  return { reason: 'command-not-found', message };
}

function notExecutable(tried: StartTried): NotStarted {
  const file = locate(tried) ?? tried.command;
  const message = isDirectory(file)
    ? `'${short(file)}' is a directory, not a program`
    : `'${short(file)}' cannot be executed: make it executable (chmod +x) before it is submitted, or run it with its interpreter ('sh ${path.basename(short(file))}')`;
  return { reason: 'command-not-executable', message };
}

/** Where the command would be found: below the sandbox, or along PATH, as the system looks for it. */
function locate({ command, sandbox, searchPath }: StartTried): string | undefined {
  const candidates = command.includes('/')
    ? [path.resolve(sandbox, command)]
    : searchPath.split(':').map((directory) => path.resolve(sandbox, directory, command));
  return candidates.find(isExecutableFile) ?? candidates.find((file) => existsSync(file));
}

function interpreterOf(file: string): string | undefined {
  try {
    const handle = openSync(file, 'r');
    try {
      const head = Buffer.alloc(256);
      const text = head.toString('utf8', 0, readSync(handle, head, 0, head.length, 0));
      return /^#!\s*(\S+)/.exec(text)?.[1];
    } finally {
      closeSync(handle);
    }
  } catch {
    return undefined;
  }
}

function isDirectory(file: string): boolean {
  try {
    return statSync(file).isDirectory();
  } catch {
    return false;
  }
}

function isExecutableFile(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return !isDirectory(file);
  } catch {
    return false;
  }
}

function short(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
