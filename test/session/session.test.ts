import assert from 'node:assert/strict';
import test from 'node:test';
import { lengthPrefixed, lines } from 'millrace/framing';
import type { Session, SessionCloseReason } from 'millrace/session';
import { leakGuard } from '../support/net.ts';
import { dialling, limit, raw, serving, settled, text, turns, until, within } from './support/serving.ts';

await leakGuard();

const echo = async (session: Session<string>): Promise<void> => {
  for await (const message of session) await session.send(message.toUpperCase());
};

// -------------------------------------------------------------------------------------------------------- there and back

test('messages are answered in order, however their bytes are cut', limit, async (t) => {
  const serves = await serving(t, echo);
  const peer = await raw(t, serves);
  peer.socket.write('one\ntw');
  await peer.has('ONE\n');
  peer.socket.write('o\r\n\nthr');
  await peer.has('ONE\nTWO\n\n');
  peer.socket.end('ee\n');
  assert.equal(await peer.over(), 'ONE\nTWO\n\nTHREE\n');
  assert.deepEqual(await serves.closed(), {
    ...{ reason: 'ENDED', message: 'the peer has ended, and so have we', cause: undefined, unsentBytes: 0 },
  });
  await until(() => peer.events.includes('close'), 'closed');
  assert.deepEqual(peer.events, ['end', 'close']);
});

test('a client and a server talk in types', limit, async (t) => {
  const codec = lengthPrefixed({ lengthFieldLength: 2 }).json();
  const serves = await serving<unknown>(
    t,
    async (session) => {
      for await (const message of session) await session.send({ got: message });
    },
    { codec },
  );
  const client = await dialling<unknown>(t, serves, { codec });
  await client.send({ a: [1, 'é'] });
  assert.deepEqual(await client.receive(), { got: { a: [1, 'é'] } });
  await client.send(null);
  assert.deepEqual(await client.receive(), { got: null });
  assert.equal((await client.close()).reason, 'CLOSED');
  assert.equal((await serves.closed()).reason, 'ENDED');
  assert.equal(await client.receive(), undefined);
});

test('leaving the handler flushes, ends, waits for the peer and closes', limit, async (t) => {
  const serves = await serving(t, async (session) => {
    await session.receive();
    void session.send('bye'.repeat(100_000));
  });
  const peer = await raw(t, serves);
  peer.socket.write('hello\n');
  const received = await peer.over();
  assert.equal(received, `${'bye'.repeat(100_000)}\n`);
  await turns(10);
  assert.deepEqual([peer.events, serves.reasons.length], [['end'], 0]);
  peer.socket.end('too late\n');
  assert.equal((await serves.closed()).reason, 'CLOSED');
  assert.deepEqual(serves.errors, []);
});

test('breaking out of the loop closes', limit, async (t) => {
  const log: string[] = [];
  const serves = await serving(t, async (session) => {
    for await (const message of session) {
      log.push(message);
      break;
    }
    log.push((await session.closed).reason);
  });
  const peer = await raw(t, serves);
  peer.socket.end('one\ntwo\n');
  await peer.over();
  await serves.closed();
  await until(() => log.length === 2, 'the handler is done');
  assert.deepEqual(log, ['one', 'CLOSED']);
});

test('a peer that has ended is still answered', limit, async (t) => {
  const serves = await serving(t, async (session) => {
    const all: string[] = [];
    for await (const message of session) all.push(message);
    await session.send(all.join('+'));
  });
  const peer = await raw(t, serves);
  peer.socket.end('1\n2\n3');
  assert.equal(await peer.over(), '1+2+3\n');
  assert.equal((await serves.closed()).reason, 'ENDED');
});

test('our side ends, and the peer is still heard', limit, async (t) => {
  const got: string[] = [];
  const serves = await serving(t, async (session) => {
    await session.send('that is all');
    session.end();
    assert.equal(session.isWritable, false);
    assert.equal(session.trySend('more'), 'dropped');
    assert.equal(session.trySendFrame(Buffer.from('more\n')), 'dropped');
    assert.throws(() => session.trySendFrame('more\n' as never), { code: 'MILLRACE_ERR_MISUSE' });
    await assert.rejects(session.send('more'), { code: 'MILLRACE_ERR_MISUSE' });
    for await (const message of session) got.push(message);
  });
  const peer = await raw(t, serves);
  assert.equal(await peer.over(), 'that is all\n');
  peer.socket.write('one\n');
  peer.socket.end('two\n');
  assert.equal((await serves.closed()).reason, 'ENDED');
  assert.deepEqual(got, ['one', 'two']);
  assert.deepEqual(serves.errors, []);
});

test('a client ends with its server, once it has read everything', limit, async (t) => {
  const serves = await serving(t, async (session) => {
    for (let i = 0; i < 3; i++) await session.send(String(i));
  });
  const client = await dialling(t, serves);
  await settled(() => client.unreadFrames);
  assert.equal(serves.reasons.length, 0);
  for (const expected of ['0', '1', '2', undefined]) assert.equal(await client.receive(), expected);
  assert.equal((await within(client.closed, 'closed')).reason, 'ENDED');
  assert.equal((await serves.closed()).reason, 'CLOSED');
});

test('a client may stay when its server has ended', limit, async (t) => {
  const got: string[] = [];
  const serves = await serving(t, async (session) => {
    session.end();
    for await (const message of session) got.push(message);
  });
  const client = await dialling(t, serves, { allowHalfOpen: true });
  assert.equal(await client.receive(), undefined);
  await turns(5);
  await client.send('still here');
  await client.close();
  assert.equal((await serves.closed()).reason, 'ENDED');
  assert.deepEqual(got, ['still here']);
});

// ------------------------------------------------------------------------------------------------------- one consumer

test('a session has one consumer', limit, async (t) => {
  const serves = await serving(t, async (session) => {
    const iterator = session[Symbol.asyncIterator]();
    assert.throws(() => session[Symbol.asyncIterator](), { code: 'MILLRACE_ERR_MISUSE', name: 'SessionError' });
    const first = iterator.next();
    await assert.rejects(session.receive(), { code: 'MILLRACE_ERR_MISUSE' });
    assert.deepEqual(await first, { done: false, value: 'one' });
    assert.equal(await session.receive(), 'two');
    assert.deepEqual(await iterator.next(), { done: true, value: undefined });
  });
  const peer = await raw(t, serves);
  peer.socket.end('one\ntwo\n');
  await serves.closed();
  assert.deepEqual(serves.errors, []);
});

test('a wait that is given up loses no message', limit, async (t) => {
  const serves = await serving(t, echo);
  const client = await dialling(t, serves);
  const giveUp = new AbortController();
  const waiting = client.receive({ signal: giveUp.signal });
  giveUp.abort(new Error('no time'));
  await assert.rejects(waiting, /no time/);
  await assert.rejects(client.receive({ signal: giveUp.signal }), /no time/);
  await assert.rejects(client.send('x', { signal: giveUp.signal }), /no time/);
  await client.send('hello');
  assert.equal(await client.receive({ signal: new AbortController().signal }), 'HELLO');
});

// ------------------------------------------------------------------------------------------------------ backpressure

test('a consumer that does not read stops the peer, and memory has a bound', limit, async (t) => {
  const serves = await serving(t, async (session) => void (await session.closed), {
    limits: { readBuffer: { highFrames: 10, highBytes: 1000 } },
  });
  const peer = await raw(t, serves);
  const chunk = Buffer.from('123456789\n'.repeat(10_000));
  while (peer.socket.write(chunk));
  const [session] = serves.sessions;
  assert.ok(session);
  await until(() => session.unreadFrames === 10, 'the read buffer is full');
  while (peer.socket.writableLength < 16 * 1024 * 1024) peer.socket.write(chunk);
  const read = await settled(() => session.bytesRead);
  assert.equal(session.unreadFrames, 10);
  assert.ok(read < 1024 * 1024, `${read} bytes were read from the kernel`);
  assert.ok(peer.socket.writableLength > 0);
});

test('a slow consumer gets everything, in order', limit, async (t) => {
  let expected = 0;
  const serves = await serving(
    t,
    async (session) => {
      for await (const message of session) {
        assert.equal(Number(message), expected++);
        if (expected % 7 === 0) await turns(1);
      }
    },
    { limits: { readBuffer: { highFrames: 4, lowFrames: 1 } } },
  );
  const peer = await raw(t, serves);
  for (let i = 0; i < 2000; i += 20) {
    peer.socket.write(Array.from({ length: 20 }, (_, k) => `${i + k}\n`).join(''));
    if (i % 400 === 0) await turns(1);
  }
  peer.socket.end('2000');
  assert.equal((await serves.closed()).reason, 'ENDED');
  assert.deepEqual([expected, serves.errors], [2001, []]);
});

test('send waits for a peer that does not read, and goes on when it does', limit, async (t) => {
  const frame = 'x'.repeat(8_191);
  let sent = 0;
  const serves = await serving(t, async (session) => {
    for (; sent < 4_000; sent++) await session.send(frame);
  });
  const peer = await raw(t, serves, { reads: false });
  peer.socket.pause();
  await until(() => serves.sessions.length === 1, 'a session');
  const [session] = serves.sessions;
  assert.ok(session);
  await settled(() => sent);
  assert.ok(sent < 4_000, 'the kernel takes less than 32 MB');
  // Above the low mark, or it would have gone on; and at most one frame above the high one.
  assert.ok(session.bufferedBytes > 16 * 1024, `${session.bufferedBytes}`);
  assert.ok(session.bufferedBytes < 64 * 1024 + 8_193, `${session.bufferedBytes}`);
  assert.equal(session.bufferedFrames, Math.ceil(session.bufferedBytes / 8_192));
  let bytes = 0;
  peer.socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
  peer.socket.resume();
  await within(peer.over(), 'everything is sent', 9_000);
  assert.equal(bytes, 4_000 * 8_192);
  assert.deepEqual([session.framesWritten, session.bufferedBytes, session.bufferedFrames], [4_000, 0, 0]);
});

test('a peer that does not read is closed at the cap', limit, async (t) => {
  const serves = await serving(
    t,
    async (session) => {
      while (session.isWritable) {
        session.trySend('x'.repeat(50_000));
        await turns(1);
      }
      await session.send('more');
    },
    { limits: { writeBuffer: { highBytes: 100_000, maxBytes: 300_000 } } },
  );
  const peer = await raw(t, serves, { reads: false });
  peer.socket.pause();
  const reason = await within(serves.closed(), 'closed', 9_000);
  assert.deepEqual([reason.reason, reason.limit], ['WRITE_OVERFLOW', 300_000]);
  assert.ok(reason.unsentBytes > 200_000 && reason.unsentBytes <= 300_000, `${reason.unsentBytes}`);
  assert.deepEqual(serves.errors, []);
  assert.equal(serves.server.metrics().unsentBytes, reason.unsentBytes);
});

test('a peer that reads slowly gets the newest state, and every message in between', limit, async (t) => {
  let session: Session<string> | undefined;
  const serves = await serving(
    t,
    async (accepted) => {
      session = accepted;
      await accepted.receive();
    },
    { limits: { writeBuffer: { highBytes: 50_000 } } },
  );
  const peer = await raw(t, serves, { reads: false });
  peer.socket.pause();
  await until(() => session !== undefined, 'a session');
  const padding = 'x'.repeat(10_000);
  let tick = 0;
  // Until the kernel takes nothing more, and then some.
  for (let queued = 0; queued < 50; tick++) {
    if (session?.trySend(`state ${tick} ${padding}`, { conflate: 'state' }) === 'queued') queued++;
    else queued = 0;
    await turns(1);
  }
  session?.trySend('event');
  assert.ok((session?.bufferedBytes ?? 0) < 80_000, `${session?.bufferedBytes}`);
  assert.ok((session?.framesDropped ?? 0) > 30);
  let received = '';
  peer.socket.on('data', (chunk: Buffer) => (received += chunk));
  peer.socket.resume();
  await until(() => received.endsWith('event\n'), 'everything is read');
  const ticks = [...received.matchAll(/state (\d+)/g)].map(([, number]) => Number(number));
  assert.equal(ticks.at(-1), tick - 1, 'the newest');
  assert.deepEqual(
    ticks,
    [...ticks].sort((a, b) => a - b),
  );
});

// ------------------------------------------------------------------------------------------------------------- endings

test('a handler that throws ends its own session only, and what it sent arrives', limit, async (t) => {
  const problem = new Error('oops');
  const serves = await serving(t, async (session) => {
    if ((await session.receive()) === 'fine') return echo(session);
    await session.send('last words');
    throw problem;
  });
  const other = await raw(t, serves);
  other.socket.write('fine\n');
  const peer = await raw(t, serves);
  peer.socket.write('bad\n');
  assert.equal(await peer.over(), 'last words\n');
  peer.socket.end();
  const reason = await serves.closed();
  assert.deepEqual([reason.reason, reason.cause], ['HANDLER_ERROR', problem]);
  assert.deepEqual(serves.errors, [problem]);
  other.socket.write('still there\n');
  await other.has('STILL THERE\n');
});

test('a handler that throws within its loop is told the same, and at once', limit, async (t) => {
  const problem = new Error('oops');
  const serves = await serving(t, async (session) => {
    for await (const _ of session) throw problem;
  });
  const peer = await raw(t, serves);
  peer.socket.write('one\n');
  await until(() => serves.errors.length === 1, 'told');
  assert.deepEqual(serves.reasons, []);
  assert.equal(await peer.over(), '');
  peer.socket.end();
  const reason = await serves.closed();
  assert.deepEqual([reason.reason, reason.cause, serves.errors], ['HANDLER_ERROR', problem, [problem]]);
});

test('a peer that resets is no error of the handler', limit, async (t) => {
  const log: unknown[] = [];
  const serves = await serving(t, async (session) => {
    session.signal.addEventListener('abort', () => log.push((session.signal.reason as { code: string }).code));
    assert.equal(await session.receive(), 'one');
    await session.closed;
    await assert.rejects(session.send('x'), { code: 'MILLRACE_ERR_RESET', name: 'SessionError' });
    await session.receive();
  });
  const peer = await raw(t, serves);
  peer.socket.write('one\ntw');
  await until(() => serves.sessions[0]?.framesRead === 1, 'read');
  peer.socket.resetAndDestroy();
  const reason = await serves.closed();
  assert.equal(reason.reason, 'RESET');
  assert.equal((reason.cause as { code?: string }).code, 'ECONNRESET');
  await turns(3);
  assert.deepEqual(log, ['MILLRACE_ERR_RESET']);
  assert.deepEqual(serves.errors, []);
});

test('what was received before a reset is still read', limit, async (t) => {
  const got: unknown[] = [];
  const serves = await serving(
    t,
    async (session) => {
      await session.closed;
      try {
        for await (const message of session) got.push(message);
      } catch (error) {
        got.push((error as { reason: string }).reason);
        throw error;
      }
    },
    { limits: { readBuffer: { highFrames: 2 } } },
  );
  const peer = await raw(t, serves);
  peer.socket.write('1\n2\n3\n4\n5\nhalf');
  await until(() => serves.sessions[0]?.unreadFrames === 2, 'received');
  // It is stalled, so only writing finds out that the peer is gone.
  peer.socket.resetAndDestroy();
  await turns(2);
  serves.sessions[0]?.trySend('x');
  await turns(2);
  serves.sessions[0]?.trySend('x');
  assert.equal((await serves.closed()).reason, 'RESET');
  await until(() => got.length === 6, 'read');
  assert.deepEqual(got, ['1', '2', '3', '4', '5', 'RESET']);
  assert.deepEqual(serves.errors, []);
});

test('a bad frame ends the session behind the good ones', limit, async (t) => {
  const got: unknown[] = [];
  const codec = lines({ maxFrameBytes: 5 }).utf8();
  const serves = await serving(
    t,
    async (session) => {
      for await (const message of session) got.push(message);
    },
    { codec },
  );
  const peer = await raw(t, serves);
  peer.socket.write('one\ntwo\nthree and more\n');
  await peer.over();
  const reason = await serves.closed();
  assert.deepEqual([reason.reason, reason.limit], ['FRAME_TOO_LARGE', 5]);
  assert.equal((reason.cause as { code?: string }).code, 'MILLRACE_ERR_FRAME_TOO_LARGE');
  assert.deepEqual(got, ['one', 'two']);
  assert.deepEqual([peer.events[0], serves.errors], ['reset', []]);
});

test('a stream that ends within a frame is told as such', limit, async (t) => {
  let thrown: unknown;
  const codec = lengthPrefixed({ lengthFieldLength: 1 }).utf8();
  const serves = await serving(
    t,
    async (session) => {
      try {
        for await (const _ of session);
      } catch (error) {
        thrown = error;
        throw error;
      }
    },
    { codec },
  );
  const peer = await raw(t, serves);
  peer.socket.end('\x03one\x05tw');
  assert.equal((await serves.closed()).reason, 'TRUNCATED');
  assert.equal((thrown as { code: string }).code, 'MILLRACE_ERR_TRUNCATED');
  assert.deepEqual(serves.errors, []);
});

test('abort closes at once', limit, async (t) => {
  const serves = await serving(t, echo);
  const peer = await raw(t, serves);
  peer.socket.write('one\n');
  await peer.has('ONE\n');
  const [session] = serves.sessions;
  const why = new Error('enough');
  session?.abort(why);
  const reason = await serves.closed();
  assert.deepEqual([reason.reason, reason.cause], ['ABORTED', why]);
  await until(() => peer.events.includes('close'), 'closed');
  assert.deepEqual(peer.events, ['reset', 'close']);
  assert.deepEqual(serves.errors, []);
});

test('closing the server closes its sessions well', limit, async (t) => {
  const serves = await serving(t, echo);
  const peer = await raw(t, serves);
  peer.socket.write('one\n');
  await peer.has('ONE\n');
  const closing = serves.server.close();
  await peer.over();
  peer.socket.end();
  await within(closing, 'closed');
  assert.deepEqual(
    serves.reasons.map(({ reason }) => reason),
    ['SERVER_CLOSED'],
  );
  assert.equal(serves.server.sessionCount, 0);
});

test('a signal closes the server; another ends a client', limit, async (t) => {
  const stop = new AbortController();
  const serves = await serving(t, echo, { signal: stop.signal });
  const end = new AbortController();
  const client = await dialling(t, serves, { signal: end.signal });
  await client.send('x');
  assert.equal(await client.receive(), 'X');
  end.abort('over');
  const reason: SessionCloseReason = await client.closed;
  assert.deepEqual([reason.reason, reason.cause], ['ABORTED', 'over']);
  await serves.closed();
  stop.abort();
  await assert.rejects(dialling(t, serves), { code: 'ECONNREFUSED' });
  await assert.rejects(dialling(t, serves, { signal: AbortSignal.abort(new Error('never')) }), /never/);
});

test('a peer may die at any byte, in either way: each session is over once, and nothing is left', limit, async (t) => {
  const got: string[][] = [];
  const serves = await serving(t, async (session) => {
    const mine: string[] = [];
    got.push(mine);
    for await (const message of session) {
      mine.push(message);
      await session.send(message);
    }
  });
  const wire = 'one\ntwo\r\n\nthree\n';
  const whole = ['one', 'two', '', 'three'];
  for (let cut = 0; cut <= wire.length; cut++) {
    for (const isReset of [true, false]) {
      const peer = await raw(t, serves);
      const before = serves.server.metrics().bytesRead;
      if (cut > 0) peer.socket.write(wire.slice(0, cut));
      await until(() => serves.server.metrics().bytesRead === before + cut, 'received');
      if (isReset) peer.socket.resetAndDestroy();
      else peer.socket.destroy();
      const { reason } = await serves.closed();
      // A line without its newline at the end is a line.
      assert.ok(isReset ? reason === 'RESET' : reason === 'ENDED' || reason === 'RESET', reason);
      const mine = got.at(-1) ?? [];
      const full = wire.slice(0, cut).split(/\r?\n/).slice(0, -1);
      assert.deepEqual(mine.slice(0, full.length), full);
      assert.ok(mine.length <= full.length + 1);
      if (cut === wire.length) assert.deepEqual(mine, whole);
    }
  }
  const { openSessions, openConnections, sessions, bufferedBytes } = serves.server.metrics();
  assert.deepEqual([openSessions, openConnections, sessions, bufferedBytes], [0, 0, 2 * (wire.length + 1), 0]);
  assert.deepEqual([serves.errors, serves.reasons.length], [[], sessions]);
});

// ----------------------------------------------------------------------------------------------------- changing codecs

test('the codec is changed between two messages, and no byte is lost', limit, async (t) => {
  const prefixed = lengthPrefixed({ lengthFieldLength: 1 }).utf8();
  const serves = await serving(
    t,
    async (session) => {
      assert.equal(await session.receive(), 'BINARY');
      await session.send('OK');
      const binary = session.switchCodec(prefixed, { decodeAhead: true });
      for await (const message of binary) await binary.send(`<${message}>`);
    },
    { decodeAhead: false },
  );
  for (const chunks of [['BINARY\n\x03one', '\x03two'], ['BINARY\n\x03one\x03two'], [...'BINARY\n\x03one\x03two']]) {
    const peer = await raw(t, serves);
    for (const chunk of chunks) {
      peer.socket.write(chunk);
      if (chunks.length > 3) await turns(2);
    }
    await peer.has('OK\n\x05<one>\x05<two>');
    peer.socket.end();
    assert.equal((await serves.closed()).reason, 'ENDED');
  }
  const late = await serving(
    t,
    async (session) => {
      while ((await session.receive()) !== undefined);
      const binary = session.switchCodec(prefixed, { decodeAhead: true });
      assert.equal(await binary.receive(), undefined);
      await binary.send('end');
    },
    { decodeAhead: false },
  );
  const ended = await raw(t, late);
  ended.socket.end('x\n');
  assert.equal(await ended.over(), '\x03end');
  assert.equal((await late.closed()).reason, 'ENDED');
  const plain = await serving(t, async (session) => void session.switchCodec(prefixed), { codec: text });
  (await raw(t, plain)).socket.end();
  assert.equal((await plain.closed()).reason, 'HANDLER_ERROR');
  assert.deepEqual(
    plain.errors.map((error) => (error as { code: string }).code),
    ['MILLRACE_ERR_MISUSE'],
  );
});
