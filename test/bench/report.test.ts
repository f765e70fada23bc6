import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { barChart, overviewChart, themes } from '../../bench/chart.ts';
import { type Finished, judge, median, table, verdictLine, writeResults } from '../../bench/report.ts';
import type { Trial } from '../../bench/trial.ts';

const trial = (id: string): Trial => ({
  id,
  title: `${id} <&>`,
  parameters: { size: 64 },
  cost: { key: 'cpu', head: 'CPU µs', digits: 1 },
  columns: [{ head: 'p50', cell: (value) => value('p50').toFixed(0) }],
  kind: 'echo',
  isQuick: true,
  overheadSeconds: 0,
  run: () => Promise.reject(new Error('not run here')),
});

/** Runs given as the costs of each rival's rounds. */
const finished = (id: string, costs: Record<string, (number | undefined)[]>): Finished => ({
  trial: trial(id),
  rounds: new Map(
    Object.entries(costs).map(([name, all]) => [
      name,
      all.map((cpu) => (cpu === undefined ? undefined : { cpu, p50: cpu * 10 })),
    ]),
  ),
  errors: [],
});

test('the median of an even number of runs lies between the two in the middle', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.ok(Number.isNaN(median([])));
});

test('a table has cost, spread, ratios and the trial’s own columns', () => {
  const { trial, rounds } = finished('echo', {
    'node@24': [10, 12, 11],
    'node@26': [8, 10, 9],
    'millrace-epoll@24': [4.4, 5.5, 6.6],
    'millrace-epoll@26': [4.5, undefined, 4.5],
    bun: [undefined],
  });
  const lines = table(trial, rounds)
    .split('\n')
    .map((line) => line.trim().split(/\s{2,}/));
  assert.deepEqual(lines, [
    ['CPU µs', '(min-max)', '/ best node', '(min-max)', '/ same node', 'p50', 'runs'],
    ['node@24', '11.0', '(10.0-12.0)', '1.22', '(1.20-1.25)', '110', '3'],
    ['node@26', '9.0', '(8.0-10.0)', '1.00', '(1.00-1.00)', '90', '3'],
    ['millrace-epoll@24', '5.5', '(4.4-6.6)', '0.61', '(0.55-0.73)', '0.50', '55', '3'],
    ['millrace-epoll@26', '4.5', '(4.5-4.5)', '0.50', '(0.50-0.56)', '0.50', '45', '2 of 3'],
    ['bun', 'failed'],
  ]);
});

test('goals compare ours at its best with node:net at its best', () => {
  const verdicts = judge(
    [{ trials: /^echo$/, ring: 'io_uring', atMost: 0.5, of: 'node' }],
    [
      finished('echo', {
        'node@24': [10],
        'node@26': [9],
        'millrace-io_uring@24': [4.6],
        'millrace-io_uring@26': [4.4],
      }),
    ],
  );
  assert.deepEqual(
    verdicts.map(({ own, of, isMet }) => ({ own, of, isMet })),
    [{ own: 'millrace-io_uring@26', of: 'node@26', isMet: true }],
  );
  assert.equal(verdicts[0]?.ratio, 4.4 / 9);
});

test('without lines 24 and 26 the Node that runs the benchmark counts', () => {
  const [verdict] = judge(
    [{ trials: /^echo$/, ring: 'epoll', atMost: 0.5, of: 'node' }],
    [finished('echo', { node: [10], 'millrace-epoll': [6] })],
  );
  assert.equal(verdict && verdictLine(verdict), 'MISSED  echo, cpu: millrace-epoll is 0.600 of node, at most 0.50');
});

test('a goal may be of another figure, another trial, or of itself there', () => {
  const verdicts = judge(
    [
      { trials: /^echo$/, ring: 'epoll', figure: 'p50', atMost: 1, of: 'node' },
      { trials: /^echo$/, ring: 'epoll', atMost: 1, of: 'node', ofTrial: 'corked' },
      { trials: /^echo$/, ring: 'epoll', atMost: 1.15, of: 'self', ofTrial: 'corked' },
    ],
    [finished('echo', { node: [10], 'millrace-epoll': [6] }), finished('corked', { node: [5], 'millrace-epoll': [4] })],
  );
  assert.deepEqual(
    verdicts.map(({ ratio, isMet }) => [ratio, isMet]),
    [
      [0.6, true],
      [1.2, false],
      [1.5, false],
    ],
  );
});

test('a goal may be of the direct tier, and a figure of its own', () => {
  const verdicts = judge(
    [
      { tier: 'direct', trials: /^echo$/, ring: 'epoll', atMost: 0.5, of: 'node' },
      { tier: 'direct', trials: /^idle$/, atMost: 1024, of: 'one' },
    ],
    [
      finished('echo', { node: [10], 'millrace-epoll': [4], 'direct-epoll': [6] }),
      finished('idle', { 'millrace-epoll': [3000], 'direct-epoll': [700] }),
    ],
  );
  assert.deepEqual(verdicts.map(verdictLine), [
    'MISSED  echo, cpu: direct-epoll is 0.600 of node, at most 0.50',
    'met     idle, cpu: direct-epoll has 700, at most 1024',
  ]);
});

test('a goal against a rival that was not run is neither met nor missed', () => {
  const verdicts = judge(
    [{ trials: /^echo$/, ring: 'epoll', atMost: 1, of: 'bun' }],
    [finished('echo', { 'millrace-epoll': [6] })],
  );
  assert.equal(verdicts.length, 1);
  assert.equal(verdicts[0]?.isMet, undefined);
});

test('bars stand cheapest first, in proportion, with their figures, and text is escaped', () => {
  const svg = barChart(
    {
      title: 'a < b & c',
      unit: 'µs',
      digits: 1,
      bars: [
        { name: 'node', value: 10, family: 'node' },
        { name: 'ours', value: 5, family: 'ours' },
      ],
    },
    themes.light,
  );
  const widths = [...svg.matchAll(/<rect[^>]* width="([\d.]+)"/g)].map((match) => Number(match[1]));
  assert.equal(widths.length, 2);
  assert.equal(widths[1], 2 * (widths[0] ?? 0));
  assert.ok(svg.indexOf('>ours<') < svg.indexOf('>node<'));
  assert.ok(svg.includes('a &lt; b &amp; c') && !svg.includes('a < b'));
  assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"[^>]*>[\s\S]*<\/svg>\n$/);
});

test('a chart without any figure is still a chart', () => {
  for (const theme of Object.values(themes)) {
    assert.match(barChart({ title: '', unit: '', digits: 0, bars: [] }, theme), /<\/svg>/);
    assert.match(overviewChart([{ title: 'echo', ratios: [undefined, 0.5] }], ['io_uring', 'epoll'], theme), />0\.50</);
  }
});

test('results, tables and two charts for each trial are written', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-report-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const facts = {
    date: 'now',
    command: 'npm run bench',
    machine: { cpu: 'x' },
    versions: { node: 'v1' },
    missing: ['go is left out'],
  };
  const all = [finished('echo', { node: [10, undefined], 'millrace-epoll': [6, 6] })];
  writeResults(folder, facts, all, judge([{ trials: /echo/, atMost: 1, of: 'node' }], all));
  assert.deepEqual(readdirSync(folder).sort(), [
    ...['echo-dark.svg', 'echo-light.svg', 'overview-dark.svg', 'overview-light.svg'],
    ...['results.json', 'tables.md'],
  ]);
  const results = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8'));
  assert.equal(results.versions.node, 'v1');
  assert.deepEqual(results.results[0].rivals[0].samples, [{ cpu: 10, p50: 100 }, null]);
  assert.equal(results.results[0].baseline, 'node');
  assert.equal(results.goals[0].ratio, 0.6);
  const tables = readFileSync(join(folder, 'tables.md'), 'utf8');
  assert.match(tables, /\| millrace-epoll \| 6\.0 \|/);
  assert.match(tables, /- go is left out/);
});
