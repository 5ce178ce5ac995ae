import { execFile } from 'node:child_process';
import { PilotageError } from '../../../ground/base/errors.ts';
import type { Client } from './client.ts';

/** A port there that leads to an address as it is reached from here. */
export interface Forward {
  /** `localhost`, or `*`: for other machines too, where sshd allows that (GatewayPorts). */
  readonly bind: 'localhost' | '*';
  /** 0: any free one. */
  readonly port: number;
  readonly host: string;
  readonly hostPort: number;
}

const TIMEOUT_MS = 20_000;

/** Asks the master of a connection for it; asking for one that is there changes nothing. Resolves with the port. */
export function requestForward(
  client: Pick<Client, 'program' | 'forward'>,
  socket: string,
  { bind, port, host, hostPort }: Forward,
): Promise<number> {
  const to = host.includes(':') ? `[${host}]` : host;
  const words = client.forward(socket, `${bind}:${port}:${to}:${hostPort}`);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  execFile(client.program, words, { timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
    const given = Number(/^(?:Allocated port )?(\d+)/m.exec(stdout)?.[1] ?? port);
    if (!error && given > 0) return resolve(given);
    const said = stderr.trim() || (error?.message ?? 'it named no port');
    reject(
      new PilotageError(
        'unreachable',
        `no port there could be led to ${to}:${hostPort} here (${said}): does its sshd allow that (AllowTcpForwarding)?`,
      ),
    );
  });
  return promise;
}
