// Charts as SVG, each in a light and a dark file (for <picture>), readable at the width of a README. No dependency, no script.

/** Colours of one theme; the page's background is left to the page. */
export interface Theme {
  text: string;
  faint: string;
  line: string;
  ours: string;
  node: string;
  rival: string;
  limit: string;
}

export const themes: Readonly<Record<'light' | 'dark', Theme>> = {
  light: {
    text: '#1f2328',
    faint: '#59636e',
    line: '#d1d9e0',
    ours: '#0969da',
    node: '#57a639',
    rival: '#a4adb8',
    limit: '#d9b44a',
  },
  dark: {
    text: '#f0f6fc',
    faint: '#9198a1',
    line: '#3d444d',
    ours: '#4493f8',
    node: '#57ab5a',
    rival: '#656c76',
    limit: '#ae8b2d',
  },
};

export interface Bars {
  title: string;
  unit: string;
  digits: number;
  bars: readonly { name: string; value: number; family: 'ours' | 'node' | 'rival' | 'limit' }[];
}

const width = 760;
const rowHeight = 22;
const labelWidth = 190;
const valueWidth = 70;

/** Horizontal bars, cheapest first. */
export function barChart({ title, unit, digits, bars }: Bars, theme: Theme): string {
  const sorted = [...bars].sort((a, b) => a.value - b.value);
  const most = Math.max(...sorted.map((bar) => bar.value), Number.MIN_VALUE);
  const room = width - labelWidth - valueWidth;
  const rows = sorted.map(({ name, value, family }, index) => {
    const y = 52 + index * rowHeight;
    const length = Math.max(1, (Math.max(0, value) / most) * room);
    return [
      text(labelWidth - 8, y + 12, name, family === 'ours' ? theme.ours : theme.text, 'end', family === 'ours'),
      `<rect x="${labelWidth}" y="${y}" width="${length.toFixed(1)}" height="16" rx="2" fill="${theme[family]}"/>`,
      text(labelWidth + length + 6, y + 12, value.toFixed(digits), theme.text),
    ].join('');
  });
  return svg(60 + sorted.length * rowHeight, title, [
    text(8, 20, title, theme.text, 'start', true),
    text(8, 38, `${unit}, smaller is better`, theme.faint),
    ...rows,
  ]);
}

/** One row a trial, two bars each: ours divided by the best node:net, and a line at 1. */
export function overviewChart(
  rows: readonly { title: string; ratios: readonly (number | undefined)[] }[],
  names: readonly string[],
  theme: Theme,
): string {
  const most = Math.max(1.2, ...rows.flatMap((row) => row.ratios.filter((ratio) => ratio !== undefined)));
  const room = width - labelWidth - valueWidth;
  const height = 2 + names.length * 11;
  const one = labelWidth + room / most;
  const bottom = 56 + rows.length * (height + 6);
  const colours = [theme.ours, theme.limit];
  const bars = rows.flatMap(({ title, ratios }, index) => {
    const y = 52 + index * (height + 6);
    return [
      text(labelWidth - 8, y + height / 2 + 4, title, theme.text, 'end'),
      ...ratios.map((ratio, nth) =>
        ratio === undefined
          ? ''
          : `<rect x="${labelWidth}" y="${y + nth * 11}" width="${((ratio / most) * room).toFixed(1)}" height="10" rx="2" fill="${colours[nth]}"/>${text(labelWidth + (ratio / most) * room + 5, y + nth * 11 + 9, ratio.toFixed(2), theme.faint, 'start', false, 10)}`,
      ),
    ];
  });
  return svg(bottom + 8, 'Cost of millrace, divided by that of node:net', [
    text(
      8,
      20,
      'Cost of millrace, divided by that of node:net (the better of Node 24 and 26)',
      theme.text,
      'start',
      true,
    ),
    ...names.map((name, nth) => text(8 + nth * 90, 38, `■ ${name}`, colours[nth] ?? theme.text)),
    text(8 + names.length * 90, 38, 'line: node:net', theme.faint),
    ...bars,
    `<line x1="${one.toFixed(1)}" y1="46" x2="${one.toFixed(1)}" y2="${bottom}" stroke="${theme.node}" stroke-width="1.5"/>`,
  ]);
}

function text(
  x: number,
  y: number,
  content: string,
  fill: string,
  anchor = 'start',
  isBold = false,
  size = 12,
): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" fill="${fill}" font-size="${size}" text-anchor="${anchor}"${isBold ? ' font-weight="600"' : ''}>${xml(content)}</text>`;
}

function svg(height: number, title: string, parts: readonly string[]): string {
  const font = "ui-sans-serif, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif";
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${xml(title)}" font-family="${font}">\n${parts.join('\n')}\n</svg>\n`;
}

const xml = (text: string): string =>
  text.replace(/[&<>"]/g, (char) => `&${{ '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot' }[char]};`);
