/**
 * One suite, two rings: every operation, every way it can end, and the same records expected of both. What io_uring
 * answers is the standard (the kernel wrote it); the epoll ring has to give the same.
 */
import assert from 'node:assert/strict';
import { openSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { AF, MSG, OP } from '#src/engine/abi.ts';
import { inet6Address, inetAddress, KINDS, native, Rig, type RigOptions, refusal, unixAddress } from './support/rig.ts';

type Scenario = (rig: Rig, t: TestContext) => Promise<void>;
interface Case {
  title: string;
  options: RigOptions;
  run: Scenario;
}
const cases: Case[] = [];

/** A test of both rings. It fails, too, if completions are left that the scenario did not take. */
function on(title: string, run: Scenario, options: RigOptions = {}): void {
  cases.push({ title, options, run });
}

/** No operation of this name needs to be valid: the ring answers for it, and goes on with the next. */
const UNKNOWN_OPCODE = 250;

// ---- batches ----

on('completes a nop with 0', async (rig) => {
  rig.nop();
  assert.deepEqual(await rig.take(1), ['nop 0']);
});

on('goes on after bad entries of a batch', async (rig) => {
  const [a] = rig.unixPair();
  rig.nop('first');
  rig.push('unknown', UNKNOWN_OPCODE, -1, 0, 0, 0, 0);
  rig.recv('recv', -1, 16);
  rig.send('send', 9999, 'x');
  rig.close('close', 9999);
  rig.send('sent', a, 'x');
  rig.nop('last');
  assert.deepEqual(await rig.take(7), [
    'first 0',
    'unknown EINVAL',
    'recv EBADF',
    'send EBADF',
    'close EBADF',
    'sent 1',
    'last 0',
  ]);
});

on('refuses descriptors that are no sockets', async (rig) => {
  const file = rig.track(openSync(process.execPath, 'r'));
  rig.recvMany('recv', file);
  rig.send('send', file, 'x');
  rig.acceptMany('accept', file);
  rig.connect('connect', file, inetAddress(1));
  assert.deepEqual(await rig.takeUnordered(4), [
    'accept ENOTSOCK',
    'connect ENOTSOCK',
    'recv ENOTSOCK',
    'send ENOTSOCK',
  ]);
});

on(
  'hands a full submission queue of 4 over by itself',
  async (rig) => {
    for (let i = 0; i < 11; i++) rig.nop(`nop${i}`);
    assert.deepEqual(
      await rig.take(11),
      Array.from({ length: 11 }, (_, i) => `nop${i} 0`),
    );
  },
  { sqEntries: 4, cqEntries: 64 },
);

on(
  'loses nothing and keeps the order behind a completion queue of 8',
  async (rig) => {
    for (let i = 0; i < 50; i++) rig.nop(`nop${i}`);
    native.enter(rig.ring.id, 0);
    assert.equal(rig.ring.hasOverflowed, true);
    assert.deepEqual(
      await rig.take(50),
      Array.from({ length: 50 }, (_, i) => `nop${i} 0`),
    );
    await rig.poll();
    assert.equal(rig.ring.hasOverflowed, false);
  },
  { sqEntries: 8, cqEntries: 8 },
);

on('returns both halves of user_data', async (rig) => {
  rig.generation = -2;
  rig.nop('old');
  rig.generation = 0x7fffffff;
  rig.nop('new');
  assert.deepEqual([(await rig.takeWhole()).userHigh, (await rig.takeWhole()).userHigh], [-2, 0x7fffffff]);
});

// ---- accept and connect ----

for (const [name, domain] of [
  ['IPv4', AF.INET],
  ['IPv6', AF.INET6],
  ['unix', AF.UNIX],
] as const) {
  on(`accepts one ${name} connection with a single accept`, async (rig) => {
    const [listener, address] = rig.listen(domain);
    const [first, second] = [rig.socket(domain), rig.socket(domain)];
    rig.accept('accept', listener);
    assert.deepEqual(await rig.rest(), []);
    rig.connect('connect', first, address);
    assert.deepEqual(await rig.takeUnordered(2), ['accept fd', 'connect 0']);
    rig.connect('connect', second, address);
    assert.deepEqual(await rig.take(1), ['connect 0']);
  });

  on(`accepts ${name} connections with a multishot until it is cancelled`, async (rig) => {
    const [listener, address] = rig.listen(domain);
    rig.connect('early', rig.socket(domain), address);
    assert.deepEqual(await rig.take(1), ['early 0']);
    rig.acceptMany('accept', listener);
    assert.deepEqual(await rig.take(1), ['accept fd more']);
    rig.connect('second', rig.socket(domain), address);
    rig.connect('third', rig.socket(domain), address);
    assert.deepEqual(await rig.takeUnordered(4), ['accept fd more', 'accept fd more', 'second 0', 'third 0']);
    rig.cancel('cancel', listener, 'accept');
    assert.deepEqual(await rig.takeUnordered(2), ['accept ECANCELED', 'cancel 0']);
    rig.connect('late', rig.socket(domain), address);
    assert.deepEqual(await rig.take(1), ['late 0']);
    assert.equal(new Set(rig.accepted).size, 3);
  });
}

on(
  'accepts a burst that is larger than one share of a turn',
  async (rig) => {
    const [listener, address] = rig.listen(AF.INET, 256);
    for (let i = 0; i < 150; i++) rig.connect('connect', rig.socket(AF.INET), address);
    rig.acceptMany('accept', listener);
    const all = await rig.take(300);
    assert.equal(all.filter((text) => text === 'accept fd more').length, 150);
    assert.equal(all.filter((text) => text === 'connect 0').length, 150);
  },
  { cqEntries: 1024 },
);

on('ends an accept when its listener is shut down', async (rig) => {
  const [listener] = rig.listen();
  rig.acceptMany('accept', listener);
  assert.deepEqual(await rig.rest(), []);
  rig.shutdown('shutdown', listener, 2);
  assert.deepEqual(await rig.takeUnordered(2), ['accept EINVAL', 'shutdown 0']);
});

on('reports refused connections', async (rig) => {
  const [listener, address] = rig.listen();
  rig.closeNow(listener);
  rig.connect('connect', rig.socket(AF.INET), address);
  assert.deepEqual(await rig.take(1), ['connect ECONNREFUSED']);
  const [listener6, address6] = rig.listen(AF.INET6);
  rig.closeNow(listener6);
  rig.connect('connect6', rig.socket(AF.INET6), address6);
  rig.connect('unix', rig.socket(AF.UNIX), unixAddress('nobody listens here'));
  assert.deepEqual(await rig.takeUnordered(2), ['connect6 ECONNREFUSED', 'unix ECONNREFUSED']);
});

on('reports a bad address', async (rig) => {
  rig.connect('short', rig.socket(AF.INET), inetAddress(80).subarray(0, 3));
  rig.connect('family', rig.socket(AF.INET), inet6Address(80));
  assert.deepEqual(await rig.takeUnordered(2), ['family EAFNOSUPPORT', 'short EINVAL']);
});

on('cancels a connect that nobody answers', async (rig) => {
  // listen(2): a full backlog lets Linux ignore further SYN segments.
  const [, address] = rig.listen(AF.INET, 0);
  rig.connect('first', rig.socket(AF.INET), address);
  assert.deepEqual(await rig.take(1), ['first 0']);
  const stuck = rig.socket(AF.INET);
  rig.connect('stuck', stuck, address);
  assert.deepEqual(await rig.rest(), []);
  rig.cancel('cancel', stuck, 'stuck');
  assert.deepEqual(await rig.takeUnordered(2), ['cancel 0', 'stuck ECANCELED']);
});

// ---- receive ----

on('receives into memory what is there, what comes later, and the end', async (rig) => {
  const [a, b] = await rig.tcpPair();
  rig.send('send', a, 'early');
  assert.deepEqual(await rig.take(1), ['send 5']);
  rig.recv('recv', b, 64);
  assert.deepEqual(await rig.take(1), ['recv 5']);
  rig.recv('recv', b, 64);
  assert.deepEqual(await rig.rest(), []);
  rig.send('send', a, 'later');
  assert.deepEqual(await rig.takeUnordered(2), ['recv 5', 'send 5']);
  assert.equal(Buffer.from(rig.memory.subarray(0, 5)).toString(), 'later');
  rig.recv('part', b, 2);
  assert.deepEqual(await rig.rest(), []);
  rig.send('send', a, 'three');
  assert.deepEqual(await rig.takeUnordered(2), ['part 2', 'send 5']);
  rig.recv('recv', b, 64);
  assert.deepEqual(await rig.take(1), ['recv 3']);
  rig.shutdown('shutdown', a);
  rig.recv('end', b, 64);
  rig.recv('again', b, 64);
  assert.deepEqual(await rig.takeUnordered(3), ['again 0', 'end 0', 'shutdown 0']);
});

on('says EAGAIN instead of waiting if asked to by MSG_DONTWAIT', async (rig) => {
  const [a] = rig.unixPair();
  rig.recv('recv', a, 16, MSG.DONTWAIT);
  assert.deepEqual(await rig.take(1), ['recv EAGAIN']);
});

on('reports a socket that is not connected', async (rig) => {
  rig.recvMany('recv', rig.socket(AF.INET));
  rig.send('send', rig.socket(AF.INET), 'x');
  assert.deepEqual(await rig.takeUnordered(2), ['recv ENOTCONN', 'send EPIPE']);
});

for (const [name, pair] of [
  ['TCP', (rig: Rig) => rig.tcpPair()],
  ['TCP over IPv6', (rig: Rig) => rig.tcpPair(AF.INET6)],
  ['unix', async (rig: Rig) => rig.unixPair()],
] as const) {
  on(`receives ${name} again and again with a multishot`, async (rig) => {
    const [a, b] = await pair(rig);
    rig.recvMany('recv', b);
    assert.deepEqual(await rig.rest(), []);
    for (const text of ['one', 'three', 'fourteen']) {
      rig.send('send', a, text);
      assert.deepEqual(await rig.takeUnordered(2), [`recv ${text.length} more buffer`, `send ${text.length}`]);
    }
    rig.shutdown('shutdown', a);
    assert.deepEqual(await rig.takeUnordered(2), ['recv 0', 'shutdown 0']);
    assert.equal(rig.received, 'onethreefourteen');
  });

  on(
    `receives ${name} one piece at a time with single receives`,
    async (rig) => {
      const [a, b] = await pair(rig);
      for (const text of ['one', 'three', 'fourteen', 'and more than a buffer holds: '.repeat(3)]) {
        rig.recvOne('recv', b);
        rig.send('send', a, text);
        assert.deepEqual(await rig.takeUnordered(2), [
          `recv ${Math.min(text.length, 64)} buffer`,
          `send ${text.length}`,
        ]);
      }
      rig.recvOne('recv', b);
      assert.deepEqual(await rig.take(1), ['recv 26 buffer']);
      rig.recvOne('recv', b);
      assert.deepEqual(await rig.rest(), []);
      rig.shutdown('shutdown', a);
      assert.deepEqual(await rig.takeUnordered(2), ['recv 0', 'shutdown 0']);
    },
    { bufferBytes: 64 },
  );

  on(`echoes ${name} in both directions at once`, async (rig) => {
    const [a, b] = await pair(rig);
    rig.recvMany('a', a);
    rig.recvMany('b', b);
    rig.send('to b', a, 'ping');
    rig.send('to a', b, 'pong!');
    assert.deepEqual(await rig.takeUnordered(4), ['a 5 more buffer', 'b 4 more buffer', 'to a 5', 'to b 4']);
  });
}

on('fills buffer after buffer from one large write', async (rig) => {
  const [a, b] = await rig.tcpPair();
  rig.sendBytes('send', a, 20_000);
  assert.deepEqual(await rig.take(1), ['send 20000']);
  rig.recvMany('recv', b);
  assert.deepEqual(await rig.take(5), [...Array(4).fill('recv 4096 more buffer'), 'recv 3616 more buffer']);
});

on(
  'ends a receive with ENOBUFS when all buffers are lent, and goes on when armed again',
  async (rig) => {
    const [a, b] = await rig.tcpPair();
    rig.givesBack = false;
    rig.recvMany('recv', b);
    rig.send('send', a, 'abcdefghij');
    assert.deepEqual(await rig.takeUnordered(4), [
      'recv 4 more buffer',
      'recv 4 more buffer',
      'recv ENOBUFS',
      'send 10',
    ]);
    for (const id of rig.kept.splice(0)) rig.give(id);
    rig.recvMany('recv', b);
    assert.deepEqual(await rig.take(1), ['recv 2 more buffer']);
    assert.equal(rig.received, 'abcdefghij');
  },
  { buffers: 2, bufferBytes: 4 },
);

on(
  'says ENOBUFS at once when there is no buffer, even if there is nothing to be read',
  async (rig) => {
    const [a, b] = await rig.tcpPair();
    rig.givesBack = false;
    rig.recvOne('last', b);
    rig.send('send', a, 'x');
    assert.deepEqual(await rig.takeUnordered(2), ['last 1 buffer', 'send 1']);
    rig.recvMany('many', b);
    assert.deepEqual(await rig.take(1), ['many ENOBUFS']);
  },
  { buffers: 1 },
);

on('says ENOBUFS for a group that nobody registered', async (rig) => {
  const [a] = rig.unixPair();
  rig.ring.push(OP.RECV | (32 << 8) | (2 << 16), a, 0, 0, 0, 0, 0, 0, 7);
  assert.equal((await rig.takeWhole()).res, -105);
});

on(
  'serves many connections with few buffers',
  async (rig) => {
    const pairs: [number, number][] = [];
    for (let i = 0; i < 40; i++) pairs.push(rig.unixPair());
    for (const [i, [, b]] of pairs.entries()) rig.recvMany(`${i}`, b);
    for (const [i, [a]] of pairs.entries()) rig.send('send', a, `<${i}>`);
    const seen = new Set<string>();
    while (seen.size < 40) {
      const { name, res } = await rig.takeWhole();
      if (name === 'send') continue;
      if (res > 0) seen.add(name);
      else {
        assert.equal(res, -105);
        rig.recvMany(name, (pairs[Number(name)] as [number, number])[1]);
      }
    }
    assert.deepEqual(rig.received.match(/<\d+>/g)?.length, 40);
    await rig.rest();
  },
  { buffers: 4, bufferBytes: 64 },
);

on(
  'receives every byte through a completion queue of 8',
  async (rig) => {
    const pairs: [number, number][] = [];
    for (let i = 0; i < 20; i++) pairs.push(rig.unixPair());
    for (const [i, [, b]] of pairs.entries()) rig.recvMany(`${i}`, b);
    for (let round = 0; round < 5; round++) for (const [a] of pairs) rig.send('send', a, 'abc');
    let [bytes, sent] = [0, 0];
    while (bytes < 300 || sent < 100) {
      const { name, res, flags } = await rig.takeWhole();
      if (name === 'send') sent++;
      else {
        if (res > 0) bytes += res;
        if ((flags & 2) === 0) rig.recvMany(name, (pairs[Number(name)] as [number, number])[1]);
      }
    }
    assert.equal(rig.received, 'abc'.repeat(100));
    await rig.rest();
  },
  { sqEntries: 8, cqEntries: 8, buffers: 16 },
);

on('reports a connection that was reset', async (rig) => {
  const [a, b] = await rig.tcpPair();
  rig.recvMany('recv', b);
  assert.deepEqual(await rig.rest(), []);
  rig.resetOnClose(a);
  rig.close('close', a);
  assert.deepEqual(await rig.takeUnordered(2), ['close 0', 'recv ECONNRESET']);
  rig.send('send', b, 'x');
  assert.deepEqual(await rig.take(1), ['send EPIPE']);
});

// ---- send ----

on('sends pieces gathered', async (rig) => {
  const [a, b] = await rig.tcpPair();
  rig.recvMany('recv', b);
  rig.sendPieces('sendmsg', a, ['one ', 'and ', 'two']);
  assert.deepEqual(await rig.takeUnordered(2), ['recv 11 more buffer', 'sendmsg 11']);
  assert.equal(rig.received, 'one and two');
});

for (const vector of [false, true]) {
  on(`a ${vector ? 'gathered ' : ''}send takes what fits, and the next one waits for a slow reader`, async (rig) => {
    const [a, b] = await rig.tcpPair();
    rig.shrink(a, b);
    rig.sendBytes('large', a, 8 << 20);
    const large = await rig.takeWhole();
    assert.ok(large.res > 0 && large.res < 8 << 20, large.text);
    // More may fit in a moment later, while the kernel moves bytes from one end to the other.
    let sent = large.res;
    for (
      rig.sendBytes('fill', a, 65536, MSG.NOSIGNAL | MSG.DONTWAIT);
      ;
      rig.sendBytes('fill', a, 65536, MSG.NOSIGNAL | MSG.DONTWAIT)
    ) {
      const { res, text } = await rig.takeWhole();
      if (res < 0) {
        assert.equal(text, 'fill EAGAIN');
        break;
      }
      sent += res;
    }
    if (vector) rig.sendPieces('waits', a, ['the', 'end']);
    else rig.send('waits', a, 'theend');
    assert.deepEqual(await rig.rest(), []);
    let got = 0;
    let waits = '';
    while (got < sent + 6) {
      rig.recv('recv', b, 1 << 20);
      for (let isRead = false; !isRead; ) {
        const { name, res, text } = await rig.takeWhole();
        if (name === 'waits') waits = text;
        else {
          isRead = true;
          got += res;
        }
      }
    }
    assert.equal(got, sent + 6);
    assert.equal(waits, 'waits 6');
  });
}

on('reports a send after the end of the stream as EPIPE', async (rig) => {
  const [a, b] = await rig.tcpPair();
  rig.shutdown('shutdown', a);
  assert.deepEqual(await rig.take(1), ['shutdown 0']);
  rig.send('send', a, 'x');
  assert.deepEqual(await rig.take(1), ['send EPIPE']);
  const [c, d] = rig.unixPair();
  rig.closeNow(d);
  rig.send('unix', c, 'x');
  assert.deepEqual(await rig.take(1), ['unix EPIPE']);
  rig.closeNow(b);
});

on('ends a waiting send when the connection is reset', async (rig) => {
  const [a, b] = await rig.tcpPair();
  rig.shrink(a, b);
  for (let isFull = false; !isFull; ) {
    rig.sendBytes('fill', a, 8 << 20, MSG.NOSIGNAL | MSG.DONTWAIT);
    isFull = (await rig.takeWhole()).res < 0;
  }
  rig.send('waits', a, 'x');
  assert.deepEqual(await rig.rest(), []);
  rig.resetOnClose(b);
  rig.close('close', b);
  assert.deepEqual(await rig.takeUnordered(2), ['close 0', 'waits ECONNRESET']);
});

on('sends on a half-closed connection in the direction that is open', async (rig) => {
  const [a, b] = await rig.tcpPair();
  rig.recvMany('a', a);
  rig.recvMany('b', b);
  rig.shutdown('shutdown', a);
  assert.deepEqual(await rig.takeUnordered(2), ['b 0', 'shutdown 0']);
  rig.send('send', b, 'still here');
  assert.deepEqual(await rig.takeUnordered(2), ['a 10 more buffer', 'send 10']);
  rig.shutdown('shutdown', b);
  assert.deepEqual(await rig.takeUnordered(2), ['a 0', 'shutdown 0']);
});

// ---- cancel and close ----

on('cancels a multishot receive, a single one, and nothing', async (rig) => {
  const [a, b] = await rig.tcpPair();
  rig.recvMany('many', a);
  rig.recv('one', b, 16);
  rig.cancel('cancel many', a, 'many');
  assert.deepEqual(await rig.takeUnordered(2), ['cancel many 0', 'many ECANCELED']);
  rig.cancel('cancel one', b, 'one');
  assert.deepEqual(await rig.takeUnordered(2), ['cancel one 0', 'one ECANCELED']);
  rig.cancel('cancel again', b, 'one');
  rig.cancel('cancel other', b, 'never submitted');
  assert.deepEqual(await rig.take(2), ['cancel again ENOENT', 'cancel other ENOENT']);
  rig.recvMany('many', b);
  rig.send('send', a, 'as if nothing had happened');
  assert.deepEqual(await rig.takeUnordered(2), ['many 26 more buffer', 'send 26']);
});

on('leaves bytes for the next receive when one is cancelled', async (rig) => {
  const [a, b] = await rig.tcpPair();
  rig.recvMany('recv', b);
  rig.cancel('cancel', b, 'recv');
  assert.deepEqual(await rig.takeUnordered(2), ['cancel 0', 'recv ECANCELED']);
  rig.send('send', a, 'kept');
  assert.deepEqual(await rig.take(1), ['send 4']);
  assert.deepEqual(await rig.rest(), []);
  rig.recvMany('recv', b);
  assert.deepEqual(await rig.take(1), ['recv 4 more buffer']);
});

on('cancels a waiting send', async (rig) => {
  const [a, b] = rig.unixPair();
  for (let isFull = false; !isFull; ) {
    rig.sendBytes('fill', a, 1 << 20, MSG.NOSIGNAL | MSG.DONTWAIT);
    isFull = (await rig.takeWhole()).res < 0;
  }
  rig.send('waits', a, 'x');
  assert.deepEqual(await rig.rest(), []);
  rig.cancel('cancel', a, 'waits');
  assert.deepEqual(await rig.takeUnordered(2), ['cancel 0', 'waits ECANCELED']);
  rig.closeNow(b);
});

on('does not cancel for another generation', async (rig) => {
  const [a, b] = rig.unixPair();
  rig.recvMany('recv', a);
  rig.cancel('cancel', a, 'recv', 2);
  assert.deepEqual(await rig.take(1), ['cancel ENOENT']);
  rig.send('send', b, 'x');
  assert.deepEqual(await rig.takeUnordered(2), ['recv 1 more buffer', 'send 1']);
});

on('closes a descriptor once, and its peer sees the end', async (rig) => {
  const [a, b] = await rig.tcpPair();
  rig.recvMany('recv', b);
  rig.close('close', a);
  assert.deepEqual(await rig.takeUnordered(2), ['close 0', 'recv 0']);
  rig.close('again', a);
  assert.deepEqual(await rig.take(1), ['again EBADF']);
});

for (const way of ['by the ring', 'behind its back']) {
  for (const owner of ['the same owner', 'a new owner']) {
    on(`serves a descriptor whose number was closed ${way} and given to a new socket of ${owner}`, async (rig) => {
      for (let round = 0; round < 3; round++) {
        const [a, b] = await rig.tcpPair();
        rig.recvMany('recv', b);
        rig.send('send', a, 'x');
        assert.deepEqual(await rig.takeUnordered(2), ['recv 1 more buffer', 'send 1']);
        rig.cancel('cancel', b, 'recv');
        assert.deepEqual(await rig.takeUnordered(2), ['cancel 0', 'recv ECANCELED']);
        if (way === 'by the ring') {
          rig.close('close', a);
          rig.close('close', b);
          assert.deepEqual(await rig.take(2), ['close 0', 'close 0']);
        } else {
          rig.closeNow(a);
          rig.closeNow(b);
        }
        if (owner === 'a new owner') rig.generation++;
      }
    });
  }
}

// ---- waking the loop ----

on('stays quiet when a socket has ended and nobody waits for it', async (rig) => {
  const [a, b] = await rig.tcpPair();
  rig.recvMany('recv', b);
  rig.shutdown('shutdown', a);
  assert.deepEqual(await rig.takeUnordered(2), ['recv 0', 'shutdown 0']);
  rig.close('close', a);
  rig.shutdown('shutdown', b);
  assert.deepEqual(await rig.takeUnordered(2), ['close 0', 'shutdown 0']);
  await rig.rest();
  const before = rig.turns;
  await rig.rest();
  assert.equal(rig.turns, before);
});

on('stays quiet when a closed socket lives on in a duplicate', async (rig) => {
  const [a, b] = await rig.tcpPair();
  const duplicate = rig.track(native.duplicate(b));
  rig.recvMany('recv', b);
  rig.cancel('cancel', b, 'recv');
  assert.deepEqual(await rig.takeUnordered(2), ['cancel 0', 'recv ECANCELED']);
  rig.close('close', b);
  rig.send('send', a, 'for the duplicate');
  assert.deepEqual(await rig.take(2), ['close 0', 'send 17']);
  await rig.rest();
  const before = rig.turns;
  await rig.rest();
  assert.equal(rig.turns, before);
  rig.recv('recv', duplicate, 64);
  assert.deepEqual(await rig.take(1), ['recv 17']);
});

on('serves others beside a connection that is ready at every look', async (rig) => {
  const [busyPeer, busy] = rig.unixPair();
  const [otherPeer, other] = rig.unixPair();
  rig.recvMany('busy', busy);
  rig.recvMany('other', other);
  const texts: string[] = [];
  for (let round = 0; round < 100; round++) {
    if (round === 50) native.send(otherPeer, Buffer.from('y'));
    native.send(busyPeer, Buffer.from('x'));
    native.enter(rig.ring.id, 0);
    native.collect(rig.ring.id);
    texts.push(...rig.read().map(({ text }) => text));
  }
  texts.push(...(await rig.rest()));
  const waited = texts.indexOf('other 1 more buffer') - texts.indexOf('busy 1 more buffer') - 50;
  assert.ok(waited >= 0 && waited <= 20, `it was served ${waited} rounds late`);
});

// io_uring has no such promise to keep: it serves whoever is armed first when a buffer comes back.
test('the epoll ring gives every connection its turn when all have more bytes than there are buffers', {
  timeout: 10_000,
}, async (t) => {
  const rig = new Rig('epoll', { buffers: 4, bufferBytes: 16 });
  t.after(() => rig.end());
  const pairs = Array.from({ length: 24 }, () => rig.unixPair());
  for (const [a] of pairs) rig.sendBytes('send', a, 16_384);
  await rig.take(24);
  for (const [i, [, b]] of pairs.entries()) rig.recvMany(`${i}`, b);
  const served = new Map<string, number>();
  while (served.size < 24) {
    const { name, res, text } = await rig.takeWhole();
    assert.equal(res, 16, text);
    served.set(name, (served.get(name) ?? 0) + 1);
  }
  const most = Math.max(...served.values());
  assert.ok(most <= 12, `one connection was served ${most} times before another was served at all`);
});

for (const kind of KINDS) {
  describe(`the ${kind} ring`, { skip: refusal(kind) }, () => {
    for (const { title, options, run } of cases) {
      test(title, { timeout: 10_000 }, async (t) => {
        const rig = new Rig(kind, options);
        t.after(() => rig.end());
        await run(rig, t);
        assert.deepEqual(await rig.rest(), [], 'completions that nobody expected');
      });
    }
  });
}
