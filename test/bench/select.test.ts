import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cases } from '../../bench/cases/cases.ts';
import { goals } from '../../bench/goals.ts';
import { readOptions } from '../../bench/options.ts';
import { rivals } from '../../bench/rivals.ts';
import { chooseCases, chooseRivals, plan, secondsOf } from '../../bench/select.ts';
import type { Bench } from '../../bench/trial.ts';

const bench = (...args: string[]): Bench => ({
  options: readOptions(args),
  placement: { server: [], load: [], about: '' },
  root: '',
  load: '',
});
const planned = (...args: string[]) => {
  const one = bench(...args);
  const { options } = one;
  return plan(one, chooseCases(cases, options.cases), chooseRivals(options.rivals, options.full));
};

test('the default selection is for less than a quarter of an hour, --full for about an hour', () => {
  assert.ok(secondsOf(planned(), bench()) < 900);
  assert.ok(secondsOf(planned('--full'), bench('--full')) < 3900);
});

test('every trial has an id of its own', () => {
  const ids = planned('--full').map(({ trial }) => trial.id);
  assert.equal(new Set(ids).size, ids.length);
});

test('--full has each size of echo with each number of connections, one and sixteen in flight', () => {
  const ids = new Set(planned('--full').map(({ trial }) => trial.id));
  for (const size of [64, 1024, 8192, 16_384, 65_536])
    for (const count of [1, 50, 1000, 10_000])
      for (const inFlight of [1, 16]) assert.ok(ids.has(`echo-${size}x${count}x${inFlight}`));
});

test('every goal is about a trial and a rival that exist', () => {
  const trials = planned('--full').map(({ trial }) => trial.id);
  for (const goal of goals) {
    assert.ok(
      trials.some((id) => goal.trials.test(id)),
      String(goal.trials),
    );
    if (goal.ofTrial) assert.ok(trials.includes(goal.ofTrial), goal.ofTrial);
    assert.ok(['node', 'self', 'one', ...rivals.map((rival) => rival.name)].includes(goal.of), goal.of);
  }
});

test('every echo has a goal', () => {
  for (const { trial } of planned('--full', 'echo'))
    assert.ok(
      goals.some((goal) => goal.trials.test(trial.id)),
      trial.id,
    );
});

test('both lines of Node that ratios are against take part in every trial of the default selection', () => {
  for (const { trial, rivals: some } of planned()) {
    const names = some.map((rival) => rival.name);
    assert.ok(names.includes('node@24') && names.includes('node@26'), trial.id);
  }
});

test('named rivals and groups run in the order of the table, each once', () => {
  const names = (...args: string[]) => chooseRivals(args, false).map((rival) => rival.name);
  assert.deepEqual(names('bun', 'node'), ['node', 'bun']);
  assert.deepEqual(names('nodes', 'node@24'), ['node@22', 'node@24', 'node@26']);
  assert.throws(() => chooseRivals(['perl'], false), /there is no rival 'perl'; there are: node, .*groups: quick/);
  assert.throws(() => chooseCases(cases, ['race']), /there is no case 'race'; there are: echo, /);
});

test('a rival without the server that a trial needs is left out, and told if it was named', () => {
  const [trial] = planned('fan-out', '--rivals', 'node,c-uring');
  assert.deepEqual(
    trial?.rivals.map((rival) => rival.name),
    ['node'],
  );
  assert.deepEqual(trial?.notes, ['c-uring has no broadcast server']);
});

test('a case that is named runs even if the selection has nothing of it', () => {
  assert.ok(planned('programs', '--rivals', 'node').length > 0);
});
