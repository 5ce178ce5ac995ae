/** What goes between a job and people: the files that come with it, the results that they fetch, the mail that tells them. */
import { messageOf } from '../../ground/base/errors.ts';
import type { HostJob, OwnMail } from '../../ground/protocol/service.ts';
import type { AfterHook } from './hook-calls.ts';
import type { Facts, JobDesk, LifeContext, Pace } from './job-desk.ts';
import { bringInputs, sendResults } from './job-files.ts';
import { readOwnMail } from './read-own-mail.ts';

export interface DeliveryParts {
  readonly context: LifeContext;
  readonly desk: JobDesk;
  readonly pace: Pace;
  readonly afterHook: AfterHook;
}

/** So long a transfer goes on trying while no byte moves. */
const TRANSFER_SECONDS = 3600;

export function createJobDelivery({ context, desk, pace, afterHook }: DeliveryParts) {
  const { mend, report, fail } = desk;

  /** Puts what came with the job into its directory. False: it cannot be had, and the job has failed. */
  const bring = async (): Promise<boolean> => {
    const { directory, inputs } = desk.job;
    if (directory === null || inputs.length === 0) return true;
    return (await orFail('inputs', () => bringInputs(files(), directory, inputs))) !== undefined;
  };

  const settle = async (metadata: HostJob['metadata'], facts: Facts = {}): Promise<void> => {
    await report('settle', { metadata, ...facts });
    mend({ settled: true, metadata });
  };

  /** Its results are where people find them before anybody is told that it is complete. */
  const publish = async (metadata: HostJob['metadata']): Promise<void> => {
    const { directory } = desk.job;
    if (directory === null) return withMail(metadata, {});
    const sent = await orFail('results', () => sendResults(files(), directory, context.results), { metadata });
    if (sent) return withMail(metadata, { results: sent.done });
  };

  /** The author's own words for the user, where there are any and somebody to read them. */
  const withMail = async (metadata: HostJob['metadata'], facts: Facts): Promise<void> => {
    if (desk.job.contact === null || !context.mailsUsers || !context.hasHooks.has('mail'))
      return settle(metadata, facts);
    mend({ metadata });
    await afterHook('mail', async (outcome) => {
      const read = readOwnMail(outcome.value);
      if (!read.ok) return fail({ hook: 'mail', message: read.message, stack: null }, { metadata: outcome.metadata });
      const mail = read.mail && withoutLink(read.mail, desk.job.url);
      return settle(outcome.metadata, { ...facts, ...(mail === undefined ? {} : { mail }) });
    });
  };

  /** Files travel as long as the server may come back. */
  const files = () => ({ ...context, signal: pace.step.signal, patience: { seconds: TRANSFER_SECONDS } });

  /** Files that cannot travel fail the job. */
  const orFail = async <T>(
    what: string,
    act: () => Promise<T>,
    facts: Facts = {},
  ): Promise<{ readonly done: T } | undefined> => {
    try {
      return { done: await act() };
    } catch (error) {
      if (pace.step.signal.aborted) throw pace.step.signal.reason;
      await fail({ hook: what, message: messageOf(error), stack: null }, facts);
      return undefined;
    }
  };

  return { bring, publish, settle };
}

/** The link is a secret, and goes into the mail when that is sent: what is kept until then holds a word for it. */
function withoutLink({ subject, text }: OwnMail, url: string): OwnMail {
  const plain = (words: string): string => words.replaceAll(url, '{link}');
  return { text: plain(text), ...(subject === undefined ? {} : { subject: plain(subject) }) };
}
