import type { Command } from 'commander';
import type { SubmissionView } from '../../../ground/protocol/submission.ts';
import type { Define } from '../define.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';
import { describeJob, type ListFlags } from '../submission/describe-job.ts';
import { addJobFlags, type JobFlags } from '../submission/job-flags.ts';
import { describeSubmission, submitJob } from '../submission/submit-job.ts';
import { waitFor } from '../submission/wait-for.ts';

type Options = JobFlags & ListFlags & { readonly wait?: boolean };

export function submitCommand(define: Define): Command {
  const command = define('submit', 'Submit tasks: those of a job file, or a command behind --', submit)
    .usage('[OPTIONS] FILE.yaml | [OPTIONS] -- COMMAND...')
    .argument('[file]', 'a job file (YAML)')
    .option('--array <range>', "a task for each number of a range, as in '1-100' or '0-90:10': {index}")
    .option('--each-line <file>', 'a task for each line of a file (- is standard input): {line}')
    .option(
      '--from-json <file>',
      'a task for each element of a JSON list, or line of a .jsonl file: its fields, or {item}',
    );
  return addJobFlags(command).option('--wait', 'wait until all is done, and end with 1 if anything failed');
}

async function submit(invocation: Invocation, options: Options, file: string | undefined): Promise<number> {
  const job = await describeJob(file, options, invocation);
  const submissions = await submitJob(job, invocation, { project: options.project, strict: options.strict === true });
  if (!options.wait) {
    await report(submissions, invocation);
    return EXIT.done;
  }
  if (!invocation.json) await report(submissions, invocation);
  const ended = await waitFor(submissions, invocation);
  if (invocation.json) await report(ended.submissions, invocation);
  return ended.code;
}

/** One step is one object, several are a list. */
async function report(submissions: readonly SubmissionView[], invocation: Invocation): Promise<void> {
  const text = (): string => submissions.map(describeSubmission).join('\n');
  const [only] = submissions;
  if (submissions.length === 1) await invocation.print(only, text);
  else await invocation.printList(submissions, text);
}
