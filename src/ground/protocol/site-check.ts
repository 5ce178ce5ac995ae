/** What `site test` finds out about a site. */

export type CheckName =
  | 'reachable'
  | 'host-key'
  | 'login'
  | 'program-directory'
  | 'temporary-directory'
  | 'archive'
  | 'scheduler'
  | 'clock';

export interface CheckItem {
  readonly check: CheckName;
  /** `skipped`: it does not apply here, or something before it failed. */
  readonly outcome: 'passed' | 'warned' | 'failed' | 'skipped';
  readonly detail: string;
  /** What to do about it, where the detail does not say it already. */
  readonly advice?: string;
}

export interface MachineCheck {
  readonly machine: string;
  /** Nothing failed. */
  readonly ok: boolean;
  readonly checks: readonly CheckItem[];
  /** Who we are there. */
  readonly user?: string;
  /** Of a host key that is not known: what `--accept-host-key` is to be given. */
  readonly fingerprint?: string;
  /** Room in the temporary directory. */
  readonly freeBytes?: number;
  /** How far its clock is ahead of ours; negative: behind. */
  readonly clockSeconds?: number;
}

export interface SiteCheck {
  readonly site: string;
  readonly ok: boolean;
  readonly machines: readonly MachineCheck[];
}
