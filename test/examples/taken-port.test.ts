import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import test from 'node:test';
import { connect, start } from '../support/program.ts';

test('taken-port serves on a spare port, and moves to its own as soon as that is free', {
  timeout: 30_000,
}, async (t) => {
  const blocker = net.createServer().listen(0, '127.0.0.1');
  t.after(() => blocker.close());
  await once(blocker, 'listening');
  const { port } = blocker.address() as net.AddressInfo;

  const program = start(t, 'examples/taken-port', ['--port', String(port), '--retry-ms', '20']);
  await program.line(new RegExp(`^port ${port} is taken, trying again every 20 ms$`));
  const spare = await program.address();
  assert.notEqual(spare.port, port);
  const early = await connect(t, spare);
  assert.equal(await early.line(), `this is port ${spare.port}`);

  blocker.close();
  assert.deepEqual(await program.address(), { host: '127.0.0.1', port });
  const late = await connect(t, { host: '127.0.0.1', port });
  assert.equal(await late.line(), `this is port ${port}`);

  // Who came early is still served, and is the last of the spare port.
  early.write('still here\n');
  assert.equal(await early.line(), 'still here');
  early.socket.end();
  await program.line(/^the last client of the spare port has left$/);
  late.write('and on\n');
  assert.equal(await late.line(), 'and on');
  assert.equal(program.stderr, '');
});

test('taken-port gives up at once where waiting would not help', { timeout: 30_000 }, async (t) => {
  const program = start(t, 'examples/taken-port', ['--host', '192.0.2.1', '--port', '0']);
  assert.deepEqual(await program.ended, { code: 1, signal: null });
  assert.match(program.stderr, /^listen EADDRNOTAVAIL: address not available 192\.0\.2\.1\n$/);
});
