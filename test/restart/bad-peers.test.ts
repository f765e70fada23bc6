/** Whoever asks for the sockets of a process may be broken, or somebody else: it goes on, and says why. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { engine } from 'millrace';
import { decode, encode, type Message } from '#src/restart/protocol.ts';
import { once, type Stage } from '../support/net.ts';
import { Client, limit, type Program, stand, WAIT_MS } from './support/run.ts';

const options = { ...limit, skip: engine === 'node' && 'engine node hands nothing over' };

/** A message as DescriptorChannel frames it, without descriptors. */
function frame(message: object, count = 0): Buffer {
  const payload = encode(message as Message);
  const header = Buffer.from([0, 0, 0, 0, count, 0, 0x52, 0x4d]);
  header.writeUInt32LE(payload.byteLength);
  return Buffer.concat([header, payload]);
}

/** Speaks to the socket at a path, until the other side ends. */
async function speak(t: Stage, path: string, bytes: Buffer, isOver: boolean): Promise<string> {
  const socket = connect(path);
  t.after(() => void socket.destroy());
  let answer = '';
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
  socket.on('error', () => {}); // reset: it has not read all
  socket.write(bytes);
  if (isOver) socket.end();
  await once(socket, 'close', WAIT_MS);
  return answer;
}

const hello = frame({ is: 'hello', protocol: 1, pid: 1 });
const cases: readonly [what: string, bytes: Buffer, isOver: boolean, code: string][] = [
  ['speaks something else', Buffer.from('GET / HTTP/1.1\r\n\r\n'), false, 'PROTOCOL'],
  ['speaks another version', frame({ is: 'hello', protocol: 99, pid: 1 }), false, 'PROTOCOL'],
  ['begins with something else', frame({ is: 'ready' }), false, 'PROTOCOL'],
  ['says what is no message', frame({ is: 'hello', protocol: 'one' }), false, 'PROTOCOL'],
  ['says what nobody knows', frame({ is: 'constructor' }), false, 'PROTOCOL'],
  ['promises descriptors that do not come', frame({ is: 'hello', protocol: 1, pid: 1 }, 3), false, 'PEER_LOST'],
  ['ends in the middle of a message', hello.subarray(0, 11), true, 'PEER_LOST'],
  ['ends at once', Buffer.alloc(0), true, 'PEER_LOST'],
  ['ends when it has the sockets', hello, true, 'PEER_LOST'],
  ['fails', Buffer.concat([hello, frame({ is: 'failed', message: 'no' })]), false, 'FAILED'],
  ['hangs in the middle of a message', hello.subarray(0, 11), false, 'READY_TIMEOUT'],
  ['hangs when it has the sockets', hello, false, 'READY_TIMEOUT'],
];

test('a process goes on, whatever the one that asks for its sockets does', options, async (t) => {
  const service = await stand(t);
  const path = join(service.folder, 'restart');
  service.configure({ options: { path, readyMs: 1000 } });
  const child: Program = service.start();
  const [, , port] = await child.heard('A ready');
  const client = new Client(t, { port: Number(port) });
  const before = await client.ask('fds');
  for (const [what, bytes, isOver, code] of cases) {
    const answer = await speak(t, path, bytes, isOver);
    assert.deepEqual(await child.heard('A error'), ['A', 'error', `MILLRACE_ERR_${code}`], what);
    if (what === 'speaks another version') assert.match(answer, /"refused","protocol":1/);
    assert.match(await client.ask('who'), /^A \d+ who$/);
  }
  while ((await client.ask('fds')) !== before) await new Promise((resolve) => setImmediate(resolve));
});

test('messages are what they should be, or none', () => {
  const message = { is: 'hello', protocol: 1, pid: 2 } as const;
  const both = decode(encode(message, Buffer.from('bytes')));
  assert.deepEqual(both?.message, message);
  assert.equal(both?.bytes.toString(), 'bytes');
  const place = { address: null, port: 1, family: 4, ipv6Only: false, reusePort: false };
  const sockets = (each: object): Buffer => encode({ is: 'sockets', sockets: [each], isLast: true } as Message);
  assert.notEqual(decode(sockets({ place })), undefined);
  for (const bad of [
    Buffer.alloc(0),
    Buffer.from([9, 0, 0, 0, 123]),
    Buffer.from([2, 0, 0, 0, 123, 58]),
    Buffer.from([4, 0, 0, 0, ...Buffer.from('null')]),
    encode({ is: 'toString' } as unknown as Message),
    encode({ is: 'hello', protocol: -1, pid: 1 }),
    sockets({}),
    sockets({ place: { ...place, family: 5 } }),
    sockets({ place: { ...place, port: '1' } }),
    sockets({ place: { ...place, address: 1 } }),
    sockets({ place, name: 7 }),
  ])
    assert.equal(decode(bad), undefined, bad.toString('latin1'));
});
