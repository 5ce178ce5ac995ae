import { couchError } from './couch-error.ts';
import type { ViewLimits } from './limits.ts';
import { openSandbox, SandboxFailure, type Watch } from './sandbox.ts';
import type { TestPattern } from './selector.ts';

/** Patterns of selectors run in a sandbox, where one that would take for ever is ended. */
export async function openPatterns(limits: ViewLimits, watch: Watch): Promise<TestPattern> {
  const sandbox = await openSandbox({}, { ...limits, interruptsPerCall: 1000, wallMsPerCall: 2000 }, watch);
  return (pattern, text) => {
    try {
      return sandbox.test(pattern, text);
    } catch (error) {
      if (!(error instanceof SandboxFailure)) throw error;
      const reason =
        error.failure === 'thrown'
          ? `Bad argument for operator $regex: ${JSON.stringify(pattern)} (${error.message})`
          : `the pattern ${JSON.stringify(pattern)} takes too long to try on a document: write it without nested repetitions`;
      throw couchError('bad-request', 400, 'bad_arg', reason);
    }
  };
}
