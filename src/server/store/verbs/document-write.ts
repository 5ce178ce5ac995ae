import type { TokenVerdict } from '../../core/judge-token.ts';
import type { Fields } from '../../core/token.ts';
import type { Attachments, DocumentRow, Revision } from '../document-rows.ts';

/** What a client brings: an attachment that is there already, or one whose bytes are in the blob store by now. */
export type NewAttachment = { readonly stub: true } | Omit<Attachments[string], 'revpos'>;

/** A new version of a document. Texts are JSON. */
export interface DocumentWrite {
  readonly id: string;
  /** The revision that it follows; null: the client thinks that there is none. */
  readonly rev: Revision | null;
  readonly deleted: boolean;
  /** The fields, without `_id`, `_rev` and `_attachments`. */
  readonly body: string;
  readonly attachments: Readonly<Record<string, NewAttachment>>;
  /** What its task asks for, should it be a token that has none yet. */
  readonly shapeKey: string;
  readonly spec: string;
  readonly payload: string | null;
  /** A copy from elsewhere keeps the revision that it has there, if it is the newer one. */
  readonly kept?: Revision;
}

export type WriteAnswer =
  | { readonly ok: true; readonly rev: Revision; readonly claimed: boolean }
  | {
      readonly ok: false;
      readonly why: 'conflict' | 'missing' | 'deleted' | 'missing-stub' | 'waiting' | 'reserved';
      readonly what?: string;
    };

/** One write with all that was decided about it; `row` is what stands. */
export interface Decided {
  readonly write: DocumentWrite;
  readonly row: DocumentRow | undefined;
  readonly rev: Revision;
  readonly attachments: Attachments;
  readonly next: Fields;
  readonly token: TokenStep;
}

export type TokenStep =
  | { readonly kind: 'none' }
  /** It becomes a task. */
  | { readonly kind: 'new' }
  /** Its task goes: it was deleted, or is a token no longer. */
  | { readonly kind: 'drop' }
  | { readonly kind: 'act'; readonly act: Extract<TokenVerdict, { ok: true }>['act'] };

/** Who writes. */
export interface TokenWriter {
  readonly projectId: number;
  /** Owns the tasks that come into being. */
  readonly owner: string;
  /** So long a holder may be silent. */
  readonly maxLockMs: number;
}
