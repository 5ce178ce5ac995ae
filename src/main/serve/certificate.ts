import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';

export interface Certificate {
  readonly cert: string;
  readonly key: string;
  /** SHA-256 of the certificate, as clients pin it. */
  readonly fingerprint: string;
}

export function readCertificate(certFile: string, keyFile: string): Certificate {
  try {
    const cert = readFileSync(certFile, 'utf8');
    const key = readFileSync(keyFile, 'utf8');
    return { cert, key, fingerprint: new X509Certificate(cert).fingerprint256 };
  } catch (error) {
    throw new PilotageError(
      'bad-request',
      `cannot use the certificate ${certFile} with the key ${keyFile} (${messageOf(error)}): give PEM files with --tls-cert and --tls-key`,
      { cause: error },
    );
  }
}
