import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import test from 'node:test';
import type { Session, SessionCloseReason } from 'millrace/session';
import { leakGuard } from '../support/net.ts';
import { limit, raw, serving, until } from './support/serving.ts';

await leakGuard();

test('a server counts what goes through it, and why connections end', limit, async (t) => {
  const serves = await serving(t, async (session) => {
    for await (const message of session) await session.send(message);
  });
  const first = await raw(t, serves);
  first.socket.write('one\ntwo\n');
  await first.has('one\ntwo\n');
  const second = await raw(t, serves);
  second.socket.end('three\n');
  await second.over();
  await serves.closed();
  assert.deepEqual(serves.server.metrics(), {
    ...{ openSessions: 1, openConnections: 1, sessions: 2, refused: {}, closed: { ENDED: 1 } },
    ...{ bytesRead: 14, bytesWritten: 14, framesRead: 3, framesWritten: 3, framesDropped: 0 },
    ...{ bufferedBytes: 0, unsentBytes: 0, loop: serves.server.metrics().loop },
  });
  assert.deepEqual([...serves.server.sessions()], [serves.sessions[0]]);
  first.socket.resetAndDestroy();
  await serves.closed();
  assert.deepEqual(serves.server.metrics().closed, { ENDED: 1, RESET: 1 });
});

test('the diagnostics channels tell the same', limit, async (t) => {
  const log: unknown[] = [];
  const listeners = {
    open: ({ session }: { session: Session<unknown> }) => log.push(['open', session.peer.address]),
    close: ({ reason }: { reason: SessionCloseReason }) => log.push(['close', reason.reason]),
    refused: ({ refusal }: { refusal: { reason: string } }) => log.push(['refused', refusal.reason]),
    error: ({ error }: { error: Error }) => log.push(['error', error.message]),
  };
  for (const [name, listener] of Object.entries(listeners)) {
    subscribe(`millrace:session:${name}`, listener as never);
    t.after(() => void unsubscribe(`millrace:session:${name}`, listener as never));
  }
  const serves = await serving(
    t,
    async (session) => {
      await session.receive();
      throw new Error('oops');
    },
    { limits: { connections: 1 } },
  );
  const peer = await raw(t, serves);
  await until(() => serves.sessions.length === 1, 'a session');
  const other = await raw(t, serves);
  await until(() => other.events.includes('close'), 'refused');
  peer.socket.end('x\n');
  await serves.closed();
  assert.deepEqual(log, [
    ['open', '127.0.0.1'],
    ['refused', 'TOO_MANY_CONNECTIONS'],
    ['error', 'oops'],
    ['close', 'HANDLER_ERROR'],
  ]);
});

test('without onError there is a warning, once', limit, async (t) => {
  const warnings: (Error & { code?: string })[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  t.after(() => void process.off('warning', onWarning));
  const serves = await serving(
    t,
    async () => {
      throw new Error('oops');
    },
    { onError: undefined },
  );
  for (let i = 0; i < 3; i++) {
    (await raw(t, serves)).socket.end();
    await serves.closed();
  }
  await until(() => warnings.length > 0, 'a warning');
  assert.deepEqual(
    warnings.map(({ code }) => code),
    ['MILLRACE_WARN_SESSION'],
  );
  assert.match(warnings[0]?.message ?? '', /serve\(\) has no onError: Error: oops/);
});

test('a message with bad content can be left out', limit, async (t) => {
  const { lines } = await import('millrace/framing');
  const bad: string[] = [];
  const serves = await serving<unknown>(
    t,
    async (session) => {
      for await (const message of session) await session.send(message);
    },
    { codec: lines().json(), onBadMessage: (error) => bad.push((error as { reason: string }).reason) },
  );
  const peer = await raw(t, serves);
  peer.socket.end('1\nno\n2\n');
  assert.equal(await peer.over(), '1\n2\n');
  assert.deepEqual(bad, ['BAD_JSON']);
});

test('a message that the codec leaves out is told as soon as it is too large, once', limit, async (t) => {
  const { lines } = await import('millrace/framing');
  const serves = await serving<string>(
    t,
    async (session) => {
      for await (const line of session) await session.send(`got ${line}`);
    },
    {
      codec: lines({ maxFrameBytes: 20, onTooLarge: 'skip' }).utf8(),
      onBadMessage: (error, session) => session.trySend((error as { reason: string }).reason),
    },
  );
  const peer = await raw(t, serves);
  peer.socket.write('x'.repeat(21));
  await peer.has('FRAME_TOO_LARGE\n');
  peer.socket.end(`x\nok\n${'y'.repeat(30)}\n1234`);
  const said = (await peer.over()).trimEnd().split('\n').sort();
  assert.deepEqual(said, ['FRAME_TOO_LARGE', 'FRAME_TOO_LARGE', 'got 1234', 'got ok']);
  assert.equal(serves.sessions[0]?.framesSkipped, 2);
});
