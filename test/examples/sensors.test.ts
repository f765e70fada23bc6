import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import test from 'node:test';
import { connect, Peer, start } from '../support/program.ts';

const LIMIT = { timeout: 60_000 };

test('sensors sums up each device, and says what is wrong with a bad reading', LIMIT, async (t) => {
  const program = start(t, 'examples/sensors', ['--port', '0']);
  const address = await program.address();
  const peer = await connect(t, address);
  peer.write(
    '{"device":"attic","celsius":19.5}\n{"device":"attic","celsius":-3}\nnonsense\nnull\n{"device":"../..","celsius":1}\n',
  );
  peer.write(
    '{"device":"attic","celsius":"warm"}\n{"device":"attic","celsius":1e999}\n{"device":"attic","celsius":4}\n',
  );
  const device = 'error: no "device" of 1 to 32 letters, digits, _ or -';
  const number = 'error: no number in "celsius"';
  assert.deepEqual(await peer.lines(5), [device, device, device, number, number]);
  peer.socket.end();
  await program.line(/^attic: 3 readings, -3 to 19\.5 °C, last 4 °C$/);
  assert.equal(program.stderr, '');
});

test('sensor delivers its readings to the collector', LIMIT, async (t) => {
  const collector = start(t, 'examples/sensors', ['--port', '0']);
  const { port } = await collector.address();
  const devices = ['boiler', 'cellar', 'roof'].map((device) =>
    start(t, 'examples/sensor', ['--port', String(port), '--device', device, '--interval-ms', '2', '--count', '25']),
  );
  for (const device of devices) {
    assert.deepEqual(await device.ended, { code: 0, signal: null });
    assert.match(device.stdout, /^connected\ndelivered 25 readings\n$/);
  }
  for (const _ of devices) await collector.line(/^(boiler|cellar|roof): 25 readings, /);
});

test('sensor measures on while the collector is away, and delivers when it is back', LIMIT, async (t) => {
  const first = net.createServer().listen(0, '127.0.0.1');
  await once(first, 'listening');
  const { port } = first.address() as net.AddressInfo;
  const sensor = start(t, 'examples/sensor', ['--port', String(port), '--interval-ms', '2', '--count', '50']);
  const [early] = (await once(first, 'connection')) as [net.Socket];
  first.close();
  early.resetAndDestroy();
  await sensor.line(/^no connection, trying again in \d+ ms$/);
  await sensor.line(/^no connection, trying again in \d+ ms$/);

  const second = net.createServer().listen(port, '127.0.0.1');
  t.after(() => second.close());
  const [socket] = (await once(second, 'connection')) as [net.Socket];
  const lines = (await new Peer(socket).rest()).trimEnd().split('\n');
  // What was on its way when the first connection was reset is lost, as TCP gives no receipt; the rest has waited.
  assert.ok(lines.length > 25, `${lines.length} of 50 readings`);
  for (const line of lines) assert.match(line, /^\{"device":"sensor-1","celsius":-?[\d.]+\}$/);
  assert.deepEqual(await sensor.ended, { code: 0, signal: null });
  assert.match(sensor.stdout, /delivered 50 readings\n$/);
});
