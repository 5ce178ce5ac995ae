import { formatDuration } from '../../../ground/base/duration.ts';
import { formatSize } from '../../../ground/base/size.ts';
import type { Invocation } from '../invocation.ts';

export interface Progress {
  /** `note` is what else is worth telling, such as failures. */
  update(done: number, note?: string): void;
  stop(): void;
}

export interface ByteProgress {
  /** The total may grow. */
  update(done: number, total: number, note?: string): void;
  stop(): void;
}

/** Between two lines where no person watches a bar. */
const LINE_SECONDS = 10;
/** What the rate is taken over. */
const WINDOW_SECONDS = 60;
/** A transfer that takes less shows nothing. */
const QUICK_SECONDS = 1;

/** A bar with rate and time left on a terminal; a line every ten seconds elsewhere; nothing for `--json` without a terminal. */
export async function startProgress(invocation: Invocation, verb: string, total: number): Promise<Progress> {
  const bar = await start(invocation, { verb, format: String, formatRate });
  return { update: (done, note) => bar.update(done, total, note), stop: bar.stop };
}

/** The same for bytes, from the moment when a transfer turns out to take a while. */
export function byteProgress(invocation: Invocation, verb: string): ByteProgress {
  const since = performance.now();
  let hasBegun = false;
  let bar: ByteProgress | undefined;
  let isOver = false;
  const begin = async (): Promise<void> => {
    hasBegun = true;
    bar = await start(invocation, {
      verb,
      format: formatSize,
      formatRate: (rate) => `${formatSize(Math.round(rate))}/s`,
    });
    if (isOver) bar.stop();
  };
  return {
    update(done, total, note) {
      if (performance.now() - since < QUICK_SECONDS * 1000) return;
      if (!hasBegun) void begin();
      bar?.update(done, total, note);
    },
    stop() {
      isOver = true;
      bar?.stop();
    },
  };
}

interface Style {
  readonly verb: string;
  readonly format: (amount: number) => string;
  readonly formatRate: (perSecond: number) => string;
}

async function start(invocation: Invocation, style: Style): Promise<ByteProgress> {
  const { stderr } = invocation.context;
  if (stderr.isTTY !== true) return lines(invocation, style);
  const { verb, format } = style;
  const rateOf = createMeter();
  const { default: cliProgress } = await import('cli-progress');
  const bar = new cliProgress.SingleBar(
    {
      format: `${verb} {bar} {percentage}% | {value}/{total} | {speed}{note}`,
      formatValue: (value, _options, kind) => (kind === 'value' || kind === 'total' ? format(value) : String(value)),
      stream: stderr,
      barsize: 28,
      hideCursor: null,
      // Else Ctrl-C in the middle would leave the terminal without it.
      linewrap: true,
      emptyOnZero: true,
      gracefulExit: false,
    },
    cliProgress.Presets.shades_classic,
  );
  bar.start(0, 0, { speed: '', note: '' });
  return {
    update: (done, total, note = '') => {
      if (bar.getTotal() !== total) bar.setTotal(total);
      bar.update(done, { speed: speedOf(rateOf(done), total - done, style), note: note && ` | ${note}` });
    },
    stop: () => bar.stop(),
  };
}

function lines(invocation: Invocation, style: Style): ByteProgress {
  const rateOf = createMeter();
  let next = performance.now() + LINE_SECONDS * 1000;
  return {
    update: (done, total, note = '') => {
      const rate = rateOf(done);
      if (performance.now() < next) return;
      next = performance.now() + LINE_SECONDS * 1000;
      const speed = speedOf(rate, total - done, style);
      const { verb, format } = style;
      void invocation.say(`${verb} ${format(done)} of ${format(total)} | ${speed}${note && ` | ${note}`}`);
    },
    stop: () => {},
  };
}

/** How much a second over the last minute. */
function createMeter(now: () => number = () => performance.now() / 1000): (done: number) => number {
  let seen: { at: number; done: number }[] = [];
  return (done) => {
    // What comes often is looked at five times a second.
    const last = seen.at(-1);
    if (!last || now() - last.at > 0.2) {
      seen = [...seen.filter(({ at }) => now() - at < WINDOW_SECONDS), { at: now(), done }];
    }
    const [first] = seen;
    const seconds = first ? now() - first.at : 0;
    return first && seconds > 0 ? (done - first.done) / seconds : 0;
  };
}

function speedOf(rate: number, left: number, style: Style): string {
  if (left <= 0) return 'done';
  if (rate <= 0) return 'no rate yet';
  return `${style.formatRate(rate)} | ${formatDuration(left / rate)} left`;
}

function formatRate(rate: number): string {
  if (rate >= 1) return `${rate >= 100 ? Math.round(rate) : rate.toFixed(1)}/s`;
  return rate * 60 >= 1 ? `${(rate * 60).toFixed(1)}/min` : `${(rate * 3600).toFixed(1)}/h`;
}
