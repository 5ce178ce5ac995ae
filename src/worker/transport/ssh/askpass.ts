/** Where ssh's questions arrive: ssh starts a small program, which asks over a socket. Answers go no other way. */
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { quote } from '../quote.ts';

export interface Askpass {
  /** For SSH_ASKPASS. */
  readonly program: string;
  /** Its files are there: they lie where old ones are cleaned away. */
  isWhole(): boolean;
  close(): void;
}

export interface Asked {
  readonly prompt: string;
  /** Only told: nothing is to be answered (a security key waits to be touched). */
  readonly isNotice: boolean;
}

/** Beside this module, compiled or not. */
const PROGRAM = fileURLToPath(
  new URL(`./askpass-program.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url),
);

/** @param name of the files, without their endings, in a directory that is the user's alone. */
export async function startAskpass(
  name: string,
  answer: (asked: Asked) => Promise<string | undefined>,
): Promise<Askpass> {
  const [socketPath, program] = [`${name}.ask`, `${name}.sh`];
  const serve = async (socket: Socket): Promise<void> => {
    const { prompt, type } = JSON.parse(await text(socket)) as { prompt: string; type: string };
    const given = await answer({ prompt, isNotice: type === 'none' });
    socket.end(JSON.stringify(given === undefined ? {} : { answer: given }));
  };
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    serve(socket).catch(() => socket.destroy());
  });
  mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o700 });
  server.listen(socketPath);
  await once(server, 'listening');
  chmodSync(socketPath, 0o600);
  const command = [process.execPath, '--no-warnings', PROGRAM, socketPath].map(quote).join(' ');
  writeFileSync(program, `#!/bin/sh\nexec ${command} "$SSH_ASKPASS_PROMPT" "$1"\n`, { mode: 0o700 });
  server.unref();
  return {
    program,
    isWhole: () => existsSync(program) && existsSync(socketPath),
    close: () => {
      server.close();
      for (const file of [socketPath, program]) rmSync(file, { force: true });
    },
  };
}
