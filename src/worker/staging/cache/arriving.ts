import { createHash, type Hash } from 'node:crypto';
import { chmod, type FileHandle, open, rm } from 'node:fs/promises';
import { systemCode } from '../../../ground/base/errors.ts';

/** A blob on its way to this node. Others may read its file as far as it has come. */
export interface Arriving {
  readonly digest: string;
  readonly file: string;
  readonly received: number;
  /** Once somebody said it. */
  readonly size: number | undefined;
  /** `verified`: it is whole and its digest is right. `failed`: it will not come, or not like this. */
  readonly state: 'coming' | 'verified' | 'failed';
  /** Grows when it begins anew, with another file under the same name. */
  readonly epoch: number;
  /** Resolves when any of this has changed. */
  changed(): Promise<void>;
}

/** The same for the one who fetches it. */
export interface OwnArriving extends Arriving {
  expect(size: number): void;
  append(chunk: Buffer): Promise<void>;
  /** Throws away what came. */
  restart(): Promise<void>;
  isRight(): boolean;
  /** Whatever comes of it, it is over: the file is closed, and `state` says how it went. */
  end(state: 'verified' | 'failed'): Promise<void>;
}

const READ_BYTES = 1 << 20;

/** Opens the file of a blob that is to come. With `resume` what an earlier try left of it counts. */
export async function openArriving(wanted: {
  digest: string;
  file: string;
  resume: boolean;
  expected: (size: number) => void;
}): Promise<OwnArriving> {
  const { digest, file } = wanted;
  let { handle, hash, received } = await (wanted.resume ? resumeFile(file) : newFile(file));
  let size: number | undefined;
  let state: Arriving['state'] = 'coming';
  let epoch = 0;
  let news = Promise.withResolvers<void>();
  const tell = (): void => {
    news.resolve();
    news = Promise.withResolvers<void>();
  };
  return {
    digest,
    file,
    get received() {
      return received;
    },
    get size() {
      return size;
    },
    get state() {
      return state;
    },
    get epoch() {
      return epoch;
    },
    changed: () => news.promise,
    expect: (known) => {
      if (size !== known) wanted.expected(known);
      size = known;
      tell();
    },
    append: async (chunk) => {
      await writeAll(handle, chunk, received);
      hash.update(chunk);
      received += chunk.length;
      tell();
    },
    restart: async () => {
      await handle.close();
      epoch += 1;
      ({ handle, hash, received } = await newFile(file));
      tell();
    },
    isRight: () => (size === undefined || size === received) && hash.copy().digest('hex') === digest,
    end: async (how) => {
      if (state !== 'coming') return;
      state = how;
      tell();
      await handle.close();
    },
  };
}

interface OpenFile {
  handle: FileHandle;
  hash: Hash;
  received: number;
}

async function newFile(file: string): Promise<OpenFile> {
  return { handle: await openNew(file), hash: createHash('sha256'), received: 0 };
}

/** Another file under the same name: who has the old one open goes on with that. */
async function openNew(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'wx+', 0o600);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    await rm(file, { force: true });
    return open(file, 'wx+', 0o600);
  }
}

async function resumeFile(file: string): Promise<OpenFile> {
  try {
    // One that was whole when its process was killed is read-only already.
    await chmod(file, 0o600);
    const handle = await open(file, 'r+');
    return { handle, ...(await hashHandle(handle)) };
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return newFile(file);
    throw error;
  }
}

async function hashHandle(handle: FileHandle): Promise<{ hash: Hash; received: number }> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  for (let at = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return { hash, received: at };
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

/** A disk that is filling up may take a part of it. */
async function writeAll(handle: FileHandle, chunk: Buffer, position: number): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    const { bytesWritten } = await handle.write(chunk, done, chunk.length - done, position + done);
    done += bytesWritten;
  }
}
