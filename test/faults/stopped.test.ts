/** Peers that are stopped, killed, that reset or close their window: what it costs, and that nothing is lost. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { run } from '../support/child.ts';
import { close, dial, dialling, leakGuard, limit, once, pair, serve, settled, turns, until } from '../support/net.ts';

await leakGuard();

const MB = 1024 * 1024;
const slow = { timeout: 20_000 };

/** Memory of buffers, which a stuck connection must not let grow. */
const external = (): number => process.memoryUsage().arrayBuffers;

test("a stopped peer gets everything when it goes on, and 'drain' comes no sooner", slow, async (t) => {
  const child = run(
    t,
    `import { createHash } from 'node:crypto';
    const hash = createHash('sha1');
    net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('data', (chunk) => hash.update(chunk)).on('end', () => socket.end(hash.digest('hex')));
    }).listen(0, '127.0.0.1', function () { say(String(this.address().port)); });`,
  );
  const client = await dial(t, { port: Number(await child.line()), host: '127.0.0.1' });
  const { createHash } = await import('node:crypto');
  const hash = createHash('sha1');
  const chunk = Buffer.alloc(256 * 1024);
  let number = 0;
  let isStopped = true;
  const writeOn = (): void => {
    while (number < 128) {
      const bytes = Buffer.from(chunk.fill(number++));
      hash.update(bytes);
      if (!client.write(bytes)) return;
    }
    client.end();
  };
  child.process.kill('SIGSTOP');
  writeOn();
  client.on('drain', writeOn);
  // What the kernel takes, it takes; then nothing moves.
  const stuck = await settled(() => number, 1000);
  const queued = client.writableLength;
  assert.ok(stuck < 128, `${stuck} chunks left although nobody reads`);
  assert.ok(queued > 0 && queued <= client.writableHighWaterMark + chunk.length, `${queued} bytes are queued`);
  client.once('drain', () => assert.equal(isStopped, false));
  await turns(100);
  isStopped = false;
  child.process.kill('SIGCONT');
  const [answer] = await once(client, 'data', 15_000);
  assert.equal(String(answer), hash.digest('hex'));
});

test('a writer that heeds backpressure needs no more memory however long its peer reads nothing', limit, async (t) => {
  const { client, peer } = await pair(t);
  peer.pause();
  for (const socket of [client, peer]) socket.on('error', () => {});
  const chunk = Buffer.alloc(64 * 1024);
  let drains = 0;
  const writeOn = (): void => {
    while (client.write(chunk));
  };
  client.on('drain', () => {
    drains++;
    writeOn();
  });
  writeOn();
  await settled(() => drains, 500);
  const before = external();
  let timeouts = 0;
  client.on('timeout', () => {
    if (++timeouts < 3) client.setTimeout(5);
  });
  client.setTimeout(5);
  await until(() => timeouts === 3, "'timeout' while writes are stuck");
  assert.ok(external() - before < MB, 'memory is constant');
  assert.ok(client.writableLength > 0 && client.writableLength <= client.writableHighWaterMark + chunk.length);
  assert.equal(client.writableNeedDrain, true);
  client.destroy();
  await close(client);
  assert.equal(client.writableLength, 0);
});

test('a peer that is killed while it sends ends its connection, with what had come', limit, async (t) => {
  const child = run(
    t,
    `net.createServer((socket) => { const chunk = Buffer.alloc(65536, 'k'); const on = () => { while (socket.write(chunk)); }; socket.on('drain', on); on(); })
      .listen(0, '127.0.0.1', function () { say(String(this.address().port)); });`,
  );
  const client = await dial(t, { port: Number(await child.line()), host: '127.0.0.1' });
  let got = 0;
  let wrong = 0;
  client.on('data', (chunk: Buffer) => {
    got += chunk.length;
    for (const byte of chunk.subarray(0, 16)) if (byte !== 0x6b) wrong++;
  });
  let code = '';
  client.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code ?? '';
  });
  await until(() => got > MB, 'the transfer');
  child.process.kill('SIGKILL');
  await close(client);
  assert.equal(wrong, 0);
  assert.match(code, /^(ECONNRESET)?$/);
});

test(
  'a peer that resets as soon as it has accepted is an error after the connection, never a hang',
  limit,
  async (t) => {
    const server = await serve(t, (socket) => void socket.resetAndDestroy());
    const results = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const client = dialling(t, server);
        const events: string[] = [];
        client.on('connect', () => events.push('connect'));
        client.on('error', (error: NodeJS.ErrnoException) => events.push(error.code ?? ''));
        if (i % 2 === 0) client.write('at once');
        client.resume();
        await close(client);
        return events.join();
      }),
    );
    for (const events of results) assert.match(events, /^(connect|connect,ECONNRESET|connect,EPIPE|ECONNRESET)$/);
  },
);

test('a peer whose window stays closed, and that then goes, ends what was queued for it', limit, async (t) => {
  for (const ending of ['destroy', 'resetAndDestroy'] as const) {
    const { client, peer } = await pair(t);
    peer.pause();
    const errors: string[] = [];
    client.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code ?? ''));
    let called = 0;
    for (let i = 0; i < 32; i++) client.write(Buffer.alloc(MB), () => called++);
    await settled(() => client.writableLength, 300);
    peer[ending]();
    await Promise.all([close(client), close(peer)]);
    assert.match(errors.join(), /^(ECONNRESET|EPIPE)$/);
    assert.equal(called, 32, 'every callback');
    assert.equal(client.writableLength, 0);
  }
});

test('a server that is stopped during a burst of connections serves them all when it goes on', slow, async (t) => {
  const child = run(
    t,
    `net.createServer((socket) => { socket.on('error', () => {}); socket.pipe(socket); })
      .listen(0, '127.0.0.1', function () { say(String(this.address().port)); });`,
  );
  const to = { port: Number(await child.line()), host: '127.0.0.1' };
  const answers = Array.from({ length: 200 }, async (_, i) => {
    if (i === 50) child.process.kill('SIGSTOP');
    const client = dialling(t, to);
    client.end(`number ${i}`);
    let text = '';
    client.on('data', (chunk: Buffer) => {
      text += String(chunk);
    });
    await once(client, 'close', 15_000);
    return text;
  });
  await turns(200);
  child.process.kill('SIGCONT');
  assert.deepEqual(
    await Promise.all(answers),
    answers.map((_, i) => `number ${i}`),
  );
});
