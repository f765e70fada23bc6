/**
 * send(2) and sendmsg(2). At most one is in flight on a connection, because several can overtake each other; what is
 * written meanwhile is gathered into the next.
 *
 * In:  pieces of bytes. Small ones are copied into one slot of the send arena; large ones are sent from where they lie,
 *      and must not be changed until the completion. Never SEND_ZC: on loopback the kernel copies all the same, and each
 *      send has a second completion to wait for. Out: `res` bytes were taken. A short send goes on where it stopped.
 */
import { ERRNO, IOVEC_WORDS, MSG, MSGHDR, MSGHDR_WORDS, OP, POLL, USER_OP, USER_OP_SHIFT } from '../abi.ts';
import { SLOT_BYTES } from '../arena.ts';
import type { Connection } from '../connection.ts';

/** Pieces of one vector: what fits into a slot behind the message header. */
const MOST_PIECES = ((SLOT_BYTES >>> 2) - 16) / IOVEC_WORDS;

/** Of one send(2): MAX_RW_COUNT of the kernel, which takes no more at once. What is left follows as after a short send. */
const MOST_BYTES = 0x7ffff000;

/** Pieces of this size on average are copied together: an entry of a vector for each would cost more than the copy. */
const SMALL_PIECE = 512;

/** From here on gathering brings nothing, and a piece is sent as it comes: see `sendAtOnce`. */
export const LEAST_SENT_AT_ONCE = 65536;

/** A piece of a write, as node:stream hands it over. */
export interface Piece {
  chunk: Uint8Array | string;
  encoding: BufferEncoding;
}

/** Sends one buffer or string. `connection.isSending` must be false. @hot */
export function sendOne(connection: Connection, chunk: Uint8Array | string, encoding: BufferEncoding): number {
  const { arena } = connection.turn;
  if (typeof chunk === 'string') {
    // Three bytes a UTF-16 unit is the most that any encoding needs.
    const offset = chunk.length * 3 <= SLOT_BYTES ? arena.take() : -1;
    if (offset >= 0) {
      const length = arena.memory.write(chunk, offset, SLOT_BYTES, encoding);
      return submitSlot(connection, offset, length);
    }
    chunk = Buffer.from(chunk, encoding);
  }
  const length = chunk.byteLength;
  if (length <= SLOT_BYTES) {
    const offset = arena.take();
    if (offset >= 0) {
      arena.memory.set(chunk, offset);
      return submitSlot(connection, offset, length);
    }
  }
  connection.pieces = chunk;
  connection.sendAddress = connection.turn.ring.native.address(chunk);
  connection.sendLeft = length;
  submitSend(connection);
  return length;
}

/**
 * send(2), now: if the kernel takes everything, neither a submission nor a completion is needed. That is cheaper for a large
 * piece, which is not gathered with others.
 * `connection.isSending` must be false. @returns how many bytes were taken, or `-errno`. @hot
 */
export function sendAtOnce(connection: Connection, chunk: Uint8Array): number {
  const { turn, isPipe } = connection;
  if (isPipe || !turn.maySendAtOnce()) return 0;
  const res = turn.ring.native.send(connection.fd, chunk);
  if (res === -ERRNO.EAGAIN) return 0;
  if (res > 0) connection.bytesSent += res;
  return res;
}

/** Sends several pieces in order, gathered. `connection.isSending` must be false. @hot */
export function sendMany(connection: Connection, pieces: Piece[]): number {
  const { arena } = connection.turn;
  let most = 0;
  for (let i = 0; i < pieces.length; i++) {
    const { chunk } = pieces[i] as Piece;
    most += typeof chunk === 'string' ? chunk.length * 3 : chunk.byteLength;
  }
  const offset = arena.take();
  if (offset >= 0 && most <= SLOT_BYTES) {
    let end = offset;
    for (let i = 0; i < pieces.length; i++) {
      const { chunk, encoding } = pieces[i] as Piece;
      if (typeof chunk === 'string') {
        end += arena.memory.write(chunk, end, encoding);
      } else {
        arena.memory.set(chunk, end);
        end += chunk.byteLength;
      }
    }
    return submitSlot(connection, offset, end - offset);
  }
  if (offset < 0 || most <= pieces.length * SMALL_PIECE) {
    if (offset >= 0) arena.give(offset);
    return sendOne(connection, gather(pieces), 'buffer' as BufferEncoding);
  }
  const buffers: Uint8Array[] = [];
  let total = 0;
  for (const { chunk, encoding } of pieces) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
    if (bytes.byteLength > 0) buffers.push(bytes);
    total += bytes.byteLength;
  }
  connection.sendSlot = offset;
  connection.pieces = buffers;
  connection.sendLeft = total;
  submitVector(connection, buffers);
  return total;
}

/** All pieces in one buffer. */
function gather(pieces: Piece[]): Buffer {
  let most = 0;
  for (const { chunk, encoding } of pieces)
    most += typeof chunk === 'string' ? Buffer.byteLength(chunk, encoding) : chunk.byteLength;
  const all = Buffer.allocUnsafeSlow(most);
  let end = 0;
  for (const { chunk, encoding } of pieces) {
    if (typeof chunk === 'string') {
      end += all.write(chunk, end, encoding);
    } else {
      all.set(chunk, end);
      end += chunk.byteLength;
    }
  }
  return all.subarray(0, end); // text that is no hex or base64 has fewer bytes than it seems
}

/** Sends what the caller has put into a slot of the arena, which is given back when it was sent. @hot */
export function submitSlot(connection: Connection, offset: number, length: number): number {
  connection.sendSlot = offset;
  connection.sendAddress = connection.turn.arena.addressOf(offset);
  connection.sendLeft = length;
  submitSend(connection);
  return length;
}

/** A pipe has write(2) instead, which takes no flags; SIGPIPE is ignored in every Node process. @hot */
function submitSend(connection: Connection): void {
  const userLow = connection.slot | (USER_OP.SEND << USER_OP_SHIFT);
  const { sendAddress, sendLeft, generation } = connection;
  const length = sendLeft > MOST_BYTES ? MOST_BYTES : sendLeft;
  const { fd, isPipe } = connection;
  const operation = isPipe ? OP.WRITE : OP.SEND;
  connection.turn.ring.push(operation, fd, 0, sendAddress, length, isPipe ? 0 : MSG.NOSIGNAL, userLow, generation, 0);
  connection.begin();
  connection.isSending = true;
}

/**
 * ```
 *  slot of the arena:  msghdr (56 bytes, padded to 64) | iovec: address (8), length (8) | iovec | …
 * ```
 */
function submitVector(connection: Connection, buffers: Uint8Array[]): void {
  const { ring, arena } = connection.turn;
  const { words } = arena;
  const { native } = ring;
  const header = connection.sendSlot >>> 2;
  const first = header + 16;
  const count = Math.min(buffers.length, MOST_PIECES);
  for (let i = 0, at = first; i < count; i++, at += IOVEC_WORDS) {
    const bytes = buffers[i] as Uint8Array;
    const address = native.address(bytes);
    words[at] = address | 0;
    words[at + 1] = (address / 0x1_0000_0000) | 0;
    words[at + 2] = bytes.byteLength | 0;
    words[at + 3] = (bytes.byteLength / 0x1_0000_0000) | 0;
  }
  words.fill(0, header, header + MSGHDR_WORDS);
  const vector = arena.addressOf(first * 4);
  words[header + MSGHDR.IOV_LOW] = vector | 0;
  words[header + MSGHDR.IOV_HIGH] = (vector / 0x1_0000_0000) | 0;
  words[header + MSGHDR.IOVLEN] = count;
  const userLow = connection.slot | (USER_OP.SEND << USER_OP_SHIFT);
  const { fd, generation } = connection;
  if (connection.isPipe) ring.push(OP.WRITEV, fd, 0, vector, count, 0, userLow, generation, 0);
  else ring.push(OP.SENDMSG, fd, 0, arena.addressOf(header * 4), 1, MSG.NOSIGNAL, userLow, generation, 0);
  connection.begin();
  connection.isSending = true;
}

/** @hot */
export function completeSend(connection: Connection, res: number): void {
  connection.isSending = false;
  if (connection.isFull) {
    connection.isFull = false;
    if (res > 0) res = -ERRNO.EINTR; // the poll says that there is room
  } else if (res === -ERRNO.EAGAIN && !connection.isClosing) {
    awaitRoom(connection);
    connection.end();
    return;
  }
  if (res > 0) {
    connection.bytesSent += res;
    connection.sendLeft -= res;
    if (connection.sendLeft > 0 && !connection.isClosing) {
      goOn(connection, res);
      connection.end();
      connection.onSendProgress();
      return;
    }
  } else if (res === -ERRNO.EINTR && !connection.isClosing) {
    goOn(connection, 0);
    connection.end();
    return;
  }
  if (connection.sendSlot >= 0) {
    connection.turn.arena.give(connection.sendSlot);
    connection.sendSlot = -1;
  }
  connection.pieces = null;
  const isWhole = connection.sendLeft === 0;
  connection.sendLeft = 0;
  connection.end();
  connection.onSent(isWhole ? 0 : res < 0 ? -res : ERRNO.ECANCELED);
}

/** O_NONBLOCK on a descriptor that was given to us: see ops/recv.ts. */
function awaitRoom(connection: Connection): void {
  const userLow = connection.slot | (USER_OP.SEND << USER_OP_SHIFT);
  connection.isFull = true;
  connection.turn.ring.push(OP.POLL_ADD, connection.fd, 0, 0, 0, POLL.OUT, userLow, connection.generation, 0);
  connection.begin();
  connection.isSending = true;
}

/** Submits what a short send left. */
function goOn(connection: Connection, taken: number): void {
  const { pieces } = connection;
  if (!Array.isArray(pieces)) {
    connection.sendAddress += taken;
    submitSend(connection);
    return;
  }
  let i = 0;
  for (; i < pieces.length && taken >= (pieces[i] as Uint8Array).byteLength; i++)
    taken -= (pieces[i] as Uint8Array).byteLength;
  const rest = pieces.slice(i);
  if (taken > 0) rest[0] = (rest[0] as Uint8Array).subarray(taken);
  connection.pieces = rest;
  submitVector(connection, rest);
}
