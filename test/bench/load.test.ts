// The load generator against servers that do something wrong: it must say what.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { type TestContext, test } from 'node:test';
import { buildLoad } from '../../bench/load/build.ts';

const isPossible = process.platform === 'linux' && spawnSync(process.env['CC'] ?? 'cc', ['--version']).status === 0;
const options = { timeout: 30_000, skip: isPossible ? false : 'needs Linux and a C compiler' };
const path = isPossible ? buildLoad({ root: process.cwd(), mayInstall: false }) : '';

interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

async function load(...args: string[]): Promise<Outcome> {
  const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [status] = await once(child, 'close');
  return { status, stdout, stderr };
}

/** A server for one test; gives what the load is to be told. */
async function serve(t: TestContext, handler: (socket: net.Socket) => void): Promise<string[]> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    sockets.add(socket.on('error', () => {}));
    handler(socket);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as net.AddressInfo;
  return ['--port', String(port), '--warmup', '0', '--seconds', '0.2', '--stall', '0.3', '--limit', '10'];
}

const echo = (socket: net.Socket): void => {
  socket.on('data', (data) => socket.write(data)).on('end', () => socket.end());
};

test('counts what came back, with percentiles from a histogram that holds all', options, async (t) => {
  const args = await serve(t, echo);
  const pid = String(process.pid);
  const { stdout, status } = await load(
    'echo',
    ...args,
    '--connections',
    '7',
    '--size',
    '1000',
    '--pid',
    pid,
    '--histogram',
  );
  assert.equal(status, 0);
  const { operations, latencyUs, server, histogram } = JSON.parse(stdout);
  const counted = (histogram as [number, number][]).reduce((sum, [, count]) => sum + count, 0);
  assert.equal(counted, operations);
  const ends = (histogram as [number, number][]).map(([end]) => end);
  assert.deepEqual(
    ends,
    [...ends].sort((a, b) => a - b),
  );
  assert.ok(latencyUs.p50 <= latencyUs.p99 && latencyUs.p99 <= latencyUs.max);
  assert.ok(server.cpuUsPerOperation > 0);
});

test('in the open loop a stall is charged to all messages that were due', options, async (t) => {
  let isFirst = true;
  const args = await serve(t, (socket) => {
    socket.on('data', (data) => {
      // The whole server stands still once, for half of the measured phase.
      if (isFirst) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
      isFirst = false;
      socket.write(data);
    });
  });
  const { stdout, stderr } = await load(
    'echo',
    ...args,
    '--rate',
    '1000',
    '--connections',
    '5',
    '--seconds',
    '1',
    '--stall',
    '5',
  );
  assert.equal(stderr, '');
  const { latencyUs } = JSON.parse(stdout);
  // A closed loop would have seen five slow messages; due were 500, of 1,000.
  assert.ok(latencyUs.max > 490_000, `max ${latencyUs.max}`);
  assert.ok(latencyUs.p90 > 200_000, `p90 ${latencyUs.p90}`);
});

const wrong: Record<string, { handler: (socket: net.Socket) => void; args: string[]; message: RegExp }> = {
  'a byte of an echo is changed': {
    handler: (socket) => {
      let at = 0;
      socket.on('data', (data: Buffer) => {
        if (at <= 5000 && at + data.length > 5000) data[5000 - at]! ^= 1;
        at += data.length;
        socket.write(data);
      });
    },
    args: ['echo', '--size', '1024'],
    message: /wrong byte on connection 0 at position 5000: 0x.. instead of 0x../,
  },
  'an echo stays away': {
    handler: () => {},
    args: ['echo'],
    message: /no complete message for 0.3 s; 1 of 1 connections wait/,
  },
  'an echo comes twice': {
    handler: (socket) => socket.on('data', (data: Buffer) => socket.write(Buffer.concat([data, data]))),
    args: ['echo'],
    message: /connection 0 got back more than it sent/,
  },
  'the server closes': {
    handler: (socket) => socket.on('data', () => socket.end()),
    args: ['echo'],
    message: /the server closed connection 0/,
  },
  'a rate can’t be borne': {
    handler: () => {},
    args: ['echo', '--rate', '1000000'],
    message: /can't bear 1000000 messages a second/,
  },
  'a copy of a round is missing': {
    handler: (socket) => {
      socket.write('+');
      socket.on('data', (data) => socket.write(data));
    },
    args: ['rounds', '--copies', '2'],
    message: /a round was not complete after 0.3 s: 0 of 1 connections have all/,
  },
  'a round is not greeted': {
    handler: (socket) => socket.write('?'),
    args: ['rounds'],
    message: /connection 0 was not greeted/,
  },
  'a download is short': {
    handler: (socket) => socket.end('\0'),
    args: ['download', '--bytes', '1048576'],
    message: /1 bytes came instead of 1048576/,
  },
  'a download is wrong': {
    handler: (socket) => socket.end('x'),
    args: ['download'],
    message: /wrong byte on connection 0 at position 0/,
  },
  'an upload is miscounted': {
    handler: (socket) => socket.resume().on('end', () => socket.end('17')),
    args: ['upload', '--bytes', '1048576'],
    message: /the server got '17' bytes instead of 1048576/,
  },
  'a short connection is not served': {
    handler: (socket) => socket.end(),
    args: ['churn'],
    message: /closed a connection after 0 of 64 bytes/,
  },
  'an answer differs': {
    handler: (socket) => socket.on('data', () => socket.write('on')),
    args: ['exchange', '--request', '3f', '--answer', '6f6b'],
    message: /wrong byte on connection 0 at position 1: 0x6e instead of 0x6b/,
  },
};
for (const [title, { handler, args, message }] of Object.entries(wrong)) {
  test(`fails when ${title}`, options, async (t) => {
    const { status, stdout, stderr } = await load(...args, ...(await serve(t, handler)));
    assert.match(stderr, message);
    assert.equal(status, 1);
    assert.equal(stdout, '');
  });
}

const refused: [args: string[], message: RegExp][] = [
  [['echo'], /--port is missing/],
  [['--port', '1'], /takes one mode/],
  [['dance', '--port', '1'], /takes one mode/],
  [['echo', '--port', '0'], /--port must be a number from 1 to 65535/],
  [['echo', '--port', '1', '--size', '1x'], /--size must be a number/],
  [['echo', '--port', '1', '--host', 'localhost'], /--host must be an IP address/],
  [['exchange', '--port', '1', '--request', 'xy', '--answer', '00'], /--request takes hexadecimal digits/],
];
for (const [args, message] of refused) {
  test(`refuses ${args.join(' ')}`, options, async () => {
    const { status, stderr } = await load(...args);
    assert.match(stderr, message);
    assert.equal(status, 2);
  });
}

test('says so when nobody listens', options, async () => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  await once(server.close(), 'close');
  const { status, stderr } = await load('echo', '--port', String(port), '--limit', '5');
  assert.match(stderr, /connect 1: Connection refused/);
  assert.equal(status, 1);
});
