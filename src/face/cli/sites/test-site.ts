import { PilotageError } from '../../../ground/base/errors.ts';
import type { Site } from '../../../ground/protocol/site.ts';
import type { CheckItem, SiteCheck } from '../../../ground/protocol/site-check.ts';
import { askLogin } from '../ask-login.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { type Column, formatTable, plural } from '../table.ts';

export interface TestOptions {
  readonly machine?: readonly string[];
  readonly user?: string;
  readonly acceptHostKey?: readonly string[];
}

/** Looks at each machine of the site. Ends with 1 when something failed. */
export async function testSite(invocation: Invocation, site: Site, options: TestOptions): Promise<number> {
  const { context } = invocation;
  checkMachines(site, options.machine);
  const leaving = new AbortController();
  const stop = context.onInterrupt(() => leaving.abort());
  try {
    const result = await context.checkSite({
      site,
      signal: leaving.signal,
      ...defined({
        machines: options.machine,
        user: options.user,
        acceptHostKeys: options.acceptHostKey,
        terminal: askLogin(context),
      }),
    });
    if (leaving.signal.aborted) return EXIT.interrupted;
    await invocation.print(result, () => resultText(result));
    return result.ok ? EXIT.done : EXIT.failed;
  } finally {
    stop();
  }
}

function checkMachines({ name, machines, userExtensible }: Site, given: readonly string[] | undefined): void {
  if (machines.length === 0 && given === undefined)
    throw new PilotageError('bad-request', `the site '${name}' lists no machines: name one with --machine`);
  const other = given?.find((machine) => !machines.includes(machine));
  if (other !== undefined && !userExtensible)
    throw new PilotageError(
      'bad-request',
      `the site '${name}' has no machine '${other}' (it has ${machines.join(', ')}), and allows no others (userExtensible)`,
    );
}

function resultText({ site, machines }: SiteCheck): string {
  const rows = machines.flatMap(({ machine, checks }) =>
    checks.map((item, at) => ({ machine: at === 0 ? machine : '', item })),
  );
  const bad = machines.filter(({ ok }) => !ok).length;
  const end =
    bad === 0
      ? `site ${site} is fit for jobs`
      : `site ${site} is not fit for jobs: something failed on ${plural(bad, 'machine')} of ${machines.length}`;
  return `${formatTable(COLUMNS, rows)}\n${adviceText(machines)}${end}\n`;
}

const COLUMNS: Column<{ machine: string; item: CheckItem }>[] = [
  { title: 'MACHINE', of: ({ machine }) => machine },
  { title: 'CHECK', of: ({ item }) => item.check },
  { title: 'RESULT', of: ({ item }) => WORDS[item.outcome] },
  { title: '', of: ({ item }) => item.detail },
];

const WORDS = { passed: 'ok', warned: 'warning', failed: 'FAILED', skipped: '-' } as const;

function adviceText(machines: SiteCheck['machines']): string {
  return machines
    .flatMap(({ machine, checks }) =>
      checks.flatMap(({ check, advice }) => (advice === undefined ? [] : [`${machine}, ${check}: ${advice}\n`])),
    )
    .join('');
}
