/** Stories of how it ends: destroyed at every stage, half-open, idle, aborted, with its server, with its process. See scenarios.ts. */

import nodeNet, { type LookupFunction, type Socket } from 'node:net';
import { join } from 'node:path';
import { run } from '../support/child.ts';
import { close, dial, dialling, folder, keep, type Net, once, REFUSED_PORT, turns, until } from '../support/net.ts';
import { both, error, type Log, pair, scenario, serve, state, watch } from './scenarios.ts';

const MEGABYTE = 1024 * 1024;
const onItsWay = { except: ['connectionAttempt', 'lookup'] };

// ------------------------------------------------------------------------------ destroyed at each stage, writes pending

/** Logs what a write's callback is told. */
const told =
  (log: Log, name: string) =>
  (e?: Error | null): void =>
    log('written', name, error(e ?? null));

scenario('destroy while looking up, with writes pending', async (net, log, t) => {
  const lookup: LookupFunction = () => {};
  const client = watch(log, 'client', dialling(t, { port: 1, host: 'slow', lookup }, { net }));
  client.write('a', told(log, 'a'));
  client.write('b', told(log, 'b'));
  log('client', client.writableLength, client.bytesWritten);
  client.destroy();
  await close(client);
  log('client', client.writableLength, client.bytesWritten);
});

scenario('destroy while connecting, with writes pending', async (net, log, t) => {
  const server = await serve(net, t);
  const client = watch(log, 'client', dialling(t, server, { net }), onItsWay);
  client.write('a', told(log, 'a'));
  client.end('b', told(log, 'end'));
  client.destroy(new Error('given up'));
  await close(client);
});

scenario('destroy in connect, with writes pending', async (net, log, t) => {
  const server = await serve(net, t, (socket) => void socket.on('error', () => {}).resume());
  const client = watch(log, 'client', dialling(t, server, { net }), onItsWay);
  client.on('connect', () => client.destroy());
  client.write('a', (e) => log('written', e instanceof Error));
  await close(client);
});

scenario('refused, with writes pending', async (net, log, t) => {
  const client = watch(log, 'client', dialling(t, { port: REFUSED_PORT, host: '127.0.0.1' }, { net }), {
    except: ['connectionAttempt'],
  });
  client.write('a', (e) => log('written', 'a', (e as NodeJS.ErrnoException).code));
  client.write('b', (e) => log('written', 'b', (e as NodeJS.ErrnoException).code));
  await close(client);
  log('client', state(client));
});

for (const [name, reason] of [
  ['without', undefined],
  ['with', new Error('enough')],
] as const) {
  scenario(`destroy ${name} an error, with writes stuck`, async (net, log, t) => {
    const { client, peer } = await pair(net, log, t, { data: false });
    peer.on('error', () => {}).pause();
    log('client', client.write(Buffer.alloc(16 * MEGABYTE), told(log, 'large')));
    await turns(10); // what is written in one tick is one write here
    client.write('small', told(log, 'small'));
    await turns(2);
    log('client', client.writableLength > 0, client.writableNeedDrain);
    client.destroy(reason);
    log('client', client.destroyed, client.writableLength > 0);
    await close(client);
    log('client', client.bytesWritten);
  });
}

scenario('destroy after end, with writes stuck', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  peer.on('error', () => {}).pause();
  client.write(Buffer.alloc(16 * MEGABYTE), told(log, 'large'));
  client.end(told(log, 'end'));
  await turns(10);
  client.destroy();
  await close(client);
  log('client', state(client).writableFinished);
});

scenario('destroy of what was corked', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.cork();
  client.write('a', told(log, 'a'));
  client.write('b', told(log, 'b'));
  client.destroy();
  await both(client, peer);
});

scenario('destroy in drain', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  peer.resume();
  client.on('drain', () => client.destroy());
  log('client', client.write(Buffer.alloc(4 * MEGABYTE), told(log, 'large')));
  await both(client, peer);
  log('peer', peer.bytesRead);
});

scenario('destroy in the timeout listener', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.setTimeout(15, () => client.destroy(new Error('idle')));
  await both(client, peer);
});

scenario('destroy in the close listener', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.on('close', () => client.destroy(new Error('too late')));
  client.destroy();
  await both(client, peer);
  await turns(3);
});

scenario('destroy of an accepted socket in the connection listener', async (net, log, t) => {
  const server = await serve(net, t, (socket) => void watch(log, 'peer', socket).destroy());
  const client = watch(log, 'client', dialling(t, server, { net }), onItsWay);
  await close(client);
});

scenario('destroy with an error of an accepted socket in the connection listener', async (net, log, t) => {
  const server = await serve(net, t, (socket) => {
    watch(log, 'peer', socket).destroy(new Error('not you'));
    socket.on('close', () => log('peer', socket.errored?.message, socket.bytesRead));
  });
  const client = watch(log, 'client', dialling(t, server, { net }), onItsWay);
  await close(client);
});

scenario('a second connection destroys the first socket object only', async (net, log, t) => {
  const server = await serve(net, t, (socket) => void socket.end('hello'));
  const client = watch(log, 'client', await dial(t, server, { net }));
  await close(client);
  client.connect({ port: (server.address() as { port: number }).port, host: '127.0.0.1' });
  log('client', client.connecting, client.destroyed);
  client.destroy();
  await close(client);
});

// ------------------------------------------------------------------------------------------------------------- half-open

scenario('a half-open server that ends late', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { server: { allowHalfOpen: true } });
  client.end('question');
  await once(peer, 'end');
  await turns(20);
  log('peer', peer.readyState, peer.writable, peer.readable);
  log('client', client.readyState, client.writable, client.readable);
  peer.write('first ');
  await once(client, 'data');
  await turns(10);
  peer.end('last');
  await both(client, peer);
});

scenario('a half-open unix server that ends late', async (net, log, t) => {
  const path = join(await folder(t), 's');
  const { client, peer } = await pair(net, log, t, { server: { allowHalfOpen: true }, listen: { path } });
  client.end('question');
  await once(peer, 'end');
  await turns(20);
  log('peer', peer.readyState);
  peer.end('answer');
  await both(client, peer);
});

scenario('half-open on both sides, both end late', async (net, log, t) => {
  const options = { server: { allowHalfOpen: true }, client: { allowHalfOpen: true } };
  const { client, peer } = await pair(net, log, t, options);
  peer.end('one way');
  await once(client, 'end');
  log('client', client.readyState);
  client.write('other way');
  await once(peer, 'data');
  await turns(10);
  log('peer', peer.readyState);
  client.end();
  await both(client, peer);
});

scenario('a half-open socket that times out', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { server: { allowHalfOpen: true } });
  client.end();
  await once(peer, 'end');
  peer.setTimeout(15, () => peer.end());
  await both(client, peer);
});

scenario('destroySoon after the end of the other side', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { server: { allowHalfOpen: true } });
  client.end('x');
  await once(peer, 'end');
  peer.write('y');
  peer.destroySoon();
  await both(client, peer);
});

// ---------------------------------------------------------------------------------------------------------------- timers

// How long nothing had happened before the timeout; on a machine that stalls it may come before what puts it off.
for (const [name, act] of [
  ['a write', (client: Socket) => client.write('still here')],
  ['data', (_client: Socket, peer: Socket) => peer.write('still here')],
] as const) {
  scenario(`a timeout put off by ${name}`, async (net, log, t) => {
    const { client, peer } = await pair(net, log, t, { data: false, except: ['timeout'] });
    client.resume();
    peer.resume();
    let last = performance.now();
    client.on('data', () => (last = performance.now()));
    const idle: number[] = [];
    client.on('timeout', () => idle.push(performance.now() - last));
    client.setTimeout(60);
    setTimeout(() => {
      if (name === 'a write') last = performance.now();
      act(client, peer);
    }, 40);
    await until(() => idle.length > 0 && client.bytesRead + client.bytesWritten === 10, 'both');
    log(
      'client',
      idle.every((ms) => ms >= 55),
    );
  });
}

scenario('a timeout set again in its listener', async (net, log, t) => {
  const { client } = await pair(net, log, t);
  client.setTimeout(10);
  await once(client, 'timeout');
  client.setTimeout(20, () => log('client', 'second'));
  await once(client, 'timeout');
  log('client', client.timeout, client.listenerCount('timeout'));
});

scenario('a timeout of a socket with stuck writes', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  peer.on('error', () => {}).pause();
  client.write(Buffer.alloc(16 * MEGABYTE));
  client.setTimeout(30);
  await once(client, 'timeout');
  log('client', client.writableLength > 0);
});

scenario('a timeout that was set before connecting', async (net, log, t) => {
  const server = await serve(net, t);
  const client = watch(log, 'client', keep(t, new net.Socket()), onItsWay);
  client.setTimeout(250, () => log('client', 'callback', client.connecting));
  client.connect({ port: (server.address() as { port: number }).port, host: '127.0.0.1' });
  await once(client, 'timeout');
  log('client', client.timeout);
});

// ---------------------------------------------------------------------------------------------------------------- signals

for (const [name, reason] of [
  ['', undefined],
  [' with a reason', new Error('changed my mind')],
] as const) {
  scenario(`a socket of an aborted signal${name}`, async (net, log, t) => {
    const client = watch(log, 'client', keep(t, new net.Socket({ signal: AbortSignal.abort(reason) })));
    log('client', client.connecting, client.pending, client.readyState);
    await close(client);
    log('client', client.destroyed, error(client.errored));
  });

  scenario(`a signal aborted with writes stuck${name}`, async (net, log, t) => {
    const controller = new AbortController();
    const { client, peer } = await pair(net, log, t, { data: false, client: { signal: controller.signal } });
    peer.on('error', () => {}).pause();
    client.write(Buffer.alloc(16 * MEGABYTE), told(log, 'large'));
    await turns(5);
    controller.abort(reason);
    await close(client);
  });
}

scenario('a signal aborted after close', async (net, log, t) => {
  const controller = new AbortController();
  const { client, peer } = await pair(net, log, t, { client: { signal: controller.signal } });
  client.end();
  await both(client, peer);
  controller.abort();
  await turns(5);
  log('client', client.destroyed, client.errored);
});

scenario('a listen signal aborted with a connection open', async (net, log, t) => {
  const controller = new AbortController();
  const listen = { port: 0, host: '127.0.0.1', signal: controller.signal };
  const { client, peer, server } = await pair(net, log, t, { listen });
  server.on('close', () => log('peer', 'server closed'));
  controller.abort();
  log('server', server.listening);
  await turns(10);
  client.end('still here');
  await both(client, peer);
  await until(() => !server.listening, 'the server to close');
});

// ---------------------------------------------------------------------------------------------------------------- servers

scenario('close a server, then its two connections', async (net, log, t) => {
  const { client, peer, server } = await pair(net, log, t, { except: ['prefinish', 'finish', 'end'] });
  const accepted = once(server, 'connection');
  const second = await dial(t, server, { net });
  const [other] = await accepted;
  other.on('close', () => log('peer', 'other closed'));
  second.resume();
  server.on('close', () => log('peer', 'server closed'));
  server.close(() => log('peer', 'callback'));
  server.getConnections((_e, count) => log('count', count));
  peer.end();
  await both(client, peer);
  await turns(10);
  log('peer', server.listening);
  other.end();
  await once(server, 'close');
});

scenario('close a server in its connection listener', async (net, log, t) => {
  const server = await serve(net, t);
  server.on('close', () => log('server', 'closed'));
  server.on('connection', (socket) => {
    server.close(() => log('server', 'callback'));
    log('server', server.listening, server.address());
    watch(log, 'server', socket, { except: ['prefinish', 'finish', 'resume'] }).end('bye');
    socket.resume();
  });
  const client = dialling(t, server, { net }).resume();
  await close(client);
  await turns(5);
});

scenario('close a server in the close listener of its last socket', async (net, log, t) => {
  const { client, peer, server } = await pair(net, log, t, { data: false });
  server.on('close', () => log('peer', 'server closed'));
  peer.on('close', () => {
    log('peer', 'now');
    server.close(() => log('peer', 'callback'));
  });
  client.destroy();
  await once(server, 'close');
});

scenario('close a server and listen again at once', async (net, log, t) => {
  const server = await serve(net, t);
  for (const event of ['listening', 'close', 'error']) server.on(event, () => log('server', event, server.listening));
  server.close();
  server.listen(0, '127.0.0.1');
  log('server', server.listening);
  await once(server, 'listening');
  const client = await dial(t, server, { net });
  client.destroy();
  await turns(5);
});

scenario('close a unix server with a connection', async (net, log, t) => {
  const path = join(await folder(t), 's');
  const { client, peer, server } = await pair(net, log, t, { listen: { path } });
  server.on('close', () => log('peer', 'server closed'));
  server.close();
  const late = watch(log, 'late', dialling(t, { path }, { net }), { except: ['connectionAttempt'] });
  await close(late);
  client.end('still here');
  await both(client, peer);
});

scenario('what ref and unref return', async (net, log, t) => {
  const { client, server } = await pair(net, log, t);
  log('server', server.unref() === server, server.ref() === server);
  log('client', client.unref() === client, client.ref() === client);
  client.destroy();
  await close(client);
  log('client', client.unref() === client, client.ref() === client);
  const fresh = new net.Socket();
  log('fresh', fresh.unref() === fresh, fresh.ref() === fresh);
  const idle = net.createServer();
  log('idle', idle.unref() === idle, idle.ref() === idle);
});

// -------------------------------------------------------------------------------------------------- the end of a process

/** Programs in which `subject` is the module: what keeps them alive, and how they end. */
const programs: Record<string, string> = {
  'an unref server with a connection that is not': `
    const server = subject.createServer((socket) => socket.end('bye')).listen(0, '127.0.0.1', () => {
      server.unref();
      const client = subject.connect(server.address().port, '127.0.0.1');
      client.on('data', (chunk) => say(String(chunk)));
      client.on('close', () => say('closed'));
    });`,
  'an unref server and both ends unref': `
    const server = subject.createServer((socket) => { socket.unref(); say('accepted'); client.unref(); }).listen(0, '127.0.0.1');
    server.unref();
    let client;
    server.on('listening', () => { client = subject.connect(server.address().port, '127.0.0.1'); });
    server.ref();
    setTimeout(() => server.unref(), 50);
    process.on('exit', (code) => say('exit ' + code));`,
  'unref and ref again': `
    const server = subject.createServer().listen(0, '127.0.0.1');
    server.unref().ref();
    const timer = setTimeout(() => { say('still there'); server.close(() => say('closed')); }, 50);
    timer.unref();`,
  'a closed server and a connection that ends': `
    const server = subject.createServer((socket) => { server.close(() => say('server closed')); socket.end('bye'); });
    server.listen(0, '127.0.0.1', () => {
      subject.connect(server.address().port, '127.0.0.1').resume().on('close', () => say('client closed'));
    });
    process.on('exit', (code) => say('exit ' + code));`,
  'beforeExit with a new connection': `
    let round = 0;
    process.on('beforeExit', () => {
      if (round++ > 1) return;
      say('round ' + round);
      const server = subject.createServer((socket) => socket.end()).listen(0, '127.0.0.1', () => {
        subject.connect(server.address().port, '127.0.0.1').resume().on('close', () => server.close());
      });
    });`,
  'an error nobody listens to': `
    subject.connect(1, '127.0.0.1');
    process.on('uncaughtException', (e) => { say(e.code + ' ' + e.syscall); process.exitCode = 3; });`,
};

for (const [name, program] of Object.entries(programs)) {
  scenario(`a process: ${name}`, async (net, log, t) => {
    const child = run(
      t,
      `import nodeNet from 'node:net';\nconst subject = ${isNodes(net) ? 'nodeNet' : 'net'};\n${program}`,
    );
    const { code, signal, stdout, stderr } = await child.exit;
    log('process', code, signal, stderr);
    for (const line of stdout.trim().split('\n').sort()) log('process', line);
  });
}

function isNodes(net: Net): boolean {
  return net.Socket === nodeNet.Socket;
}
