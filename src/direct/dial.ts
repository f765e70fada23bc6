/**
 * One attempt to connect, on either engine. In: one address or path. Out: a link that stands, or Node's error, told in a
 * turn of its own; or nothing, when the attempt was given up.
 */
import type { AsyncResource } from 'node:async_hooks';
import { connect as nodeConnect } from 'node:net';
import { AF, ERRNO } from '../engine/abi.ts';
import { encodeIp, encodePath } from '../engine/address.ts';
import { Connection } from '../engine/connection.ts';
import { setReuseAddress } from '../engine/socket-options.ts';
import { hostPortException } from '../engine/system-errors.ts';
import type { Turn } from '../engine/turn.ts';
import { EngineLink } from './engine-link.ts';
import type { Link } from './link.ts';
import { NodeLink } from './node-link.ts';

/** Where an attempt goes to, and from. */
export type Goal = PathGoal | IpGoal;

interface PathGoal {
  path: string;
}

interface IpGoal {
  ip: string;
  family: 4 | 6;
  port: number;
  localAddress: string | undefined;
  localPort: number | undefined;
}

/** @returns what gives the attempt up; `onDone` is not called then */
export type Dial = (
  goal: Goal,
  context: AsyncResource,
  onDone: (error: NodeJS.ErrnoException | null, link: Link | null) => void,
) => () => void;

const UNSPECIFIED = { 4: '0.0.0.0', 6: '::' } as const;

export const engineDial =
  (turn: Turn): Dial =>
  (goal, context, onDone) => {
    let isOver = false;
    const done = (errno: number, syscall: string, link: Link | null): void => {
      if (isOver) return;
      isOver = true;
      if (errno === 0) onDone(null, link);
      else onDone(errorOf(goal, errno, syscall), null);
    };
    const opened = openSocket(turn, goal);
    if ('errno' in opened) {
      process.nextTick(() => done(opened.errno, opened.syscall, null));
      return () => {
        isOver = true;
      };
    }
    const link = new EngineLink(turn, opened.fd, 'path' in goal, context);
    link.onConnected = (errno) => {
      link.onConnected = null;
      if (errno !== 0) link.close();
      done(errno, 'connect', link);
    };
    link.connect(opened.sockaddr);
    return () => {
      isOver = true;
      link.close();
    };
  };

type OpenedSocket = { fd: number; sockaddr: Uint8Array } | { errno: number; syscall: 'connect' | 'bind' };

/** A socket, bound if it was asked where from. */
function openSocket(turn: Turn, goal: Goal): OpenedSocket {
  const { native } = turn.ring;
  const isUnix = 'path' in goal;
  const sockaddr = isUnix ? encodePath(goal.path) : encodeIp(goal.ip, goal.port, goal.family);
  if (sockaddr === undefined) return { errno: ERRNO.EINVAL, syscall: 'connect' };
  const fd = Connection.socket(turn, isUnix ? AF.UNIX : goal.family === 6 ? AF.INET6 : AF.INET);
  if (fd < 0) return { errno: -fd, syscall: 'connect' };
  if (!isUnix && (goal.localAddress !== undefined || goal.localPort !== undefined)) {
    const local = encodeIp(goal.localAddress ?? UNSPECIFIED[goal.family], goal.localPort ?? 0, goal.family);
    setReuseAddress(native, fd); // or the port is nobody's for a minute after this connection
    const result = local === undefined ? -ERRNO.EINVAL : native.bind(fd, local);
    if (result !== 0) {
      native.closeDescriptor(fd);
      return { errno: -result, syscall: 'bind' };
    }
  }
  return { fd, sockaddr };
}

function errorOf(goal: Goal, errno: number, syscall: string): NodeJS.ErrnoException {
  if ('path' in goal) return hostPortException(errno, syscall, goal.path, undefined);
  if (syscall === 'bind') return hostPortException(errno, syscall, goal.localAddress, goal.localPort);
  return hostPortException(errno, syscall, goal.ip, goal.port);
}

export const nodeDial: Dial = (goal, context, onDone) => {
  const isUnix = 'path' in goal;
  const socket = nodeConnect({
    allowHalfOpen: true,
    autoSelectFamily: false,
    ...(isUnix ? { path: goal.path } : { ...goal, host: goal.ip }),
  } as never);
  const onError = (error: Error): void => onDone(error, null);
  socket.once('error', onError);
  socket.once('connect', () => {
    socket.off('error', onError);
    onDone(null, new NodeLink(socket, isUnix, context));
  });
  return () => {
    socket.off('error', onError);
    socket.on('error', () => {});
    socket.destroy();
  };
};
