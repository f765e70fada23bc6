/** Bytes through records: sizes, order, backpressure, the ends. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import test from 'node:test';
import type { TLSSocket } from 'node:tls';
import tls from 'millrace/tls';
import { collect, keep, leakGuard, once, settled, take, until } from '../support/net.ts';
import { needsOpenssl, needsOwn, secure, secured, securing } from '../support/tls.ts';

await leakGuard();

async function pair(t: test.TestContext): Promise<{ client: TLSSocket; peer: TLSSocket }> {
  const server = await secure(t);
  const accepted = once(server, 'secureConnection');
  const client = await secured(t, server);
  const [peer] = await accepted;
  return { client, peer };
}

for (const size of [1, 4000, 4096, 16383, 16384, 16385, 65536, 65537, 300_000, 3_000_000]) {
  test(`${size} bytes come back as they were`, needsOpenssl, async (t) => {
    const { client, peer } = await pair(t);
    peer.pipe(peer);
    const sent = randomBytes(size);
    const back = take(client, size);
    client.write(sent);
    assert.ok(sent.equals(await back));
  });
}

test('strings, buffers and empty pieces of one turn arrive in order', needsOpenssl, async (t) => {
  const { client, peer } = await pair(t);
  const all: string[] = [];
  for (let i = 0; i < 500; i++) {
    const text = `${i}:${'ä'.repeat(i % 70)};`;
    all.push(text);
    if (i % 3 === 0) client.write(Buffer.from(text));
    else client.write(text);
    if (i % 50 === 0) client.write('');
  }
  client.write(Buffer.alloc(200_000, 'x'));
  client.end('end');
  const expected = `${all.join('')}${'x'.repeat(200_000)}end`;
  assert.equal(String(await collect(peer)), expected);
});

test('records that come in pieces are whole', needsOpenssl, async (t) => {
  const server = await secure(t, {}, (peer) => peer.pipe(peer));
  const relay = net.createServer({ noDelay: true }, (from) => {
    const to = keep(
      t,
      net.connect({ port: (server.address() as net.AddressInfo).port, host: '127.0.0.1', noDelay: true }),
    );
    keep(t, from).on('error', () => {});
    to.on('error', () => {}).pipe(from);
    from.on('data', (data: Buffer) => {
      from.pause();
      // The handshake as it is; then cuts before, within and behind headers.
      void inPieces(to, data, to.bytesRead > 0 && data.length > 1000 ? [1, 4, 1, 5, 2, 3, 16406] : [5, 1, 7]).then(() =>
        from.resume(),
      );
    });
  });
  await once(relay.listen(0, '127.0.0.1'), 'listening');
  t.after(() => void relay.close());
  const { port } = relay.address() as net.AddressInfo;
  const client = await secured(t, server, { host: '127.0.0.1', port });
  for (const size of [1, 100, 16384, 16385, 50_000]) {
    const sent = randomBytes(size);
    const back = take(client, size);
    client.write(sent);
    assert.ok(sent.equals(await back), `${size} bytes`);
  }
});

/** Each piece in a turn of its own; sizes from `cuts`, again and again. */
async function inPieces(to: net.Socket, data: Buffer, cuts: number[]): Promise<void> {
  for (let start = 0, i = 0; start < data.length; i++) {
    const end = Math.min(data.length, start + (cuts[i % cuts.length] as number));
    await new Promise((resolve) => to.write(data.subarray(start, end), resolve));
    await new Promise(setImmediate);
    start = end;
  }
}

test('what is written before the handshake is sent behind it', needsOpenssl, async (t) => {
  const server = await secure(t);
  const accepted = once(server, 'secureConnection');
  const client = securing(t, server);
  client.end('early');
  const [peer] = await accepted;
  assert.equal(String(await collect(peer)), 'early');
});

test('callbacks of writes come in order, and when the bytes are sent', needsOpenssl, async (t) => {
  const { client, peer } = await pair(t);
  peer.resume();
  const log: number[] = [];
  for (let i = 0; i < 20; i++) client.write(Buffer.alloc(i * 5000), () => log.push(i));
  await until(() => log.length === 20, 'every callback');
  assert.deepEqual(
    log,
    [...log].sort((a, b) => a - b),
  );
  assert.equal(client.bytesWritten, 190 * 5000);
});

test('a peer that does not read stops the writer, and then gets everything', needsOpenssl, async (t) => {
  const { client, peer } = await pair(t);
  let accepted = 0;
  const chunk = Buffer.alloc(65536, 7);
  client.on('error', () => {});
  for (let isRoom = true; isRoom && accepted < 400; accepted++) isRoom = client.write(chunk);
  for (; accepted < 400; accepted++) client.write(chunk);
  const sent = await settled(() => peer.bytesRead);
  assert.ok(sent < 4_000_000, `${sent} bytes were read for nobody`);
  client.end();
  assert.equal((await collect(peer)).length, accepted * chunk.length);
});

test('onread hands plain bytes to a buffer of the user', needsOpenssl, async (t) => {
  const server = await secure(t, {}, (socket) => socket.end(Buffer.alloc(50_000, 'a')));
  let got = 0;
  const client = securing(t, server, {
    onread: {
      buffer: Buffer.alloc(1000),
      callback: (count: number) => {
        got += count;
        return true;
      },
    },
  } as never);
  client.resume();
  await until(() => got === 50_000, 'all bytes');
});

test('half-closed, the other direction still carries bytes', needsOpenssl, async (t) => {
  const server = await secure(t, { allowHalfOpen: true } as never, (socket) => {
    socket.resume().on('end', () => socket.end('behind your end'));
  });
  const client = await secured(t, server);
  const all = collect(client);
  client.end('mine');
  assert.equal(String(await all), 'behind your end');
});

test('destroy ends both sides, and a write behind it is an error', needsOpenssl, async (t) => {
  const { client, peer } = await pair(t);
  const closed = new Promise((resolve) => peer.on('error', () => {}).on('close', resolve)); // a reset, perhaps
  client.destroy();
  const [error] = await Promise.all([new Promise<Error | null | undefined>((r) => client.write('x', r)), closed]);
  assert.equal((error as NodeJS.ErrnoException).code, 'ERR_STREAM_DESTROYED');
});

test('an idle connection times out', needsOpenssl, async (t) => {
  const { client } = await pair(t);
  client.setTimeout(20);
  await once(client, 'timeout');
});

test('a listener that throws ends up at the process, not in the record', needsOwn, async (t) => {
  const { client, peer } = await pair(t);
  peer.pipe(peer);
  const thrown = new Promise<Error>((resolve) =>
    process.setUncaughtExceptionCaptureCallback((error) => resolve(error as Error)),
  );
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  client.once('data', () => {
    throw new Error('thrown on purpose');
  });
  client.write('one');
  assert.equal((await thrown).message, 'thrown on purpose');
  const next = take(client, 3);
  client.write('two');
  assert.equal(String(await next), 'two');
});

test('a listener of the handshake that throws loses no byte of what comes behind it', needsOwn, async (t) => {
  const thrown: string[] = [];
  process.setUncaughtExceptionCaptureCallback((error) => void thrown.push((error as Error).message));
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  const received = new Promise<string>((resolve) => {
    void secure(t, {}, (socket) => {
      socket.on('data', (chunk) => resolve(String(chunk)));
      throw new Error('thrown on purpose');
    }).then((server) => securing(t, server).write('early'));
  });
  assert.equal(await received, 'early');
  assert.deepEqual(thrown, ['thrown on purpose']);
});

test('TLSSocket is a constructor of both modules for instanceof', needsOpenssl, async (t) => {
  const { client } = await pair(t);
  assert.ok(client instanceof tls.TLSSocket);
  assert.equal((client as { encrypted: boolean }).encrypted, true);
});
