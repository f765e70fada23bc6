/**
 * `new Socket({ fd })`: what a given descriptor is, and a handle for it if it is a stream socket or a pipe.
 *
 * In: a number. Out: a `Handle`, or the error that Node throws. The kinds are those of libuv's uv_guess_handle().
 */
import { fstatSync } from 'node:fs';
import { isatty } from 'node:tty';
import { AF, ERRNO, O, SOCK } from '../engine/abi.ts';
import type { Native } from '../engine/native.ts';
import { familyOf, getSocketType } from '../engine/socket-options.ts';
import type { Turn } from '../engine/turn.ts';
import { errnoException, invalidFdType } from './errors.ts';
import { type Handle, newHandle } from './handle.ts';
import { validateInt32 } from './validate.ts';

export type DescriptorType = 'TCP' | 'PIPE' | 'UDP' | 'TTY' | 'FILE' | 'UNKNOWN';

/** @throws {ERR_INVALID_FD_TYPE} for what is neither a stream socket nor a pipe */
export function openDescriptor(turn: Turn, fd: unknown): Handle {
  validateInt32(fd, 'fd', 0);
  const { native, kind } = turn.ring;
  const type = typeOfDescriptor(native, fd);
  if (type !== 'TCP' && type !== 'PIPE') throw invalidFdType(type);
  if (turn.slots.has(fd)) throw errnoException(ERRNO.EEXIST, 'open');
  const isPipe = type === 'PIPE' && !isSocket(fd);
  // Sockets stay as they are: O_NONBLOCK belongs to everybody who shares the open file (docs/decisions/0010). Only the
  // epoll ring has no other way to read and write a pipe without waiting.
  if (isPipe && kind === 'epoll') native.setBlocking(fd, false);
  const handle = newHandle(turn, fd, type === 'PIPE', isPipe);
  const access = native.flags(fd) & O.ACCMODE;
  handle.canRead = access !== O.WRONLY;
  handle.canWrite = access !== O.RDONLY;
  return handle;
}

export function typeOfDescriptor(native: Native, fd: number): DescriptorType {
  if (isatty(fd)) return 'TTY';
  let stats: ReturnType<typeof fstatSync>;
  try {
    stats = fstatSync(fd);
  } catch {
    return 'UNKNOWN'; // EBADF
  }
  if (stats.isFile() || stats.isCharacterDevice()) return 'FILE';
  if (stats.isFIFO()) return 'PIPE';
  if (!stats.isSocket()) return 'UNKNOWN';
  const family = familyOf(native, fd);
  const isInet = family === AF.INET || family === AF.INET6;
  switch (getSocketType(native, fd)) {
    case SOCK.STREAM:
      return isInet ? 'TCP' : family === AF.UNIX ? 'PIPE' : 'UNKNOWN';
    case SOCK.DGRAM:
      return isInet ? 'UDP' : 'UNKNOWN';
    default:
      return 'UNKNOWN';
  }
}

const isSocket = (fd: number): boolean => fstatSync(fd).isSocket();
