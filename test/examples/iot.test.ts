import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { connect, type Peer, start } from '../support/program.ts';

const LIMIT = { timeout: 60_000 };

function journalFile(t: TestContext, text = ''): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-iot-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'reports.txt');
  writeFileSync(path, text);
  return path;
}

const reportsIn = (path: string): string[] => readFileSync(path, 'utf8').trimEnd().split('\n');

async function startGateway(t: TestContext, journal: string, port = 0) {
  const gateway = start(t, 'examples/iot/gateway', ['--port', String(port), '--journal', journal]);
  const address = await gateway.address();
  const hello = async (device: string): Promise<Peer> => {
    const peer = await connect(t, address);
    peer.write(`{"device":"${device}"}\n`);
    return peer;
  };
  return { gateway, address, hello };
}

test('a report is acknowledged when it is in the journal, and kept once', LIMIT, async (t) => {
  const journal = journalFile(t, 'attic 1 19.5\nattic 2 20\nattic 3 2'); // the last one was cut off by a crash
  const { gateway, hello } = await startGateway(t, journal);
  const attic = await hello('attic');
  attic.write('{"seq":2,"celsius":20}\n');
  assert.equal(await attic.line(), '{"ack":2}');
  assert.deepEqual(reportsIn(journal), ['attic 1 19.5', 'attic 2 20']);
  attic.write('{"seq":3,"celsius":21}\n{"seq":3,"celsius":21}\n{"seq":4,"celsius":-2.5}\n');
  const whole = ['attic 1 19.5', 'attic 2 20', 'attic 3 21', 'attic 4 -2.5'];
  assert.deepEqual(await attic.lines(3), ['{"ack":3}', '{"ack":3}', '{"ack":4}']);
  assert.deepEqual(reportsIn(journal), whole);

  // On another connection, while the first is there still: that one goes.
  const again = await hello('attic');
  await attic.ended;
  again.write('{"seq":4,"celsius":-2.5}\n');
  assert.equal(await again.line(), '{"ack":4}');
  assert.deepEqual(reportsIn(journal), whole);
  assert.equal(gateway.stderr, '');
});

test('an order is given on every connection, until it is done', LIMIT, async (t) => {
  const { hello } = await startGateway(t, journalFile(t));
  const first = await hello('pump');
  first.write('{"seq":10,"celsius":20}\n');
  assert.equal(await first.line(), '{"ack":10}');
  const order = await first.line();
  assert.match(order, /^\{"order":10,"intervalMs":\d+\}$/);
  first.socket.resetAndDestroy();
  const second = await hello('pump');
  assert.equal(await second.line(), order);
  second.write('{"done":9}\n');
  second.socket.end();
  assert.equal(await second.rest(), '');
  const third = await hello('pump');
  assert.equal(await third.line(), order);
  third.write('{"done":10}\n');
  third.socket.end();
  assert.equal(await third.rest(), '');
  const fourth = await hello('pump');
  fourth.write('{"seq":11,"celsius":20}\n');
  assert.equal(await fourth.line(), '{"ack":11}');
});

test('what is no message of the protocol ends its connection, and is not kept', LIMIT, async (t) => {
  const journal = journalFile(t);
  const { gateway, address, hello } = await startGateway(t, journal);
  for (const nonsense of [
    'x',
    'null',
    '[]',
    '7',
    '{"seq":-1,"celsius":1}',
    '{"seq":1,"celsius":"1"}',
    '{"seq":1}',
    '{}',
  ]) {
    const peer = await hello('attic');
    peer.write(`${nonsense}\n`);
    await peer.ended;
  }
  for (const name of ['"../x"', '7', 'null', `"${'x'.repeat(33)}"`]) {
    const peer = await connect(t, address);
    peer.write(`{"device":${name}}\n{"seq":1,"celsius":1}\n`);
    assert.equal(await peer.rest(), '', name);
  }
  const peer = await connect(t, address);
  peer.write('{"seq":1,"celsius":1}\n'); // of whom?
  assert.equal(await peer.rest(), '');
  assert.equal(readFileSync(journal, 'utf8'), '');
  assert.equal(gateway.stderr, '');
});

test(
  'of what was acknowledged nothing is lost, though connections are cut and the gateway is killed',
  LIMIT,
  async (t) => {
    const journal = journalFile(t);
    const first = await startGateway(t, journal);
    const { port } = first.address;
    const load = '--devices 300 --reports 12 --interval-ms 100 --cut-ms 1000';
    const args = ['--port', String(port), ...load.split(' ')];
    const devices = start(t, 'examples/iot/devices', args);
    await devices.line(/"acked":\d{3,},/);
    const acked = Number(/.*"acked":(\d+),/s.exec(devices.stdout)![1]);
    await first.gateway.stop('SIGKILL');
    assert.ok(reportsIn(journal).length >= acked, `${reportsIn(journal).length} reports of ${acked} acknowledged ones`);

    const second = await startGateway(t, journal, port);
    assert.deepEqual(await devices.ended, { code: 0, signal: null });
    const last = JSON.parse(devices.stdout.trimEnd().split('\n').at(-1)!);
    assert.equal(last.measured, 3_600);
    assert.equal(last.acked, 3_600);
    assert.ok(last.cut > 100, `${last.cut} connections were cut`);
    assert.ok(last.orders > 0);
    const kept = reportsIn(journal).map((line) => line.split(' ').slice(0, 2).join(' '));
    assert.equal(new Set(kept).size, 3_600);
    assert.equal(kept.length, 3_600, 'each once');

    assert.deepEqual(await second.gateway.stop('SIGTERM'), { code: 0, signal: null });
    assert.match(second.gateway.stdout, /"online":0,.*\n$/);
    assert.equal(first.gateway.stderr + second.gateway.stderr + devices.stderr, '');
  },
);

test('the gateway says in a sentence why it can not begin', LIMIT, async (t) => {
  const journal = journalFile(t);
  const { address } = await startGateway(t, journal);
  const second = start(t, 'examples/iot/gateway', ['--port', String(address.port), '--journal', journal]);
  assert.deepEqual(await second.ended, { code: 1, signal: null });
  assert.match(second.stderr, /^listen EADDRINUSE: [^\n]*\n$/);
});
