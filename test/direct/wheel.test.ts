import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { TICK_MS, Wheel, WheelEntry } from 'millrace/direct';

class Bell extends WheelEntry {
  readonly rings: number[] = [];
  readonly wheel: Wheel;
  again: number;
  act: () => void = () => {};

  constructor(wheel: Wheel, again = 0) {
    super();
    this.wheel = wheel;
    this.again = again;
  }

  override onTime(): number {
    this.rings.push(this.wheel.tick);
    this.act();
    return this.again;
  }
}

/** A wheel whose time the test moves. */
function wheelOf(t: test.TestContext): { wheel: Wheel; pass(ms: number): void } {
  const timers = mock.timers;
  let nowMs = 0;
  timers.enable({ apis: ['setTimeout'] });
  t.mock.method(performance, 'now', () => nowMs);
  t.after(() => timers.reset());
  return {
    wheel: new Wheel(),
    pass: (ms) => {
      for (let passed = 0; passed < ms; passed += TICK_MS) {
        nowMs += TICK_MS;
        timers.tick(TICK_MS);
      }
    },
  };
}

test('an entry is called after its time, never before', (t) => {
  const { wheel, pass } = wheelOf(t);
  for (const ms of [1, 50, 99, 100, 101, 1000, 5000, 20_000]) {
    const bell = new Bell(wheel);
    wheel.add(bell, ms);
    pass(ms);
    assert.deepEqual(bell.rings, [], `${ms} ms are not over for sure`);
    pass(250);
    assert.equal(bell.rings.length, 1, `${ms} ms are over`);
    pass(60_000);
    assert.equal(bell.rings.length, 1);
  }
});

test('a wheel turns only while it has entries', (t) => {
  const { wheel, pass } = wheelOf(t);
  pass(1000);
  assert.deepEqual([wheel.tick, wheel.size], [0, 0]);
  const bell = new Bell(wheel);
  wheel.add(bell, 300);
  assert.equal(wheel.size, 1);
  pass(10_000);
  const { tick } = wheel;
  assert.ok(tick > 0 && tick < 10);
  assert.equal(wheel.size, 0);
  pass(1000);
  assert.equal(wheel.tick, tick);
  wheel.add(bell, 300);
  pass(1000);
  assert.equal(bell.rings.length, 2);
});

test('an entry can be removed, moved, and called again and again', (t) => {
  const { wheel, pass } = wheelOf(t);
  const [removed, moved, again] = [new Bell(wheel), new Bell(wheel), new Bell(wheel, 500)];
  for (const bell of [removed, moved, again]) wheel.add(bell, 1000);
  pass(900);
  wheel.remove(removed);
  wheel.remove(removed);
  wheel.add(moved, 1000);
  assert.equal(wheel.size, 2);
  pass(900);
  assert.deepEqual([removed.rings.length, moved.rings.length, again.rings.length], [0, 0, 1]);
  pass(400);
  assert.equal(again.rings.length, 2);
  assert.deepEqual([removed.rings.length, moved.rings.length], [0, 1]);
  again.again = 0;
  pass(2000);
  assert.equal(wheel.size, 0);
});

test('a time beyond what the wheel holds comes early, so that the entry can look', (t) => {
  const { wheel, pass } = wheelOf(t);
  const bell = new Bell(wheel);
  wheel.add(bell, 3_600_000);
  pass(26_000);
  assert.equal(bell.rings.length, 1);
});

test('entries may add, remove and move each other while they are called', (t) => {
  const { wheel, pass } = wheelOf(t);
  const bells = Array.from({ length: 6 }, () => new Bell(wheel));
  const [a, b, c, d, e, f] = bells as [Bell, Bell, Bell, Bell, Bell, Bell];
  for (const bell of [a, b, c, d]) wheel.add(bell, 100);
  a.act = () => wheel.remove(b);
  c.act = () => {
    wheel.add(d, 100);
    wheel.add(c, 100);
    wheel.add(e, 100);
    c.act = () => {};
  };
  f.act = () => wheel.remove(f);
  wheel.add(f, 100);
  pass(300);
  assert.deepEqual(
    bells.map(({ rings }) => rings.length),
    [1, 0, 1, 0, 0, 1],
  );
  assert.equal(wheel.size, 3);
  pass(300);
  assert.deepEqual(
    bells.map(({ rings }) => rings.length),
    [1, 0, 2, 1, 1, 1],
  );
  assert.equal(wheel.size, 0);
});

test('an entry that throws keeps the others from nothing but one tick', (t) => {
  const { wheel, pass } = wheelOf(t);
  const [bad, good] = [new Bell(wheel), new Bell(wheel)];
  bad.act = () => {
    throw new Error('mine');
  };
  wheel.add(bad, 100);
  wheel.add(good, 100);
  assert.throws(() => pass(300), /mine/);
  assert.deepEqual([good.rings.length, wheel.size], [0, 1]);
  pass(TICK_MS);
  assert.deepEqual([good.rings.length, wheel.size], [1, 0]);
});
