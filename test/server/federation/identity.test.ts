import { X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { idOf, parseCertificate, whatIsWrong } from '../../../src/server/federation/identity.ts';
import { newIdentity } from '../../support/new-identity.ts';

const DAY = 86_400_000;

test('a server is known by the SHA-256 of its certificate', async () => {
  const { id, certificate } = await newIdentity();
  expect(id).toMatch(/^[0-9a-f]{64}$/);
  expect(id).toBe(idOf(new X509Certificate(certificate)));
  expect(parseCertificate(certificate).id).toBe(id);
  // However it was written: what is kept is one text.
  const loose = `rubbish before\n${certificate.replaceAll('\n', '\r\n')}`;
  expect(parseCertificate(loose)).toEqual(parseCertificate(certificate));
});

test('a sealed secret is opened by who sealed it, by nobody else, and not when it was touched', async () => {
  const [ours, theirs] = await Promise.all([newIdentity(), newIdentity()]);
  const sealed = ours.seal('{"1":"sécret"}');
  expect(sealed).not.toContain('cret');
  expect(ours.seal('{"1":"sécret"}')).not.toBe(sealed);
  expect(ours.open(sealed)).toBe('{"1":"sécret"}');
  expect(() => theirs.open(sealed)).toThrow();
  const touched = Buffer.from(sealed, 'base64url');
  touched[touched.length - 1] = (touched.at(-1) as number) ^ 1;
  expect(() => ours.open(touched.toString('base64url'))).toThrow();
});

test('a certificate that is no longer good, or not yet, or not its own, is refused with the reason', async () => {
  const { certificate } = await newIdentity();
  const good = new X509Certificate(certificate);
  expect(whatIsWrong(good, Date.now())).toBeUndefined();
  expect(whatIsWrong(good, Date.parse(good.validTo) + DAY)).toMatch(/^it expired at/);
  expect(whatIsWrong(good, Date.parse(good.validFrom) - DAY)).toMatch(/is one of the two clocks wrong/);
  const old = await newIdentity(new Date(Date.now() - DAY));
  expect(() => parseCertificate(old.certificate)).toThrow(/it expired/);
  expect(() => parseCertificate('rubbish')).toThrow(/cannot be used/);
});
