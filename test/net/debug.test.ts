/** `NODE_DEBUG=millrace` from outside. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { engine } from 'millrace';
import { run } from '../support/child.ts';
import { limit } from '../support/net.ts';

const program = `
const server = net.createServer((socket) => socket.end()).listen(0, '127.0.0.1', () => {
  net.connect(server.address().port, '127.0.0.1').on('close', () => {
    server.close();
    net.connect(1, '127.0.0.1').on('error', () => {});
  }).resume();
});`;

test('NODE_DEBUG=millrace tells what begins, ends and fails, and why the engine is what it is', limit, async (t) => {
  const { stderr, code } = await run(t, program, { env: { ...process.env, NODE_DEBUG: 'millrace' } }).exit;
  assert.equal(code, 0, stderr);
  const lines = stderr.split('\n').filter((line) => line.startsWith('MILLRACE '));
  const said = lines.map((line) => line.replace(/^MILLRACE \d+: /, ''));
  assert.equal(said.shift(), `engine ${engine}: forced by MILLRACE_ENGINE=${engine}`);
  if (engine === 'node') {
    assert.deepEqual(said, [], "the rest is Node's own NODE_DEBUG=net");
    return;
  }
  for (const pattern of [
    /^listen at \{"address":"127\.0\.0\.1","family":"IPv4","port":\d+\}, fd \d+$/,
    /^fd \d+: connect to 127\.0\.0\.1:\d+$/,
    /^fd \d+: connected$/,
    /^fd \d+: accepted from \{"address":"127\.0\.0\.1"/,
    /^fd \d+: end$/,
    /^fd \d+: close$/,
    /^fd \d+: connect ECONNREFUSED$/,
  ])
    assert.ok(
      said.some((line) => pattern.test(line)),
      `${pattern} in\n${stderr}`,
    );
});

test('nothing is said without it', limit, async (t) => {
  const { stderr } = await run(t, program).exit;
  assert.equal(stderr, '');
});
