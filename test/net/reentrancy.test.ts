/** Listeners that throw, write, close, destroy, connect and exit while the turn that called them is not over. */
import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { run } from '../support/child.ts';
import {
  close,
  collect,
  dial,
  folder,
  leakGuard,
  limit,
  once,
  pair,
  serve,
  take,
  turns,
  until,
} from '../support/net.ts';

await leakGuard();

const alone = { stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'] };

for (const event of ['connect', 'ready', 'data', 'drain', 'end', 'finish', 'close', 'error', 'timeout', 'callback']) {
  test(`an exception in a listener of '${event}' disturbs no other socket`, limit, async (t) => {
    // Nine clients in step; the third and the sixth throw and are then destroyed. Every other one goes its whole way.
    const child = run(
      t,
      `const event = '${event}', thrown = [], closed = [], answered = [];
      process.on('uncaughtException', (error) => {
        if (error.client === undefined) throw error;
        thrown.push(error.number);
        error.client.on('error', () => {}).destroy();
        if (event === 'close') onClose(error.number);
      });
      const onClose = (number) => { closed.push(number); if (closed.length === 9) setImmediate(last); };
      const server = net.createServer({ allowHalfOpen: true }, (socket) => {
        socket.on('error', () => {});
        socket.once('data', (chunk) => {
          if (event === 'error' && Number(String(chunk)[0]) % 3 === 2) return socket.resetAndDestroy();
          socket.write('answer');
          socket.on('end', () => socket.end()).resume();
        });
      }).listen(0, '127.0.0.1', () => {
        for (let number = 0; number < 9; number++) {
          const client = net.connect({ port: server.address().port, host: '127.0.0.1', highWaterMark: 10 });
          const isWild = number % 3 === 2;
          const fail = () => { throw Object.assign(new Error('own'), { client, number }); };
          client.on('close', () => { if (!isWild) answered.push(number); });
          client.on('data', () => {
            if (event === 'timeout') client.setTimeout(1, () => client.end());
            else client.end();
          });
          if (isWild && event !== 'callback') client.on(event, fail);
          if (event !== 'close' || !isWild) client.on('close', () => onClose(number));
          client.write(number + ' is longer than its mark', () => { if (isWild && event === 'callback') fail(); });
        }
      });
      function last() {
        const client = net.connect(server.address().port, '127.0.0.1');
        client.write('and now?');
        client.on('data', () => client.end());
        client.on('close', () => { say([thrown.sort(), answered.sort()].join(' | ')); server.close(); });
      }`,
      alone,
    );
    assert.deepEqual(await child.exit, { code: 0, signal: null, stdout: '2,5,8 | 0,1,3,4,6,7\n', stderr: '' });
  });
}

test('process.exit() runs no more ticks and jobs, whatever was ended before it', limit, async (t) => {
  const child = run(
    t,
    `const server = net.createServer((socket) => socket.resume()).listen(0, '127.0.0.1', () => {
      const client = net.connect(server.address().port, '127.0.0.1', () => setTimeout(() => {
        client.on('prefinish', () => say('prefinish')).on('finish', () => say('finish'));
        client.end();
        process.nextTick(() => say('tick'));
        Promise.resolve().then(() => say('job'));
        process.exit();
      }, 1));
    });`,
    alone,
  );
  const { code, stdout } = await child.exit;
  // The one before the exit: 'prefinish' is emitted by end() itself where the stream allows it.
  assert.equal(stdout.replace('prefinish\n', ''), '');
  assert.equal(code, 0);
});

test('process.exit() in a data listener calls no other listener', limit, async (t) => {
  const child = run(
    t,
    `let count = 0;
    const server = net.createServer((socket) => {
      socket.on('data', () => { say('data'); process.exit(3); });
      if (++count === 10) for (const client of clients) client.write('x');
    }).listen(0, '127.0.0.1');
    const clients = [];
    server.on('listening', () => { for (let i = 0; i < 10; i++) clients.push(net.connect(server.address().port, '127.0.0.1')); });`,
    alone,
  );
  assert.deepEqual(await child.exit, { code: 3, signal: null, stdout: 'data\n', stderr: '' });
});

test('what a listener writes while the turn is being flushed leaves at once', limit, async (t) => {
  const { client, peer } = await pair(t);
  const broken = await dial(t, { port: client.remotePort as number, host: '127.0.0.1' });
  await turns(5);
  Object.assign(broken, { _write: (_: unknown, __: unknown, done: (error: Error) => void) => done(new Error('own')) });
  broken.on('error', () => client.write('from its listener'));
  const received = take(peer, 17);
  broken.write('x'); // outside of a turn: flushed when the loop is about to block
  assert.equal((await received).toString(), 'from its listener');
});

test("writing in 'drain', a thousand times, nests nothing and loses nothing", limit, async (t) => {
  const { client, peer } = await pair(t);
  const chunk = Buffer.alloc(client.writableHighWaterMark, 0x64);
  let count = 0;
  let depth = 0;
  const writeOn = (): void => {
    assert.equal(++depth, 1);
    while (count < 1000) {
      count++;
      if (!client.write(chunk)) break;
    }
    if (count === 1000) client.end();
    depth--;
  };
  client.on('drain', writeOn);
  writeOn();
  let got = 0;
  peer.on('data', (piece: Buffer) => {
    got += piece.length;
  });
  await once(peer, 'end');
  assert.equal(got, 1000 * chunk.length);
});

test('a server that is closed in its connection listener serves those that it has accepted', limit, async (t) => {
  const server = await serve(t);
  let closes = 0;
  server.on('close', () => closes++);
  server.once('connection', (socket: Socket) => {
    server.close();
    socket.end('you were the first');
  });
  const first = await dial(t, server);
  const others = Array.from({ length: 20 }, () =>
    dial(t, { port: first.remotePort as number, host: '127.0.0.1' }).catch(() => undefined),
  );
  assert.equal((await collect(first)).toString(), 'you were the first');
  for (const other of await Promise.all(others)) other?.on('error', () => {}).destroy();
  await until(() => closes === 1, "'close' of the server");
  await turns(10);
  assert.equal(closes, 1);
});

test('a socket that connects again in its close listener, two hundred times', limit, async (t) => {
  const server = await serve(t, (socket) => void socket.end('x'));
  const socket = await dial(t, server);
  const to = { port: socket.remotePort as number, host: '127.0.0.1' };
  let rounds = 0;
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  const done = new Promise<void>((resolve) =>
    socket.on('close', () => {
      if (++rounds === 200) resolve();
      else socket.connect(to);
    }),
  );
  await done;
  assert.equal(bytes, 200);
});

test('a descriptor that was closed is let alone, whoever has its number now', limit, async (t) => {
  const path = join(await folder(t), 'file');
  for (const ending of ['destroy', 'resetAndDestroy', 'end'] as const) {
    const { client, peer } = await pair(t);
    const numbers = [client, peer].map((socket) => (socket as unknown as { _handle: { fd: number } })._handle.fd);
    peer.on('error', () => {}).resume();
    client.resume().write('x');
    client[ending]();
    await Promise.all([close(client), close(peer)]);
    const files = Array.from({ length: 8 }, () => openSync(path, 'a+'));
    assert.ok(
      numbers.some((number) => files.includes(number)),
      'a number is used again',
    );
    for (const socket of [client, peer]) {
      socket.on('error', () => {});
      socket.write('into the file?');
      socket.end();
      socket.setNoDelay(true);
      socket.setKeepAlive(true);
      socket.destroy();
    }
    await turns(20);
    for (const file of files) assert.equal(fstatSync(file).isFile(), true, 'nobody has closed it');
    assert.equal(readFileSync(path, 'utf8'), '');
    for (const file of files) closeSync(file);
  }
});

test('a socket that is destroyed and replaced in each data listener mixes no bytes', limit, async (t) => {
  // The number of the descriptor is used again at once, while operations of the old one may still be on their way.
  let number = 0;
  const server = await serve(t, (socket) => {
    const name = String(number++).padStart(6, '0');
    socket.on('error', () => {});
    for (let i = 0; i < 50; i++) socket.write(name.repeat(200));
  });
  const to = { port: (server.address() as { port: number }).port, host: '127.0.0.1' };
  let wrong = 0;
  const chain = async (): Promise<void> => {
    for (let round = 0; round < 40; round++) {
      const client = await dial(t, to);
      let text = '';
      client.on('error', () => {});
      client.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
        const name = text.slice(0, 6);
        for (let at = 0; at + 6 <= text.length; at += 6) if (text.slice(at, at + 6) !== name) wrong++;
        if (round % 2 === 0) client.destroy();
        else client.resetAndDestroy();
      });
      await close(client);
    }
  };
  await Promise.all(Array.from({ length: 8 }, chain));
  assert.equal(wrong, 0);
});

test('two sockets that destroy each other in the same turn are both closed, once', limit, async (t) => {
  const one = await pair(t);
  const two = await pair(t);
  for (const socket of [one.client, one.peer, two.client, two.peer]) socket.on('error', () => {});
  const closes: string[] = [];
  one.client.on('close', () => closes.push('one')).on('data', () => void two.client.destroy());
  two.client.on('close', () => closes.push('two')).on('data', () => void one.client.destroy());
  for (const { client } of [one, two]) client.on('data', () => void client.destroy());
  one.peer.write('x');
  two.peer.write('x');
  await Promise.all([close(one.client), close(two.client)]);
  await turns(10);
  assert.deepEqual(closes.sort(), ['one', 'two']);
});

test("'timeout' listeners may destroy, write and set the next timeout", limit, async (t) => {
  const { client, peer } = await pair(t);
  let fired = 0;
  client.setTimeout(1);
  client.on('timeout', () => {
    if (++fired === 3) client.destroy();
    else client.write(String(fired));
    client.setTimeout(1);
  });
  assert.equal((await collect(peer)).toString(), '12');
  await close(client);
  assert.equal(fired, 3);
  await once(peer, 'close').catch(() => {});
});
