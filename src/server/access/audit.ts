import type { Store } from '../store/store.ts';
import type { AuditEntry, AuditFilter, AuditRow } from '../store/verbs/audit.ts';
import { createTally } from './audit-tally.ts';
import { howKnown, type Principal } from './principal.ts';

/** Somebody who did something. A principal is one. */
export type Actor = Principal | { readonly name: string; readonly how: string; readonly address?: string | null };

export type AuditDetail = Readonly<Record<string, unknown>>;

/** Who did what. No secret may be in a subject or a detail. */
export interface Audit {
  /**
   * Writes down what was done, directly after it. `action` is like `user.add`: the thing, a dot, and what was done to it.
   * Resolves when it is on disk; on rejection what was done is done all the same.
   */
  note(who: Actor, action: string, subject: string, detail?: AuditDetail): Promise<void>;
  /** The same as a value, for verbs of the store that write it in the transaction of the change. */
  entry(who: Actor, action: string, subject: string, detail?: AuditDetail): AuditEntry;
  /** What somebody tried and may not do. Many of one kind become one entry with their number, a little later. */
  refused(who: Actor, action: string, subject: string): void;
  /** Newest first. */
  list(filter: AuditFilter): Promise<AuditRow[]>;
  /** Writes what is still counted. */
  close(): Promise<void>;
}

export function createAudit(store: Store, onError: (error: unknown) => void): Audit {
  const tally = createTally((entries) => store.writeAudit({ entries }), onError);
  return {
    note: (...given) => store.writeAudit({ entries: [toEntry(...given)] }),
    entry: toEntry,
    refused: (who, action, subject) => tally.add({ ...toEntry(who, action, subject), outcome: 'refused' }),
    list: (filter) => store.listAudit(filter),
    close: () => tally.close(),
  };
}

const LONGEST_SUBJECT = 500;

function toEntry(who: Actor, action: string, subject: string, detail: AuditDetail = {}): AuditEntry {
  return {
    who: who.name,
    how: 'how' in who ? who.how : howKnown(who),
    address: who.address ?? null,
    action,
    subject: subject.slice(0, LONGEST_SUBJECT),
    detail: JSON.stringify(detail),
    outcome: 'done',
  };
}
