/** TLS in several threads and processes: each has its own contexts; sessions travel with the ticket keys. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import nodeNet from 'node:net';
import test from 'node:test';
import nodeTls from 'node:tls';
import { Worker } from 'node:worker_threads';
import { run } from '../support/child.ts';
import { keep, leakGuard, once, until } from '../support/net.ts';
import { certificates, helloOf, needsOpenssl, secure, securing } from '../support/tls.ts';

await leakGuard();

const slow = { ...needsOpenssl, timeout: 90_000 };
const WAIT_MS = 30_000;
const host = '127.0.0.1';

/** A server in a thread that echoes, and clients of its own on a server elsewhere, which all write without end. */
const busy = `
const { parentPort, workerData } = require('node:worker_threads');
import('millrace/tls').then(({ default: tls }) => {
  const server = tls.createServer(workerData.pair, (socket) => socket.on('error', () => {}).pipe(socket).on('error', () => {}));
  server.on('tlsClientError', () => {});
  for (let i = 0; i < 10; i++) {
    const client = tls.connect({ ...workerData.other, servername: 'localhost', ca: workerData.ca });
    client.on('error', () => {}).on('data', (chunk) => client.write(chunk));
    client.write(Buffer.alloc(100_000));
  }
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
});`;

test('a thread that is terminated with handshakes and data in flight takes nothing with it', slow, async (t) => {
  const hello = await helloOf(t);
  let served = 0;
  const here = await secure(t, {}, (socket) => {
    socket.on('data', (chunk) => {
      served += chunk.length;
      socket.write(chunk);
    });
  });
  here.on('tlsClientError', () => {});
  const other = { port: (here.address() as nodeNet.AddressInfo).port, host };
  const { ca, server: pair } = certificates;
  for (let round = 0; round < 2; round++) {
    const worker = new Worker(busy, { eval: true, workerData: { pair, ca, other } });
    t.after(async () => void (await worker.terminate()));
    const [port] = await once(worker, 'message', WAIT_MS);
    const sockets: nodeNet.Socket[] = [];
    let echoed = 0;
    for (let i = 0; i < 12; i++) {
      const client = keep(t, nodeTls.connect({ port, host, servername: 'localhost', ca })).on('error', () => {});
      client.on('data', (chunk: Buffer) => {
        echoed += chunk.length;
        client.write(chunk);
      });
      client.write(Buffer.alloc(100_000));
      const halfDone = nodeNet.connect(port, host).on('error', () => {});
      t.after(() => void halfDone.destroy());
      halfDone.write(i % 2 === 0 ? hello : hello.subarray(0, 100));
      sockets.push(client, halfDone);
    }
    const before = served;
    await until(() => echoed > 2_000_000 && served > before + 500_000, 'bytes both ways', WAIT_MS);
    const gone = sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve).resume()));
    await worker.terminate();
    await Promise.all(gone);
  }
  await once(securing(t, here), 'secureConnect', WAIT_MS);
});

const serving = `
const serve = (tls, pair, keys, tell) => {
  const server = tls.createServer({ ...pair, sessionIdContext: 'shared' }, (socket) => socket.on('error', () => {}).resume().end('x'));
  server.setTicketKeys(Buffer.from(keys));
  server.listen(0, '127.0.0.1', () => tell(server.address().port));
};`;

/** A server in another thread or process. @returns its port */
const elsewhere: Record<string, (t: test.TestContext, keys: Buffer) => Promise<number>> = {
  thread: async (t, keys) => {
    const program = `${serving}
      const { parentPort, workerData } = require('node:worker_threads');
      import('millrace/tls').then(({ default: tls }) =>
        serve(tls, workerData.pair, workerData.keys, (port) => parentPort.postMessage(port)));`;
    const worker = new Worker(program, { eval: true, workerData: { pair: certificates.server, keys } });
    t.after(async () => void (await worker.terminate()));
    return (await once(worker, 'message', WAIT_MS))[0];
  },
  process: async (t, keys) => {
    const { key, cert } = certificates.server;
    const data = JSON.stringify({ key: String(key), cert: String(cert), keys: keys.toString('hex') });
    const child = run(
      t,
      `import tls from 'millrace/tls';
      ${serving}
      const { keys, ...pair } = JSON.parse(process.env.DATA);
      serve(tls, pair, Buffer.from(keys, 'hex'), say);`,
      { env: { ...process.env, DATA: data }, lineMs: WAIT_MS },
    );
    return Number(await child.line());
  },
};

for (const [place, start] of Object.entries(elsewhere)) {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(
      `${version}: a session is resumed by a server in another ${place} with the same ticket keys`,
      slow,
      async (t) => {
        const here = await secure(t, { sessionIdContext: 'shared' }, (socket) => void socket.resume().end('x'));
        const first = securing(t, here, { maxVersion: version });
        const [session] = await once(first, 'session', WAIT_MS);
        const keys = here.getTicketKeys();
        assert.equal(keys.length, 48);
        const ports = await Promise.all([keys, randomBytes(48)].map((own) => start(t, own)));
        const reused: (boolean | null)[] = [];
        for (const port of ports) {
          const client = securing(t, here, { session, maxVersion: version, port });
          await once(client, 'secureConnect', WAIT_MS);
          reused.push(client.isSessionReused());
        }
        assert.deepEqual(reused, [true, false]);
      },
    );
  }
}
