import { PilotageError } from '../../../ground/base/errors.ts';

export interface UnitFacts {
  readonly homes: readonly string[];
  readonly server: string;
  readonly tokenFile: string;
  readonly fingerprint?: string;
  readonly user: string;
  readonly program: string;
}

/** A systemd unit (systemd.service(5)) for the hosts of services. */
export function serviceUnit({ homes, server, tokenFile, fingerprint, user, program }: UnitFacts): string {
  const flags = [
    '--server',
    server,
    '--token-file',
    tokenFile,
    ...(fingerprint === undefined ? [] : ['--fingerprint', fingerprint]),
  ];
  const words = [program, ...flags, 'service', 'run', ...homes].map(unitWord);
  return `[Unit]
Description=Pilotage services in ${homes.join(', ').replaceAll('%', '%%')}
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=${words.join(' ')}
User=${user}
Restart=on-failure
RestartSec=10
KillMode=mixed
TimeoutStopSec=60

[Install]
WantedBy=multi-user.target
`;
}

/** A word of ExecStart: quoted as systemd reads it, with what it would expand doubled. */
function unitWord(text: string): string {
  if (/[\n\r]/.test(text))
    throw new PilotageError('bad-request', `'${text}' has a line break, which a systemd unit cannot hold: rename it`);
  const plain = text.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w@%+=:,./-]+$/.test(text) ? plain : `"${plain.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
