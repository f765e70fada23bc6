import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readOptions } from '../../bench/options.ts';

test('without arguments the quick selection runs', () => {
  const options = readOptions([]);
  assert.equal(options.full, false);
  assert.deepEqual(options.cases, []);
  assert.equal(options.rivals, undefined);
  assert.equal(options.runs, 3);
  assert.equal(options.seconds, 0.6);
});

test('cases, rivals and lists of numbers are read', () => {
  const options = readOptions([
    'echo',
    'bulk',
    '--rivals',
    'node,bun',
    '--size',
    '64,1024',
    '--in-flight=16',
    '--full',
  ]);
  assert.deepEqual(options.cases, ['echo', 'bulk']);
  assert.deepEqual(options.rivals, ['node', 'bun']);
  assert.deepEqual(options.sizes, [64, 1024]);
  assert.deepEqual(options.inFlight, [16]);
  assert.equal(options.seconds, 1.2);
});

test('--pin takes two CPUs or off', () => {
  assert.deepEqual(readOptions(['--pin', '2,3']).pin, { server: 2, load: 3 });
  assert.equal(readOptions(['--pin', 'off']).pin, 'off');
});

const refused: [args: string[], message: RegExp][] = [
  [['--runs', '0'], /--runs must be a number from 1 to 1000, not '0'/],
  [['--runs', '1.5'], /--runs must be a whole number/],
  [['--seconds', 'long'], /--seconds must be a number/],
  [['--seconds='], /--seconds must be a number/],
  [['--size', '64,'], /--size must be a number/],
  [['--size', '0'], /--size must be a number from 1/],
  [['--connections', '1e9'], /--connections must be a number from 1 to 500000/],
  [['--pin', '1'], /--pin takes two CPUs/],
  [['--pin', '1,2,3'], /--pin takes two CPUs/],
  [['--fast'], /--fast/],
];
for (const [args, message] of refused) {
  test(`refuses ${args.join(' ')}`, () => {
    assert.throws(() => readOptions(args), message);
  });
}
