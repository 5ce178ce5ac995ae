/** What mails say. Plain text; nothing that came from a job can add a line to a header. */
import type { TakenLetter } from '../store/verbs/deliver-letters.ts';
import type { NoticedFailure, NoticedJob, NoticeFacts } from '../store/verbs/write-notices.ts';

export interface ComposedMail {
  readonly subject: string;
  readonly text: string;
}

/** The address of a job's results, which holds a secret: it is made when it is wanted and kept nowhere. */
export type LinkOf = (job: { project: string; number: string; uid: string }) => string;

const SUBJECT_LENGTH = 200;
const TEXT_LENGTH = 100_000;
const WITH_STACK = 5;

export function composeMail(letter: TakenLetter, linkOf: LinkOf): ComposedMail {
  const { subject, text } = {
    completed: () => completed(letter, linkOf),
    failed: () => failed(letter),
    'host-failed': () => hostFailed(letter),
    event: () => ({ subject: letter.service, text: '' }),
  }[letter.kind]();
  return { subject: oneLine(subject, SUBJECT_LENGTH), text: `${plain(text).slice(0, TEXT_LENGTH).trimEnd()}\n` };
}

function completed(letter: TakenLetter, linkOf: LinkOf): ComposedMail {
  const { at, facts } = letter.told[0] ?? { at: letter.createdAt, facts: {} as NoticeFacts };
  const job = facts.job ?? { number: '?', name: null, uid: '' };
  const link = linkOf({ project: letter.project, number: job.number, uid: job.uid });
  const usual = `${letter.title ?? letter.service}: job ${job.name ?? job.number} is complete`;
  const own = facts.mail;
  const withLink = (text: string): string => text.replaceAll('{link}', () => link);
  if (own !== undefined) return { subject: own.subject ?? usual, text: withLink(own.text) };
  const until = letter.archiveMs === null ? '' : `\nThey are there until ${time(at + letter.archiveMs)}.\n`;
  return { subject: usual, text: `Your job ${nameOf(job)} is complete.\n\nIts results: ${link}\n${until}` };
}

function failed(letter: TakenLetter): ComposedMail {
  const { told, notices, service } = letter;
  const [first] = told;
  if (notices === 1 && first)
    return {
      subject: `${service}: job ${first.facts.job?.number} FAILED`,
      text: `${wholeFailure(first)}\n${next(letter)}`,
    };
  const whole = told.slice(0, WITH_STACK);
  const others = told.slice(WITH_STACK);
  const between = `between ${time(first?.at ?? 0)} and ${time(told.at(-1)?.at ?? 0)}${notices > told.length ? ' and later' : ''}`;
  const more = notices - told.length;
  const parts = [
    `${notices} jobs of the service '${service}' failed ${between}.`,
    ...whole.map(wholeFailure),
    ...(others.length === 0 ? [] : [`And these:\n${others.map(({ facts }) => shortFailure(facts)).join('\n')}`]),
    ...(more <= 0 ? [] : [`And ${more} more: 'pilotage job list --service ${service} --state FAILED' shows all.`]),
    next(letter),
  ];
  return { subject: `${service}: ${notices} jobs FAILED`, text: parts.join('\n\n') };
}

function wholeFailure({ at, facts: { job, failure } }: TakenLetter['told'][number]): string {
  const head = `Job ${nameOf(job)} failed at ${time(at)}${whereOf(failure)}`;
  if (failure === undefined) return `${head}.\n`;
  const { message, stack } = failure;
  const said = stack === null ? message : stack.includes(message) ? stack : `${message}\n${stack}`;
  return `${head}:\n\n${said}\n`;
}

function shortFailure({ job, failure }: NoticeFacts): string {
  return `  ${nameOf(job)}${whereOf(failure)}: ${oneLine(failure?.message ?? '', 120)}`;
}

/** `none`: it failed because somebody wanted so. */
function whereOf(failure: NoticedFailure | undefined): string {
  if (failure === undefined) return '';
  if (failure.hook === 'none') return ', as somebody wanted';
  return failure.hook === 'move' ? ', where its directory was moved' : `, in the hook '${failure.hook}'`;
}

function next({ windowMs, service, project }: TakenLetter): string {
  return `Project '${project}'. Further failures of '${service}' within ${minutes(windowMs)} come in one mail.\n'pilotage job show NUMBER' says more, 'pilotage job resubmit NUMBER' begins a job again.`;
}

function hostFailed({ told, notices, service }: TakenLetter): ComposedMail {
  const last = told.at(-1)?.facts.host;
  const subject =
    notices === 1 ? `${service}: its host ended: ${last?.reason ?? ''}` : `${service}: its host ended ${notices} times`;
  const lines = told.map(
    ({ at, facts: { host } }) => `${time(at)}: process ${host?.pid} on ${host?.host}: ${host?.reason}`,
  );
  return {
    subject,
    text: `The host of the service '${service}' ended, and not as planned:\n\n${lines.join('\n')}\n\nIts jobs wait until somebody hosts the service again: 'pilotage service start DIR'.`,
  };
}

function nameOf(job: NoticedJob | undefined): string {
  if (job === undefined) return '?';
  return job.name === null ? job.number : `${job.number} (${oneLine(job.name, 100)})`;
}

function time(ms: number): string {
  return new Date(ms)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, ' UTC');
}

function minutes(ms: number): string {
  if (ms < 60_000) return `${Math.ceil(ms / 1000)} s`;
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

/** Control characters, line ends among them, become spaces. */
function oneLine(text: string, length: number): string {
  const line = text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim();
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}

/** Line ends and tabs stay. */
function plain(text: string): string {
  return text.replace(/\r\n?/g, '\n').replace(/[^\P{Cc}\n\t]/gu, '�');
}
