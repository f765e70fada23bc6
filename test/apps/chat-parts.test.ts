// The parts of the chat that need no process: each in, out, and at its limits.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { listenProblem, parse } from '../../apps/chat/options.ts';
import { Pace } from '../../apps/chat/pace.ts';
import { type Member, Room } from '../../apps/chat/room.ts';
import { type Sample, Status, statusLine } from '../../apps/chat/status.ts';
import { isName, nameKey, plain } from '../../apps/chat/text.ts';

test('plain text has no control character left, keeps all others, and costs linear time', { timeout: 10_000 }, () => {
  fc.assert(
    fc.property(
      fc.string({
        unit: fc.constantFrom('\u001b', '\u009b', '[', ']', '0', ';', 'm', '\u0007', '\\', ' ', 'P', 'x', 'é'),
      }),
      (text) => {
        assert.doesNotMatch(plain(text), /\p{Cc}/u);
      },
    ),
  );
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', '[', 'm', ' ', 'é', '𝄞') }), (text) =>
      assert.equal(plain(text), text),
    ),
  );
  for (const nasty of ['\u001b', '\u001b[', '\u001b]', '\u001b[0', '\u009b;', '\u001bP', '\u001b '])
    assert.equal(/\p{Cc}/u.test(plain(nasty.repeat(200_000))), false);
});

test('names are what can not be mistaken for anything else, and alike ones are one', () => {
  for (const name of ['a', 'Zoë', 'x_1-2.3', '日本', '7of9', 'नमस्ते', 'x'.repeat(20)]) assert.ok(isName(name), name);
  for (const name of ['', ' ', 'a b', '/who', '*', 'a:', 'x'.repeat(21), '\u0301a', '_x', 'a\n', 'a\u200b', 'a\u202e'])
    assert.ok(!isName(name), name);
  assert.equal(nameKey('ａＮＮ'), nameKey('Ann'));
  assert.equal(nameKey('Zoe\u0308'), nameKey('ZOË'));
});

/** A member that keeps what it is sent. */
class Listener implements Member {
  heard: string[] = [];
  send(line: string): void {
    this.heard.push(line);
  }
}

test('a room carries messages to all but their sender, and keeps the last twenty for newcomers', () => {
  const room = new Room();
  const [ann, bob, cy] = [new Listener(), new Listener(), new Listener()];
  assert.equal(room.join(ann, 'ann'), undefined);
  assert.equal(room.join(bob, 'bob'), undefined);
  for (let i = 0; i < 25; i++) room.say(bob, `line ${i}`);
  assert.equal(ann.heard.at(-1), 'bob: line 24');
  assert.equal(bob.heard.length, 1);
  room.join(cy, 'cy');
  assert.deepEqual(cy.heard.slice(0, 3), ['* The last that was said:', 'bob: line 5', 'bob: line 6']);
  assert.equal(cy.heard.length, 22);
  assert.deepEqual(room.names(), ['ann', 'bob', 'cy']);
});

test('a room gives each name once, frees it with its owner, and lets one change the letters of its own', () => {
  const room = new Room();
  const [ann, bob] = [new Listener(), new Listener()];
  room.join(ann, 'ann');
  assert.match(room.join(bob, 'ANN')!, /taken/);
  assert.equal(room.nameOf(bob), undefined);
  assert.equal(room.rename(ann, 'Ann'), undefined);
  assert.match(room.join(bob, 'ann')!, /taken/);
  assert.equal(room.rename(ann, 'anna'), undefined);
  assert.equal(room.join(bob, 'ann'), undefined);
  assert.match(room.rename(ann, 'ann')!, /taken/);
  room.leave(bob, 'left');
  room.leave(bob, 'left');
  assert.deepEqual(ann.heard.slice(-2), ['* ann joined', '* ann left']);
  assert.equal(room.rename(ann, 'ann'), undefined);
});

test('the pace lets a burst go, then as many as the time gives', () => {
  let now = 0;
  const pace = new Pace(10, () => now);
  const go = (): number => {
    let lines = 0;
    for (; pace.waitMs() === 0; lines++) pace.take();
    return lines;
  };
  assert.equal(go(), 40);
  assert.equal(pace.waitMs(), 100);
  now += 99;
  assert.equal(go(), 0);
  now += 1;
  assert.equal(go(), 1);
  now += 3_600_000;
  assert.equal(go(), 40);
});

/** A status on an output that is kept, at a time that stands still. */
function startStatus(isTTY: boolean, columns = 80) {
  const kept = { now: 0, written: '', sample: { connections: 0, bytesIn: 0, bytesOut: 0 } as Sample };
  const write = (text: string | Uint8Array): boolean => {
    kept.written += text;
    return true;
  };
  const output = { isTTY, columns, write };
  const status = new Status(
    output,
    () => ({ ...kept.sample }),
    () => kept.now,
  );
  status.start();
  return { kept, status };
}

test('the status line is redrawn in place on a terminal, and the log goes above it', (t) => {
  const { kept, status } = startStatus(true);
  t.after(() => status.stop());
  kept.now = 1_000;
  status.update();
  kept.sample = { connections: 1, bytesIn: 1_500, bytesOut: 12_345_678 };
  kept.now = 2_000;
  status.update();
  status.log('news');
  status.stop();
  const [empty, busy] = ['0 connections, 0 B/s in, 0 B/s out', '1 connection, 1.5 kB/s in, 12 MB/s out'];
  assert.equal(kept.written, `\r\x1b[K${empty}\r\x1b[K${busy}\r\x1b[Knews\n${busy}\r\x1b[K`);
});

test('the status line never wraps', (t) => {
  const { kept, status } = startStatus(true, 20);
  t.after(() => status.stop());
  assert.equal(kept.written, '\r\x1b[K0 connections, 0 B/');
});

test('away from a terminal the status is a plain line, and only when something has changed', (t) => {
  const { kept, status } = startStatus(false);
  t.after(() => status.stop());
  kept.now = 10_000;
  status.update();
  assert.equal(kept.written, '');
  kept.sample = { connections: 2, bytesIn: 10_000, bytesOut: 0 };
  kept.now = 20_000;
  status.update();
  kept.now = 30_000;
  status.update();
  assert.equal(kept.written, '2 connections, 1.0 kB/s in, 0 B/s out\n');
});

test('rates are rounded to what a reader can use', () => {
  const before = { connections: 0, bytesIn: 0, bytesOut: 0 };
  const rate = (bytesIn: number): string => /, (.*) in,/.exec(statusLine(before, { ...before, bytesIn }, 1))![1]!;
  const rates: [number, string][] = [
    [999, '999 B/s'],
    [1_000, '1.0 kB/s'],
    [9_949, '9.9 kB/s'],
    [9_950, '10 kB/s'],
    [999_499, '999 kB/s'],
    [999_500, '1.0 MB/s'],
    [5e12, '5000 GB/s'],
  ];
  for (const [bytes, text] of rates) assert.equal(rate(bytes), text);
});

test('the command line gives options, or one sentence', () => {
  assert.deepEqual(parse([]), {
    options: { port: 3000, host: '127.0.0.1', maxConnections: 10_000, linesPerSecond: 50 },
  });
  assert.deepEqual(parse(['--port', '4000', '--host=0.0.0.0']), {
    options: { port: 4000, host: '0.0.0.0', maxConnections: 10_000, linesPerSecond: 50 },
  });
  assert.deepEqual(parse(['--help', '--port', 'x']), { help: true });
  const problems: [string[], RegExp][] = [
    [
      ['--port', 'http'],
      /^--port is 'http', where a whole number from 0 to 65535 should be; --help lists the options\.$/,
    ],
    [['--port', '-1'], /^Option '--port' argument is ambiguous; --help lists the options\.$/],
    [['--port=-1'], /^--port is '-1', /],
    [['--port=65536'], /^--port is '65536', /],
    [['--port=1e3'], /^--port is '1e3', /],
    [['--port='], /^--port is '', /],
    [['--port'], /^Option '--port <value>' argument missing; /],
    [['--host='], /^--host is empty, /],
    [['--max-connections=0'], /^--max-connections is '0', /],
    [['--prot', '1'], /^Unknown option '--prot'; --help lists the options\.$/],
    [['4000'], /^Unexpected argument '4000'; /],
  ];
  for (const [args, pattern] of problems) {
    const parsed = parse(args);
    assert.ok('problem' in parsed, String(args));
    assert.match(parsed.problem, pattern);
  }
});

test('what keeps the chat from listening is said in one sentence', () => {
  const problem = (code: string): string =>
    listenProblem(Object.assign(new Error(`listen ${code}`), { code }), 80, '10.0.0.1');
  for (const code of ['EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL', 'ENOTFOUND', 'EMFILE'])
    assert.match(problem(code), /^[^.]*(10\.0\.0\.1|80)[^\n]*\.$/);
  assert.match(problem('EMFILE'), /^Can't listen on 10\.0\.0\.1:80: listen EMFILE\.$/);
});
