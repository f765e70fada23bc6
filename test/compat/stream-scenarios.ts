/** Stories of a socket as a stream: paused before it is connected, decoded, iterated, piped. See scenarios.ts. */

import type { Socket } from 'node:net';
import { join } from 'node:path';
import { addAbortSignal, finished, PassThrough, pipeline, Readable, Writable } from 'node:stream';
import { close, dialling, folder, once, serve as serveWith, turns, until } from '../support/net.ts';
import { both, error, pair, scenario, serve, state, watch } from './scenarios.ts';

/** Where the order of the events depends on when the connection is there. */
const onItsWay = { except: ['connectionAttempt', 'lookup'], apart: ['pause', 'resume'] };

// ----------------------------------------------------------------------------------------------- before it is connected

scenario('paused before it is connected', async (net, log, t) => {
  const server = await serve(net, t, (socket) => void socket.end('waits'));
  const client = watch(log, 'client', dialling(t, server, { net }), onItsWay);
  log('client', client.pause() === client, client.isPaused());
  await once(client, 'ready');
  await turns(20);
  log('client', client.isPaused(), client.readableFlowing, client.readableEnded);
  client.resume();
  await close(client);
});

scenario('resumed before it is connected', async (net, log, t) => {
  const server = await serve(net, t, (socket) => void socket.end('nobody listens'));
  const client = watch(log, 'client', dialling(t, server, { net }), { ...onItsWay, data: false });
  log('client', client.resume() === client, client.readableFlowing);
  await close(client);
  log('client', client.bytesRead);
});

scenario('paused and resumed before it is connected', async (net, log, t) => {
  const server = await serve(net, t, (socket) => void socket.end('comes'));
  const client = watch(log, 'client', dialling(t, server, { net }), onItsWay);
  client.pause().resume();
  log('client', client.isPaused(), client.readableFlowing);
  await close(client);
});

scenario('paused in the connect listener', async (net, log, t) => {
  const server = await serve(net, t, (socket) => void socket.write('waits'));
  const client = watch(log, 'client', dialling(t, server, { net }), onItsWay);
  client.on('connect', () => client.pause());
  await once(client, 'ready');
  await turns(20);
  log('client', client.isPaused(), client.readableFlowing);
  client.resume();
  await once(client, 'data');
});

scenario('read() before it is connected', async (net, log, t) => {
  const server = await serve(net, t, (socket) => void socket.end('early bird'));
  const client = watch(log, 'client', dialling(t, server, { net }), { ...onItsWay, data: false });
  log('client', client.read(), client.readableLength);
  let text = '';
  client.on('readable', () => {
    for (let piece = client.read(); piece !== null; piece = client.read()) text += piece;
  });
  await close(client);
  log('client', text);
});

scenario('a data listener that pauses at every piece', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.on('data', () => {
    client.pause();
    setImmediate(() => client.resume());
  });
  for (const piece of ['one', 'two', 'three']) {
    peer.write(piece);
    await once(client, 'data');
    await turns(3);
  }
  peer.end();
  await both(client, peer);
});

scenario('a data listener that goes', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false, apart: ['pause', 'resume'] });
  const listener = (chunk: Buffer): void => log('client', String(chunk));
  client.on('data', listener);
  peer.write('heard');
  await once(client, 'data');
  client.removeListener('data', listener);
  log('client', client.isPaused(), client.readableFlowing);
  peer.write('not heard');
  await turns(20);
  log('client', client.isPaused(), client.readableFlowing);
  client.on('data', listener);
  log('client', client.readableFlowing);
});

// -------------------------------------------------------------------------------------------------------------- encoding

scenario('setEncoding before it is connected', async (net, log, t) => {
  const server = await serve(net, t, (socket) => void socket.end('é'));
  const client = dialling(t, server, { net });
  log('client', client.setEncoding('hex') === client, client.readableEncoding);
  client.on('data', (chunk) => log('client', typeof chunk, chunk));
  await close(client);
});

scenario('setEncoding when bytes wait already', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  client.pause();
  peer.write('été');
  await until(() => client.readableLength === 5, 'the bytes');
  client.setEncoding('latin1');
  log('client', client.readableLength);
  client.on('data', (chunk) => log('client', typeof chunk, chunk));
  client.resume();
  peer.end();
  await both(client, peer);
});

scenario('setEncoding and a character that is never completed', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.setEncoding('utf8');
  peer.end(Buffer.from([0x61, 0xe2, 0x82]));
  await both(client, peer);
});

scenario('setEncoding and read of characters', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  client.setEncoding('utf8');
  peer.end('äöü');
  await until(() => client.bytesRead === 6, 'the bytes');
  client.on('readable', () => {
    for (let piece = client.read(1); piece !== null; piece = client.read(1)) log('client', piece);
  });
  await both(client, peer);
});

// ------------------------------------------------------------------------------------------------------------- iteration

scenario('an iteration over text', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  client.setEncoding('utf8');
  peer.end('text');
  for await (const chunk of client) log('client', typeof chunk, chunk);
  await both(client, peer);
});

scenario('an iteration that ends in a reset', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  peer.write('x');
  try {
    for await (const chunk of client) {
      log('client', String(chunk));
      peer.resetAndDestroy();
    }
  } catch (thrown) {
    log('client', 'thrown', error(thrown));
  }
  await both(client, peer);
});

scenario('an iteration whose body throws', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  peer.write('x');
  try {
    for await (const chunk of client) throw new Error(String(chunk));
  } catch (thrown) {
    log('client', 'thrown', error(thrown), client.destroyed);
  }
  await both(client, peer);
});

scenario('an iteration of a socket that is destroyed in it', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  peer.write('x');
  try {
    for await (const chunk of client) {
      log('client', String(chunk));
      client.destroy();
    }
    log('client', 'no error');
  } catch (thrown) {
    log('client', 'thrown', error(thrown));
  }
  await both(client, peer);
});

scenario('an iteration of a destroyed socket', async (net, log, t) => {
  const { client } = await pair(net, log, t, { data: false });
  client.destroy();
  await close(client);
  try {
    for await (const chunk of client) log('client', String(chunk));
    log('client', 'no error');
  } catch (thrown) {
    log('client', 'thrown', error(thrown));
  }
});

scenario('an iteration that leaves the socket open', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false, apart: ['pause', 'resume'] });
  peer.write('first');
  for await (const chunk of client.iterator({ destroyOnReturn: false })) {
    log('client', String(chunk));
    break;
  }
  log('client', client.destroyed);
  peer.end('second');
  for await (const chunk of client) log('client', String(chunk));
  await both(client, peer);
});

scenario('an iteration with an answer to each piece', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false, client: { allowHalfOpen: true } });
  peer.on('data', (chunk) => {
    log('peer', 'got', String(chunk));
    if (String(chunk) === 'answer 3') peer.end();
    else peer.write(`${Number(String(chunk).at(-1)) + 1}`);
  });
  peer.write('1');
  for await (const chunk of client) client.write(`answer ${chunk}`);
  log('client', client.writable);
  client.end();
  await both(client, peer);
});

// ----------------------------------------------------------------------------------------------------- pipe and pipeline

const received = (socket: Socket): (() => string) => {
  let text = '';
  socket.on('data', (chunk) => (text += chunk));
  return () => text;
};

scenario('a pipeline into a socket', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  const got = received(peer);
  pipeline(Readable.from(['one ', 'two ', 'three']), client, (e) => log('pipeline', error(e), state(client)));
  client.resume();
  await both(client, peer);
  log('peer', got());
});

scenario('a pipeline into a socket whose source fails', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  const source = new Readable({ read() {} });
  pipeline(source, client, (e) => log('pipeline', error(e), client.destroyed));
  source.push('x');
  await once(peer, 'data').catch(() => {});
  source.destroy(new Error('the source failed'));
  await both(client, peer);
});

scenario('a pipeline from a socket into a sink that fails', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false, except: ['pause', 'resume', 'pipe', 'unpipe'] });
  const sink = new Writable({ write: (_chunk, _encoding, callback) => callback(new Error('the sink failed')) });
  pipeline(client, sink, (e) => log('pipeline', error(e), client.destroyed));
  peer.write('x');
  await both(client, peer);
});

scenario('a pipeline from a socket that is reset', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  const sink = new PassThrough();
  pipeline(client, sink, (e) => log('pipeline', error(e), sink.destroyed));
  peer.write('x');
  await once(sink, 'data');
  peer.resetAndDestroy();
  await both(client, peer);
});

scenario('a pipeline into a socket that is destroyed', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  const source = new Readable({ read() {} });
  pipeline(source, client, (e) => log('pipeline', error(e), source.destroyed));
  client.destroy();
  await both(client, peer);
});

scenario('a pipeline through a socket with an echo', async (net, log, t) => {
  const server = await serve(net, t, (socket) => void pipeline(socket, socket, (e) => log('echo', error(e))));
  const client = watch(log, 'client', dialling(t, server, { net }), {
    ...onItsWay,
    except: [...onItsWay.except, 'data', 'drain', 'pause', 'resume', 'pipe', 'unpipe'],
    apart: ['prefinish', 'finish', 'ready', 'end'],
  });
  let got = '';
  const sink = new Writable({
    write(chunk, _encoding, callback) {
      got += chunk;
      callback();
    },
  });
  pipeline(Readable.from(['round ', 'trip']), client, sink, (e) => log('pipeline', error(e)));
  await close(client);
  log('sink', got);
});

scenario('a pipe without end', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { apart: ['pause', 'resume'] });
  const source = new PassThrough();
  source.pipe(client, { end: false });
  source.end('x');
  await once(peer, 'data');
  await turns(10);
  log('client', state(client));
  client.end('y');
  await both(client, peer);
});

scenario('an unpipe in the middle', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { apart: ['pause', 'resume'] });
  const source = new PassThrough();
  source.pipe(client);
  source.write('piped');
  await once(peer, 'data');
  source.unpipe(client);
  source.write('kept');
  await turns(10);
  log('source', source.readableLength, client.writable);
  source.pipe(client);
  source.end();
  await both(client, peer);
});

scenario('a pipe into a socket that fails', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  const source = new PassThrough();
  source.on('unpipe', () => log('source', 'unpipe'));
  source.pipe(client);
  client.destroy(new Error('failed'));
  await both(client, peer);
  log('source', source.destroyed, source.readableFlowing);
});

scenario('finished of a socket that ends', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  finished(client, (e) => log('client', 'finished', error(e)));
  finished(client, { readable: false }, (e) => log('client', 'finished writing', error(e)));
  client.end('x');
  await both(client, peer);
});

scenario('finished of a socket that is destroyed', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  finished(client, (e) => log('client', 'finished', error(e)));
  client.destroy();
  await both(client, peer);
  finished(client, (e) => log('client', 'finished later', error(e)));
  await turns(3);
});

scenario('addAbortSignal on a socket', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  const controller = new AbortController();
  addAbortSignal(controller.signal, client);
  controller.abort();
  await both(client, peer);
});

// ---------------------------------------------------------------------------------------------------------- unix sockets

scenario('a unix socket written and ended before it is connected', async (net, log, t) => {
  const server = await serveWith(t, undefined, { net, listen: { path: join(await folder(t), 's') } });
  const accepted = once(server, 'connection');
  const client = watch(log, 'client', dialling(t, server, { net }), {
    ...onItsWay,
    apart: ['ready', 'prefinish', 'finish', 'resume'],
  });
  client.write('a', () => log('written', 'a'));
  client.end('b', () => log('written', 'end'));
  log('client', client.connecting, client.pending);
  client.resume();
  const [peer] = (await accepted) as [Socket];
  const got = received(peer);
  await both(client, peer);
  log('peer', got());
});

scenario('a unix socket paused before it is connected', async (net, log, t) => {
  const path = join(await folder(t), 's');
  const server = await serveWith(t, (socket) => void socket.end('waits'), { net, listen: { path } });
  const client = watch(log, 'client', dialling(t, server, { net }), {
    ...onItsWay,
    apart: ['ready', 'pause', 'resume'],
  });
  client.pause();
  await once(client, 'ready');
  await turns(20);
  log('client', client.isPaused(), client.readableFlowing);
  client.resume();
  await close(client);
});

scenario('a large transfer over a unix socket', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false, listen: { path: join(await folder(t), 's') } });
  peer.pause();
  const size = 4 * 1024 * 1024;
  log('client', client.write(Buffer.alloc(size, 'x')), client.bytesWritten);
  client.end(() => log('client', 'end callback'));
  peer.resume();
  await both(client, peer);
  log('peer', peer.bytesRead === size);
});
