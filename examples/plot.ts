/**
 * Draws measured points and curves as SVG text.
 * Written here because plotting libraries need a browser's DOM (Observable Plot brings jsdom along), for what are a few lines of text.
 */
export interface Point {
  readonly x: number;
  readonly y: number;
  /** Half the length of the bar through the point. */
  readonly spread?: number;
}

export interface Axis {
  readonly label: string;
  readonly from: number;
  readonly to: number;
  /** Distance between two ticks. */
  readonly step: number;
}

export interface Plot {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly measured: { readonly label: string; readonly points: readonly Point[] };
  readonly curve?: { readonly label: string; readonly points: readonly Point[] };
  /** A vertical line at one x. */
  readonly mark?: { readonly label: string; readonly x: number };
  readonly legend: 'top left' | 'top right';
}

const WIDTH = 760;
const HEIGHT = 480;
const FRAME = { left: 104, right: WIDTH - 24, top: 52, bottom: HEIGHT - 62 };
const [INK, PALE, BLUE, ORANGE] = ['#222', '#e4e4e4', '#1f5fa8', '#d9822b'];

/** The plot as a complete SVG document. */
export function toSvg(plot: Plot): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="Helvetica, Arial, sans-serif" font-size="13" fill="${INK}">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(plot.title, FRAME.left, 30, 'font-size="17" font-weight="bold"'),
    ...xAxis(plot),
    ...yAxis(plot),
    `<path d="M${FRAME.left} ${FRAME.top}V${FRAME.bottom}H${FRAME.right}" fill="none" stroke="${INK}"/>`,
    ...mark(plot),
    ...curve(plot),
    ...plot.measured.points.flatMap((point) => measuredPoint(plot, point)),
    ...legend(plot),
    '</svg>\n',
  ].join('\n');
}

function xAxis({ x }: Plot): string[] {
  const middle = (FRAME.left + FRAME.right) / 2;
  const ticks = ticksOf(x).flatMap((tick) => {
    const at = toX(x, tick.value);
    return [
      line(at, FRAME.top, at, FRAME.bottom, PALE),
      line(at, FRAME.bottom, at, FRAME.bottom + 6, INK),
      text(tick.label, at, FRAME.bottom + 22, 'text-anchor="middle"'),
    ];
  });
  return [...ticks, text(x.label, middle, HEIGHT - 14, 'text-anchor="middle" font-size="14"')];
}

function yAxis({ y }: Plot): string[] {
  const middle = (FRAME.top + FRAME.bottom) / 2;
  const ticks = ticksOf(y).flatMap((tick) => {
    const at = toY(y, tick.value);
    return [
      line(FRAME.left, at, FRAME.right, at, PALE),
      line(FRAME.left - 6, at, FRAME.left, at, INK),
      text(tick.label, FRAME.left - 10, at + 4.5, 'text-anchor="end"'),
    ];
  });
  return [
    ...ticks,
    text(y.label, 20, middle, `text-anchor="middle" font-size="14" transform="rotate(-90 20 ${middle})"`),
  ];
}

function mark({ mark, x }: Plot): string[] {
  if (!mark) return [];
  const at = toX(x, mark.x);
  return [
    line(at, FRAME.top, at, FRAME.bottom, INK, 'stroke-dasharray="5 4"'),
    text(mark.label, at + 8, FRAME.top + 14, 'font-style="italic"'),
  ];
}

function curve({ curve, x, y }: Plot): string[] {
  if (!curve) return [];
  const points = curve.points.map((point) => `${toX(x, point.x)},${toY(y, point.y)}`);
  return [
    `<polyline points="${points.join(' ')}" fill="none" stroke="${ORANGE}" stroke-width="2" stroke-linejoin="round"/>`,
  ];
}

function measuredPoint({ x, y }: Plot, point: Point): string[] {
  const at = toX(x, point.x);
  const spread = point.spread ?? 0;
  const [low, high] = [toY(y, point.y - spread), toY(y, point.y + spread)];
  return [
    line(at, low, at, high, BLUE, 'stroke-width="1.5"'),
    ...[low, high].map((end) => line(round(at - 4), end, round(at + 4), end, BLUE, 'stroke-width="1.5"')),
    dot(at, toY(y, point.y)),
  ];
}

function legend({ measured, curve, legend }: Plot): string[] {
  const left = legend === 'top left' ? FRAME.left + 20 : FRAME.right - 270;
  const top = FRAME.top + 22;
  const first = [dot(left + 14, top), text(measured.label, left + 36, top + 4.5)];
  if (!curve) return first;
  const second = top + 22;
  return [
    ...first,
    line(left, second, left + 28, second, ORANGE, 'stroke-width="2"'),
    text(curve.label, left + 36, second + 4.5),
  ];
}

function ticksOf({ from, to, step }: Axis): { value: number; label: string }[] {
  const decimals = Math.max(0, Math.ceil(-Math.log10(step)));
  const count = Math.floor((to - from) / step + 1e-9) + 1;
  return Array.from({ length: count }, (_, index) => from + index * step).map((value) => ({
    value,
    label: value.toLocaleString('en-GB', { minimumFractionDigits: decimals }).replace('-', '−'),
  }));
}

const toX = (axis: Axis, value: number) =>
  round(FRAME.left + ((value - axis.from) / (axis.to - axis.from)) * (FRAME.right - FRAME.left));
const toY = (axis: Axis, value: number) =>
  round(FRAME.bottom - ((value - axis.from) / (axis.to - axis.from)) * (FRAME.bottom - FRAME.top));
const round = (value: number) => Math.round(value * 100) / 100;

const line = (x1: number, y1: number, x2: number, y2: number, stroke: string, more = '') =>
  `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${stroke}" ${more}/>`;
const dot = (x: number, y: number) => `<circle cx="${x}" cy="${y}" r="4" fill="${BLUE}"/>`;
const text = (content: string, x: number, y: number, more = '') =>
  `<text x="${x}" y="${y}" ${more}>${escaped(content)}</text>`;
const escaped = (content: string) => content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
