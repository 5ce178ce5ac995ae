import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { messageOf, PilotageError, systemCode } from '../../../ground/base/errors.ts';
import type { Owner } from './site-files.ts';

/** Others may read what the installation says. */
const NEW_FILE: Readonly<Record<Owner, number>> = { user: 0o600, installation: 0o644 };

/** Puts the text in place of the file, which stays as `FILE.bak`, with the mode that it had. It is whole or not there. */
export function saveFile(file: string, text: string, owner: Owner): void {
  orSayWhy(file, owner, () => {
    mkdirSync(path.dirname(file), { recursive: true, mode: owner === 'user' ? 0o700 : 0o755 });
    const { real, before, mode } = lookAt(file, owner);
    if (before !== undefined) write(`${real}.bak`, before, mode);
    write(real, Buffer.from(text), mode);
  });
}

/** Takes the file away; it stays as `FILE.bak`. */
export function removeFile(file: string, owner: Owner): void {
  orSayWhy(file, owner, () => renameSync(file, `${file}.bak`));
}

/** A link stays one. */
function lookAt(file: string, owner: Owner): { real: string; before?: Buffer; mode: number } {
  try {
    const real = realpathSync(file);
    return { real, before: readFileSync(real), mode: statSync(real).mode & 0o777 };
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    return { real: file, mode: NEW_FILE[owner] };
  }
}

function write(file: string, bytes: Buffer, mode: number): void {
  const fresh = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}`);
  try {
    const handle = openSync(fresh, 'wx', mode);
    try {
      writeSync(handle, bytes);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(fresh, file);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
}

function orSayWhy(file: string, owner: Owner, act: () => void): void {
  try {
    act();
  } catch (error) {
    const mayNot = ['EACCES', 'EPERM', 'EROFS'].includes(systemCode(error) ?? '');
    const advice =
      mayNot && owner === 'installation'
        ? 'only who keeps the installation may change it; your own file is written with --for user'
        : 'look at its permissions and the room on that disk';
    throw new PilotageError(
      mayNot ? 'forbidden' : 'bad-request',
      `'${file}' cannot be written (${messageOf(error)}): ${advice}. Nothing was changed`,
      { cause: error },
    );
  }
}
