/**
 * A unix socket with a path, at which the next process asks for what this one has; for processes that are started by
 * somebody else. Only the same user (or root) gets in: the path has the mode 0600, and SO_PEERCRED is looked at on both sides.
 */
import { fchmodSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { AF, ERRNO, SOCK } from '../engine/abi.ts';
import { encodePath } from '../engine/address.ts';
import { Connection } from '../engine/connection.ts';
import { Listener } from '../engine/listener.ts';
import type { Native } from '../engine/native.ts';
import { errnoException } from '../engine/system-errors.ts';
import type { Turn } from '../engine/turn.ts';
import { RestartError } from './errors.ts';

const BACKLOG = 16;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

/** @throws {RestartError} BAD_OPTION: a socket can't have this path */
export function checkPath(path: unknown): string {
  const isPath = typeof path === 'string' && path !== '' && !path.includes('\0');
  if (!isPath || encodePath(temporaryOf(path)) === undefined)
    throw new RestartError('BAD_OPTION', 'path has to be a path of a file, of at most about 95 bytes');
  return path;
}

const temporaryOf = (path: string): string => `${path}.${process.pid}`;

export class NamedSocket extends Listener {
  readonly #path: string;
  readonly #inode: number;
  readonly #onPeer: (fd: number) => void;
  readonly #onError: (error: RestartError) => void;

  /**
   * Listens, in place of whoever listened there before. Keeps no process alive.
   * @throws Node's error when that can't be
   */
  static open(
    turn: Turn,
    path: string,
    onPeer: (fd: number) => void,
    onError: (error: RestartError) => void,
  ): NamedSocket {
    const { native } = turn.ring;
    const temporary = temporaryOf(path);
    const fd = Connection.socket(turn, AF.UNIX);
    if (fd < 0) throw errnoException(-fd, 'socket');
    try {
      fchmodSync(fd, 0o600); // bind(2) gives the path the socket's own mode: it never has another
      remove(temporary); // of a process that had our number and died
      check(native.bind(fd, encodePath(temporary) as Uint8Array), 'bind');
      check(native.listen(fd, BACKLOG), 'listen');
      renameSync(temporary, path);
      const named = new NamedSocket(turn, fd, path, statSync(path).ino, onPeer, onError);
      named.unref();
      named.accept();
      return named;
    } catch (error) {
      remove(temporary);
      native.closeDescriptor(fd);
      throw error;
    }
  }

  private constructor(
    turn: Turn,
    fd: number,
    path: string,
    inode: number,
    onPeer: (fd: number) => void,
    onError: (error: RestartError) => void,
  ) {
    super(turn, fd, true);
    this.#path = path;
    this.#inode = inode;
    this.#onPeer = onPeer;
    this.#onError = onError;
  }

  override get isFull(): boolean {
    return false;
  }

  override onAccept(fd: number): void {
    const error = strangerAt(this.turn.ring.native, fd);
    if (error === undefined) {
      this.#onPeer(fd);
    } else {
      this.turn.ring.native.closeDescriptor(fd);
      this.#onError(error);
    }
  }

  override onAcceptError(errno: number): void {
    this.#onError(new RestartError('PEER_LOST', 'nobody can ask any more', { cause: errnoException(errno, 'accept') }));
  }

  override onBackOff(): void {}

  /** The path is removed, unless the next process has put its own there. */
  override close(): void {
    super.close();
    try {
      if (statSync(this.#path).ino === this.#inode) unlinkSync(this.#path);
    } catch {
      // somebody else removed it
    }
  }

  override onClosed(): void {}
}

/**
 * Asks at a path.
 * @returns a connected socket; undefined if nobody listens there
 * @throws {RestartError} WRONG_USER, SILENT: it listens and does not accept
 */
export function askAt(native: Native, path: string): number | undefined {
  const fd = native.socket(AF.UNIX, SOCK.STREAM | SOCK.NONBLOCK, 0);
  if (fd < 0) throw errnoException(-fd, 'socket');
  const result = native.connect(fd, encodePath(path) as Uint8Array);
  const error = result === 0 ? strangerAt(native, fd) : undefined;
  if (result === 0 && error === undefined) return fd;
  native.closeDescriptor(fd);
  if (error !== undefined) throw error;
  if (result === -ERRNO.ENOENT || result === -ERRNO.ECONNREFUSED) return undefined;
  if (result === -ERRNO.EAGAIN) throw new RestartError('SILENT', `who listens at ${path} does not accept`);
  throw errnoException(-result, 'connect');
}

/** Who is at the other end may be us, or root. */
function strangerAt(native: Native, fd: number): RestartError | undefined {
  const ucred = new Int32Array(3); // pid, uid, gid
  const length = native.getOption(fd, SOL_SOCKET, SO_PEERCRED, new Uint8Array(ucred.buffer));
  const uid = length < 0 ? -1 : (ucred[1] as number);
  if (uid === 0 || uid === process.geteuid?.()) return undefined;
  return new RestartError('WRONG_USER', `the other process belongs to user ${uid}`);
}

function check(result: number, call: string): void {
  if (result < 0) throw errnoException(-result, call);
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // there was none
  }
}
