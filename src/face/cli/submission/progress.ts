import { formatDuration } from '../../../ground/base/duration.ts';
import type { Invocation } from '../invocation.ts';

export interface Progress {
  /** `note` is what else is worth telling, such as failures. */
  update(done: number, note?: string): void;
  stop(): void;
}

/** Between two lines where no person watches a bar. */
const LINE_SECONDS = 10;
/** What the rate is taken over. */
const WINDOW_SECONDS = 60;

/** A bar with rate and time left on a terminal; a line every ten seconds elsewhere; nothing for `--json` without a terminal. */
export async function startProgress(invocation: Invocation, verb: string, total: number): Promise<Progress> {
  const { stderr } = invocation.context;
  const rateOf = createMeter();
  if (stderr.isTTY !== true) return lines(invocation, { verb, total, rateOf });
  const { default: cliProgress } = await import('cli-progress');
  const bar = new cliProgress.SingleBar(
    {
      format: `${verb} {bar} {percentage}% | {value}/{total} | {speed}{note}`,
      stream: stderr,
      barsize: 28,
      hideCursor: null,
      linewrap: null,
      emptyOnZero: true,
      gracefulExit: false,
    },
    cliProgress.Presets.shades_classic,
  );
  bar.start(total, 0, { speed: '', note: '' });
  return {
    update: (done, note = '') =>
      bar.update(done, { speed: speedOf(rateOf(done), total - done), note: note && ` | ${note}` }),
    stop: () => bar.stop(),
  };
}

interface Plan {
  readonly verb: string;
  readonly total: number;
  readonly rateOf: (done: number) => number;
}

function lines(invocation: Invocation, { verb, total, rateOf }: Plan): Progress {
  let next = performance.now() + LINE_SECONDS * 1000;
  return {
    update: (done, note = '') => {
      const rate = rateOf(done);
      if (performance.now() < next) return;
      next = performance.now() + LINE_SECONDS * 1000;
      void invocation.say(`${verb} ${done} of ${total} | ${speedOf(rate, total - done)}${note && ` | ${note}`}`);
    },
    stop: () => {},
  };
}

/** Things a second over the last minute. */
function createMeter(now: () => number = () => performance.now() / 1000): (done: number) => number {
  let seen: { at: number; done: number }[] = [];
  return (done) => {
    seen = [...seen.filter(({ at }) => now() - at < WINDOW_SECONDS), { at: now(), done }];
    const [first] = seen;
    const seconds = first ? now() - first.at : 0;
    return first && seconds > 0 ? (done - first.done) / seconds : 0;
  };
}

function speedOf(rate: number, left: number): string {
  if (left <= 0) return 'done';
  if (rate <= 0) return 'no rate yet';
  return `${formatRate(rate)} | ${formatDuration(left / rate)} left`;
}

function formatRate(rate: number): string {
  if (rate >= 1) return `${rate >= 100 ? Math.round(rate) : rate.toFixed(1)}/s`;
  return rate * 60 >= 1 ? `${(rate * 60).toFixed(1)}/min` : `${(rate * 3600).toFixed(1)}/h`;
}
