import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { close, collect, descriptors, dial, leakGuard, limit, once, portOf, serve, until } from '../support/net.ts';

/** A worker that runs a module with `net`, `parentPort` and `workerData`. */
function work(t: test.TestContext, source: string): Worker {
  const millrace = import.meta.resolve('millrace');
  // A data: URL has no package around it, so the module is named by its address.
  const code = `import net from ${JSON.stringify(millrace)}; import { parentPort } from 'node:worker_threads'; ${source}`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  t.after(async () => {
    await worker.terminate();
  });
  return worker;
}

await leakGuard(async () => {
  const worker = new Worker('0', { eval: true });
  await once(worker, 'exit');
});

test('a server and a client live in a worker', limit, async (t) => {
  const worker = work(
    t,
    `const server = net.createServer((socket) => socket.pipe(socket));
    server.listen(0, '127.0.0.1', () => {
      const client = net.connect(server.address().port, '127.0.0.1');
      let got = '';
      client.setEncoding('utf8').on('data', (text) => (got += text)).on('close', () => { server.close(); parentPort.postMessage(got); });
      client.end('inside');
    });`,
  );
  const exited = once(worker, 'exit');
  assert.deepEqual(await once(worker, 'message'), ['inside']);
  assert.deepEqual(await exited, [0], 'it ends by itself');
});

test('the main thread talks to a server in a worker, and the other way round', limit, async (t) => {
  const here = await serve(t, (socket) => socket.end('from main'));
  const { port } = here.address() as { port: number };
  const worker = work(
    t,
    `const server = net.createServer((socket) => socket.end('from worker'));
    server.listen(0, '127.0.0.1', () => {
      const client = net.connect(${port}, '127.0.0.1');
      let got = '';
      client.setEncoding('utf8').on('data', (text) => (got += text)).on('end', () => parentPort.postMessage({ got, port: server.address().port }));
    });`,
  );
  const [message] = await once(worker, 'message');
  assert.equal(message.got, 'from main');
  const client = await dial(t, { port: message.port, host: '127.0.0.1' });
  assert.equal((await collect(client)).toString(), 'from worker');
  assert.equal(await worker.terminate(), 1);
});

test('several workers work at the same time', limit, async (t) => {
  const source = `const server = net.createServer((socket) => socket.pipe(socket));
    server.listen(0, '127.0.0.1', () => {
      let left = 50;
      for (let i = 0; i < 50; i++) {
        const client = net.connect(server.address().port, '127.0.0.1');
        let got = '';
        client.setEncoding('utf8').on('data', (text) => (got += text));
        client.on('close', () => { if (got === 'message ' + i && --left === 0) server.close(() => parentPort.postMessage('done')); });
        client.end('message ' + i);
      }
    });`;
  const workers = [1, 2, 3].map(() => work(t, source));
  const messages = await Promise.all(workers.map((worker) => once(worker, 'message')));
  assert.deepEqual(messages, [['done'], ['done'], ['done']]);
});

test('a worker that is terminated in the middle of a transfer closes its sockets', limit, async (t) => {
  const worker = work(
    t,
    `const chunk = Buffer.alloc(1024 * 1024, 0x61);
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      const more = () => { while (socket.write(chunk)); };
      socket.on('drain', more);
      more();
    });
    server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));`,
  );
  const [port] = await once(worker, 'message');
  const client = await dial(t, { port, host: '127.0.0.1' });
  client.on('error', () => {});
  client.resume();
  await until(() => client.bytesRead > 8 * 1024 * 1024, 'eight megabytes');
  await worker.terminate();
  await close(client);
  // Nobody listens any more.
  const late = dial(t, { port, host: '127.0.0.1' });
  await assert.rejects(late, { code: 'ECONNREFUSED' });
});

test('a worker that is terminated while it reads leaves the main thread working', limit, async (t) => {
  const server = await serve(t, (socket) => {
    socket.on('error', () => {});
    const chunk = Buffer.alloc(256 * 1024);
    const more = (): void => {
      for (let i = 0; i < 100 && socket.write(chunk); i++);
    };
    socket.on('drain', more);
    more();
  });
  const { port } = server.address() as { port: number };
  const worker = work(
    t,
    `const client = net.connect(${port}, '127.0.0.1'); client.once('data', () => parentPort.postMessage('reads')); client.resume();`,
  );
  const accepted = once(server, 'connection');
  await once(worker, 'message');
  const [socket] = await accepted;
  await worker.terminate();
  await close(socket);
  const client = await dial(t, server);
  await once(client, 'data');
  client.destroy();
});

test('workers come and go', limit, async (t) => {
  for (let i = 0; i < 10; i++) {
    const worker = work(
      t,
      `const server = net.createServer().listen(0, '127.0.0.1', () => parentPort.postMessage('up'));`,
    );
    await once(worker, 'message');
    await worker.terminate();
  }
});

const CONNECTIONS = 10;

test(
  'workers that are terminated with open sockets leave no descriptor, no ring and no memory behind',
  limit,
  async (t) => {
    if (process.platform !== 'linux') return t.skip('/proc tells what is left');
    const server = await serve(t, (socket) => void socket.on('error', () => {}).resume());
    const source = `const mine = net.createServer((socket) => socket.resume());
    mine.listen(0, '127.0.0.1', () => {
      let left = ${CONNECTIONS};
      for (let i = 0; i < left; i += 2) {
        const port = i % 4 === 0 ? mine.address().port : ${portOf(server)};
        for (let j = 0; j < 2; j++) net.connect(port, '127.0.0.1', function () {
          this.write(Buffer.alloc(100_000));
          if (--left === 0) parentPort.postMessage('connected');
        });
      }
    });`;
    const one = async (): Promise<void> => {
      const worker = work(t, source);
      await once(worker, 'message');
      await worker.terminate();
      await until(() => (server as unknown as { _connections: number })._connections === 0, 'its connections end');
    };
    for (let i = 0; i < 3; i++) await one();
    const before = { rings: ringMappings(), descriptors: descriptors().length, bytes: mappedBytes() };
    const rounds = 12;
    for (let i = 0; i < rounds; i++) await one();
    await until(() => descriptors().length <= before.descriptors, 'descriptors are as before');
    assert.equal(ringMappings(), before.rings);
    // A ring's send arena alone is 16 MB of addresses; threads' stacks and heaps come and go by a few.
    const grown = mappedBytes() - before.bytes;
    assert.ok(grown < (rounds * 16_000_000) / 4, `${grown} bytes more are mapped`);
  },
);

function ringMappings(): number {
  return readFileSync('/proc/self/maps', 'utf8').split('[io_uring]').length;
}

/** VmSize of proc(5). */
function mappedBytes(): number {
  const [, kilobytes] = /^VmSize:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}
