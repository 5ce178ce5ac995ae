/** Workers of one zone feed each other: who has which blob, and the tickets with which they ask each other. */
import Type from 'typebox';
import { Bytes, closed, DigestText, Name } from './schema.ts';

/** Where a worker serves its cache, the address most likely to be reached first: `http://10.0.0.7:41234`. */
export const ShareAddresses = Type.Array(Type.String({ pattern: '^http://', maxLength: 256 }), {
  minItems: 1,
  maxItems: 16,
});

/** What became of a holder that the server had named. */
export const HolderFault = closed({
  holder: Type.String({ maxLength: 64 }),
  /** `gone`: it no longer has the blob. The others leave it out for a while. */
  what: Type.Union([
    Type.Literal('gone'),
    Type.Literal('unreachable'),
    Type.Literal('slow'),
    Type.Literal('wrong-bytes'),
  ]),
});
export type HolderFault = Type.Static<typeof HolderFault>;

/** A worker asks whom to fetch a blob from. It counts as fetching it from then on, and may be named to others. */
export const SourceRequest = closed({
  project: Name,
  digest: DigestText,
  faults: Type.Optional(Type.Array(HolderFault, { maxItems: 100 })),
  /** Name the server: peers were tried often enough. */
  serverOnly: Type.Optional(Type.Boolean()),
});
export type SourceRequest = Type.Static<typeof SourceRequest>;

/** `complete` false: the holder is fetching the blob itself, and passes on what it has as it comes. */
export const SourceReply = closed({
  size: Bytes,
  peer: Type.Optional(
    closed({
      holder: Type.String(),
      addresses: ShareAddresses,
      ticket: Type.String(),
      complete: Type.Boolean(),
    }),
  ),
});
export type SourceReply = Type.Static<typeof SourceReply>;

/** What a worker has (whole) or no longer has. `stopped`: it began to fetch these and gave up. */
export const HoldsRequest = closed({
  add: Type.Array(DigestText, { maxItems: 10_000 }),
  remove: Type.Array(DigestText, { maxItems: 10_000 }),
});
export type HoldsRequest = Type.Static<typeof HoldsRequest>;

/**
 * A ticket is `<payload>.<signature>`, both base64url: the payload is this as JSON, the signature Ed25519 over the
 * payload's text. It is good for one digest at one holder until `expires` (milliseconds since 1970, by the server's
 * clock, which a worker knows from its registration).
 */
export interface Ticket {
  readonly digest: string;
  readonly holder: string;
  readonly expires: number;
}

/** Public keys (Ed25519, SPKI, base64) whose tickets are good: one for each server process of this database. */
export const TicketKeys = closed({ keys: Type.Array(Type.String({ maxLength: 256 })) });
export type TicketKeys = Type.Static<typeof TicketKeys>;
