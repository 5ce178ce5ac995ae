import { messageOf } from '../../ground/base/errors.ts';
import type { CheckItem, CheckName, MachineCheck } from '../../ground/protocol/site-check.ts';

/** What one look at a machine told. */
export interface Finding {
  readonly items: readonly CheckItem[];
  readonly facts?: Pick<MachineCheck, 'user' | 'fingerprint' | 'freeBytes' | 'clockSeconds'>;
}

export function passed(check: CheckName, detail: string): CheckItem {
  return { check, outcome: 'passed', detail };
}

export function warned(check: CheckName, detail: string, advice: string): CheckItem {
  return { check, outcome: 'warned', detail, advice };
}

export function failed(check: CheckName, detail: string, advice?: string): CheckItem {
  return { check, outcome: 'failed', detail, ...(advice === undefined ? {} : { advice }) };
}

export function skipped(checks: readonly CheckName[], detail: string): CheckItem[] {
  return checks.map((check) => ({ check, outcome: 'skipped', detail }));
}

/** A look that ends with an error has found that out. */
export async function orFailed(check: CheckName, look: () => Promise<Finding>): Promise<Finding> {
  try {
    return await look();
  } catch (error) {
    return { items: [failed(check, messageOf(error))] };
  }
}

/** So that a machine which stops answering in the middle is told as that. */
export async function within<T>(ms: number, what: string, act: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what} did not answer within ${Math.round(ms / 1000)} s`)), ms);
  try {
    return await Promise.race([act, promise]);
  } finally {
    clearTimeout(timer);
  }
}
