import assert from 'node:assert/strict';
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { again, assertSame, bytes, LARGE, port, proveMillrace, say } from './app.mjs';

async function open(options) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, options);
  await once(socket, 'open');
  return socket;
}

async function echo(socket, data) {
  const reply = once(socket, 'message');
  socket.send(data);
  return (await reply)[0];
}

async function converse(socket) {
  assert.equal(String(await echo(socket, 'grüß Gott')), 'grüß Gott');
  const large = bytes(LARGE);
  assertSame(await echo(socket, large), large, 'a large message');
  // Many small messages in one turn keep their order.
  const replies = [];
  const all = new Promise((resolve) => {
    const onMessage = (data) => {
      if (replies.push(String(data)) < 1000) return;
      socket.off('message', onMessage);
      resolve();
    };
    socket.on('message', onMessage);
  });
  for (let i = 0; i < 1000; i++) socket.send(String(i));
  await all;
  assert.deepEqual(
    replies,
    Array.from({ length: 1000 }, (_, i) => String(i)),
  );
  const pong = once(socket, 'pong');
  socket.ping('still there?');
  assert.equal(String((await pong)[0]), 'still there?');
  // A paused socket keeps what comes, and loses nothing of it.
  socket.pause();
  socket.send(large);
  await new Promise((resolve) => setImmediate(resolve));
  const reply = once(socket, 'message');
  socket.resume();
  assertSame((await reply)[0], large, 'a large message after a pause');
}

const plain = await open({ perMessageDeflate: false });
const deflated = await open({ perMessageDeflate: { threshold: 0 } });
proveMillrace(2);
await Promise.all([plain, deflated].map(converse));
const lost = Promise.all([plain, deflated].map((socket) => once(socket, 'close')));
say('connected');
say(`lost: ${(await lost).map(([code]) => code).join(' ')}`);
const next = await again(() => open());
await converse(next);
proveMillrace();
next.close(1000, 'done');
const [code, reason] = await once(next, 'close');
assert.deepEqual([code, String(reason)], [1000, 'done']);
say('connected again');
