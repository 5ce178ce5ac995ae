import { existsSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import selfsigned from 'selfsigned';
import { type Certificate, readCertificate } from './certificate.ts';

const TEN_YEARS_MS = 3650 * 86_400_000;

/** A certificate of one's own, kept in the data directory; clients know it by its fingerprint. */
export async function selfMadeCertificate(directory: string): Promise<Certificate> {
  const certFile = join(directory, 'tls-cert.pem');
  const keyFile = join(directory, 'tls-key.pem');
  if (!existsSync(certFile) || !existsSync(keyFile)) {
    const made = await selfsigned.generate([{ name: 'commonName', value: hostname() }], {
      keyType: 'ec',
      notAfterDate: new Date(Date.now() + TEN_YEARS_MS),
      extensions: [
        {
          name: 'subjectAltName',
          altNames: [
            { type: 2, value: hostname() },
            { type: 2, value: 'localhost' },
            { type: 7, ip: '127.0.0.1' },
          ],
        },
      ],
    });
    writeFileSync(keyFile, made.private, { mode: 0o600 });
    writeFileSync(certFile, made.cert, { mode: 0o644 });
  }
  return readCertificate(certFile, keyFile);
}
