/**
 * Node's `net.socketpair`: two sockets of AF_UNIX that are connected with each other, without a path and without a
 * listener. Both begin without reading, so that neither data nor the end is told before somebody listens.
 *
 * @see https://nodejs.org/api/net.html
 */
import { SOCK } from '../engine/abi.ts';
import { choice } from '../engine/engine.ts';
import type { Turn } from '../engine/turn.ts';
import { errnoException } from './errors.ts';
import { newHandle } from './handle.ts';
import { type Socket, SocketClass } from './socket.ts';
import { validateBoolean, validateObject } from './validate.ts';

const turn = choice.turn as Turn;

export interface SocketPairOptions {
  /** Of both sockets. Default false. */
  allowHalfOpen?: boolean | undefined;
}

/** @throws {ERR_INVALID_ARG_TYPE}, and the errors of socketpair(2), `EMFILE` for one */
export function socketpair(options: SocketPairOptions = {}): [Socket, Socket] {
  validateObject(options, 'options');
  const { allowHalfOpen = false } = options;
  validateBoolean(allowHalfOpen, 'options.allowHalfOpen');
  const type = SOCK.STREAM | (turn.ring.kind === 'epoll' ? SOCK.NONBLOCK : 0);
  const pair = turn.ring.native.socketPair(type);
  if (typeof pair === 'number') throw errnoException(-pair, 'socketpair');
  const [a, b] = pair.map(
    (fd) => new SocketClass({ handle: newHandle(turn, fd, true), allowHalfOpen, manualStart: true }),
  );
  return [a as Socket, b as Socket];
}
