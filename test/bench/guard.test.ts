import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Baseline, compare } from '../../bench/guard/judge.ts';

const baseline: Baseline = {
  versions: {},
  connections: 50,
  counts: { epoll: { instructions: 1000, systemCalls: 2 } },
};

test('four per cent more instructions are no news', () => {
  const { warned, lines } = compare(baseline, { epoll: { instructions: 1040, systemCalls: 2.1 } });
  assert.equal(warned, 0);
  assert.deepEqual(lines, [
    'epoll: 1040 instructions and 2.10 system calls a message; before: 1000 instructions and 2.00 system calls a message; instructions +4.0 %',
  ]);
});

test('six per cent more instructions are warned of', () => {
  const { warned, passed, lines } = compare(baseline, { epoll: { instructions: 1060, systemCalls: 2 } });
  assert.deepEqual([warned, passed], [1, 0]);
  assert.match(lines[0] ?? '', /^WARNING epoll: .*instructions \+6\.0 %$/);
});

test('one system call more for each message is warned of, however few the instructions', () => {
  assert.equal(compare(baseline, { epoll: { instructions: 900, systemCalls: 3 } }).warned, 1);
});

test('less is never warned of', () => {
  const { warned, lines } = compare(baseline, { epoll: { instructions: 500, systemCalls: 1 } });
  assert.equal(warned, 0);
  assert.match(lines[0] ?? '', /instructions -50\.0 %$/);
});

test('an engine without a baseline is told', () => {
  const { passed, lines } = compare(baseline, { io_uring: { instructions: 1, systemCalls: 1 } });
  assert.equal(passed, 1);
  assert.match(lines[0] ?? '', /nothing to compare/);
});

test('the committed baseline has both rings', () => {
  const committed = JSON.parse(readFileSync('bench/guard/baseline.json', 'utf8')) as Baseline;
  for (const engine of ['io_uring', 'epoll']) assert.ok((committed.counts[engine]?.instructions ?? 0) > 0, engine);
});
