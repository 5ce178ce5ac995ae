import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  hkdfSync,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import { messageOf, PilotageError } from '../../ground/base/errors.ts';

/** What a server is known by: a key and a certificate. Its id is the SHA-256 of the certificate, in hex. */
export interface Identity {
  readonly id: string;
  /** PEM. */
  readonly certificate: string;
  /** PEM. */
  readonly key: string;
  /** Makes a secret fit for the database: nobody opens it without the key, which is not there. */
  seal(secret: string): string;
  open(sealed: string): string;
}

export function createIdentity(certificate: string, key: string): Identity {
  const raw = createPrivateKey(key).export({ type: 'pkcs8', format: 'der' });
  const sealKey = Buffer.from(hkdfSync('sha256', raw, '', 'pilotage: secrets of attempts', 32));
  return {
    id: idOf(new X509Certificate(certificate)),
    certificate,
    key,
    seal(secret) {
      const nonce = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', sealKey, nonce);
      const sealed = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url');
    },
    open(sealed) {
      const bytes = Buffer.from(sealed, 'base64url');
      const decipher = createDecipheriv('aes-256-gcm', sealKey, bytes.subarray(0, 12));
      decipher.setAuthTag(bytes.subarray(12, 28));
      return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8');
    },
  };
}

export function idOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

/** The certificate of another server, as it came in a request. Nothing that cannot be a neighbour's is taken in. */
export function parseCertificate(pem: string): { readonly id: string; readonly certificate: string } {
  try {
    const certificate = new X509Certificate(pem);
    const problem = whatIsWrong(certificate, Date.now());
    if (problem) throw new Error(problem);
    return { id: idOf(certificate), certificate: certificate.toString() };
  } catch (error) {
    throw new PilotageError(
      'bad-request',
      `the certificate of the other server cannot be used: ${messageOf(error)}. Has it a newer or a damaged Pilotage?`,
      { cause: error },
    );
  }
}

/** Undefined: nothing. */
export function whatIsWrong(certificate: X509Certificate, now: number): string | undefined {
  const { validFrom, validTo } = certificate;
  if (now > Date.parse(validTo)) return `it expired at ${validTo}`;
  if (now < Date.parse(validFrom)) return `it is good from ${validFrom} on only: is one of the two clocks wrong?`;
  // What is not signed with its own key could carry somebody else's.
  if (!certificate.verify(certificate.publicKey)) return 'its signature is not its own';
  return undefined;
}
