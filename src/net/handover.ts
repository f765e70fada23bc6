/**
 * Handing sockets and servers over between the threads of a process. Node's own way, the transfer list of `postMessage`,
 * takes no classes but Node's.
 *
 * ```
 *  detach   stop reading · send what was written · collect what came · duplicate the descriptor · close ours
 *           └─> ticket: plain data, any way to another thread ─┐
 *  attach   claim · a handle of this thread's ring · what had come is read first            <─┘
 * ```
 *
 * The duplicate is the same socket, so closing the first descriptor tells the peer nothing.
 */
import { AF } from '../engine/abi.ts';
import { choice } from '../engine/engine.ts';
import { familyOf, getKeepAlive, getNoDelay } from '../engine/socket-options.ts';
import type { Turn } from '../engine/turn.ts';
import { errnoException, invalidArgType, serverNotRunning, socketClosed } from './errors.ts';
import { type Handle, newHandle } from './handle.ts';
import { closeOnAbort } from './listen.ts';
import { ServerClass } from './server.ts';
import { ServerHandle } from './server-handle.ts';
import { copyOut } from './slab.ts';
import { SocketClass } from './socket.ts';
import { kBound, kOnRead } from './symbols.ts';
import {
  type AttachOptions,
  claim,
  detachError,
  openClaim,
  type ServerTicket,
  type SocketTicket,
  type Ticket,
} from './ticket.ts';

const turn = choice.turn as Turn;

export async function detach(what: SocketClass | ServerClass): Promise<Ticket> {
  if (what instanceof SocketClass) return detachSocket(what);
  if (what instanceof ServerClass) return detachServer(what);
  throw invalidArgType('socketOrServer', 'an instance of net.Socket or net.Server', what);
}

export function attach(ticket: Ticket, options: AttachOptions = {}): SocketClass | ServerClass {
  claim(ticket);
  turn.ring.native.setBlocking(ticket.fd, turn.ring.kind === 'io_uring');
  return ticket.kind === 'socket' ? attachSocket(ticket, options) : attachServer(ticket, options);
}

export function discard(ticket: Ticket): void {
  claim(ticket);
  turn.ring.native.closeDescriptor(ticket.fd);
}

// ---- sockets ----

async function detachSocket(socket: SocketClass): Promise<SocketTicket> {
  const handle = connectedHandle(socket);
  const chunks = takeUnread(socket);
  await new Promise<void>((resolve, reject) => {
    const fail = (error?: Error) => reject(error ?? socketClosed());
    socket.once('error', fail).once('close', () => fail());
    // The engine speaks to us from now on, not to the stream.
    handle.onData = (buffers, start, length) => void chunks.push(copyOut(buffers, start, length));
    handle.onLargeData = (buffers, id, length) => void chunks.push(buffers.take(id, length));
    handle.onHead = (bytes) => void chunks.push(bytes);
    handle.onEnd = () => {}; // whoever attaches is told again
    handle.onReadError = (errno) => void socket.destroy(errnoException(errno, 'read'));
    handle.stopped(() => whenSent(socket, resolve));
  });
  const fd = turn.ring.native.duplicate(handle.fd);
  const { allowHalfOpen, writableEnded: isEnded } = socket;
  socket.destroy();
  if (fd < 0) throw errnoException(-fd, 'dup');
  return { kind: 'socket', fd, claim: openClaim(), allowHalfOpen, isEnded, received: Buffer.concat(chunks) };
}

function connectedHandle(socket: SocketClass): Handle {
  const handle = socket._handle;
  if (handle === null || socket.destroyed) throw socketClosed();
  if (socket.connecting || socket[kBound] !== null) throw detachError('the socket is not connected yet');
  if (handle.isPipe) throw detachError('a pipe is no socket');
  if (socket.readableEncoding !== null)
    throw detachError('setEncoding() was called, and text can not be turned back into the bytes that came');
  return handle;
}

/** What the stream has and nobody read. It is not for its listeners any more. */
function takeUnread(socket: SocketClass): Uint8Array[] {
  socket.unpipe();
  for (const event of ['data', 'readable', 'end']) socket.removeAllListeners(event);
  socket.pause();
  const rest = socket[kOnRead]?.takeRest();
  if (rest != null) return [rest];
  // Exactly what is there: a read of "all" would also look for the end, and end the stream.
  const length = socket.readableLength;
  return length === 0 ? [] : [socket.read(length) as Buffer];
}

/** What was written has been taken by the kernel, as has the FIN if there is one. */
function whenSent(socket: SocketClass, done: () => void): void {
  while (socket.writableCorked > 0) socket.uncork();
  if (socket.writableFinished) done();
  else if (socket.writableEnded) socket.once('finish', done);
  else
    socket.write('', (error?: Error | null) => {
      if (error) return; // the socket is destroyed by it
      if (socket.writableLength > 0) whenSent(socket, done);
      else done();
    });
}

function attachSocket(ticket: SocketTicket, options: AttachOptions): SocketClass {
  const { native } = turn.ring;
  const { fd, received, isEnded } = ticket;
  const { allowHalfOpen = ticket.allowHalfOpen, highWaterMark, signal, pauseOnConnect = false } = options;
  const keepAlive = getKeepAlive(native, fd);
  const handle = newHandle(turn, fd, familyOf(native, fd) === AF.UNIX);
  const socket = new SocketClass({
    handle,
    allowHalfOpen,
    manualStart: true,
    noDelay: getNoDelay(native, fd),
    keepAlive: keepAlive !== undefined,
    keepAliveInitialDelay: (keepAlive ?? 0) * 1000,
    ...(highWaterMark === undefined ? {} : { highWaterMark }),
    ...(signal === undefined ? {} : { signal }),
  });
  handle.bytesRead = received.byteLength;
  if (received.byteLength > 0) socket.push(received);
  if (isEnded) socket.end();
  if (pauseOnConnect) socket.pause();
  else socket.read(0);
  return socket;
}

// ---- servers ----

async function detachServer(server: ServerClass): Promise<ServerTicket> {
  const handle = server._handle;
  if (handle === null) throw serverNotRunning();
  if (!(handle instanceof ServerHandle) || handle.inlet !== null)
    throw detachError('the server listens with a handle of Node, or of a cluster');
  await new Promise<void>((resolve) => handle.stopped(resolve));
  if (server._handle !== handle) throw serverNotRunning();
  const fd = turn.ring.native.duplicate(handle.fd);
  const path = server._pipeName;
  server._pipeName = undefined; // it is not removed: somebody goes on listening there
  const { allowHalfOpen, pauseOnConnect, noDelay, keepAlive, highWaterMark } = server;
  const keepAliveInitialDelay = server.keepAliveInitialDelay * 1000;
  server.close();
  if (fd < 0) throw errnoException(-fd, 'dup');
  const options = { allowHalfOpen, pauseOnConnect, noDelay, keepAlive, keepAliveInitialDelay, highWaterMark };
  return { kind: 'server', fd, claim: openClaim(), path, options };
}

function attachServer(ticket: ServerTicket, options: AttachOptions): ServerClass {
  const server = new ServerClass(ticket.options);
  server._pipeName = ticket.path;
  server._begin(new ServerHandle(turn, ticket.fd, familyOf(turn.ring.native, ticket.fd) === AF.UNIX, server));
  closeOnAbort(server, options.signal);
  return server;
}
