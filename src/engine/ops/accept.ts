/**
 * accept4(2), in two forms.
 *
 * A listener of our own: multishot (Linux 5.19), one submission, a completion for every connection until it ends by
 * itself. A listener that others accept from, too (`isShared`): one connection at a time, so that the others get theirs,
 * and its descriptor stays non-blocking, because that is a property of the socket and not of our descriptor. io_uring
 * refuses to wait on a non-blocking one, so it waits for readiness instead, and accept4 is called here.
 *
 * ```
 *              own                      shared
 *  io_uring    ACCEPT, multishot        POLL_ADD, then accept4
 *  epoll       ACCEPT, multishot        ACCEPT
 * ```
 *
 * In:  a listening descriptor. Out: `res` is a descriptor, close-on-exec; without `CQE_F.MORE` the operation is over.
 */
import { ACCEPT_MULTISHOT, CQE_F, ERRNO, OP, POLL, SOCK, USER_OP, USER_OP_SHIFT } from '../abi.ts';
import type { Listener } from '../listener.ts';

const ACCEPT_AGAIN_AND_AGAIN = OP.ACCEPT | (ACCEPT_MULTISHOT << 16);

export function submitAccept(listener: Listener): void {
  const { ring } = listener.turn;
  const { slot, generation, fd, isShared } = listener;
  if (isShared && ring.kind === 'io_uring') {
    const userLow = slot | (USER_OP.READY << USER_OP_SHIFT);
    ring.push(OP.POLL_ADD, fd, 0, 0, 0, POLL.IN, userLow, generation, 0);
  } else {
    const operation = isShared ? OP.ACCEPT : ACCEPT_AGAIN_AND_AGAIN;
    const userLow = slot | (USER_OP.ACCEPT << USER_OP_SHIFT);
    ring.push(operation, fd, 0, 0, 0, acceptFlags(listener), userLow, generation, 0);
  }
  listener.isAccepting = true;
  listener.inFlight++;
}

/** What `submitAccept` submitted, to cancel it. */
export function acceptOperation(listener: Listener): number {
  return listener.isShared && listener.turn.ring.kind === 'io_uring' ? USER_OP.READY : USER_OP.ACCEPT;
}

/** io_uring waits for readiness by itself; on a non-blocking connection it would answer EAGAIN instead. */
function acceptFlags(listener: Listener): number {
  return SOCK.CLOEXEC | (listener.turn.ring.kind === 'epoll' ? SOCK.NONBLOCK : 0);
}

/** Somebody knocks; if another process was faster, accept4 says EAGAIN. */
export function completeReady(listener: Listener, res: number): void {
  const isTold = res >= 0 && !listener.isClosing;
  completeAccept(listener, isTold ? listener.turn.ring.native.accept(listener.fd, acceptFlags(listener)) : res, 0);
}

export function completeAccept(listener: Listener, res: number, flags: number): void {
  if ((flags & CQE_F.MORE) === 0) {
    listener.isAccepting = false;
    listener.inFlight--;
  }
  if (res >= 0) {
    if (listener.isClosing) listener.turn.ring.native.closeDescriptor(res);
    else {
      listener.accept(); // first, if that was the last of a multishot: the owner may throw
      listener.onAccept(res);
    }
  }
  if (listener.isAccepting || listener.isClosing) return;
  // Somebody who has the socket, too, has made it non-blocking, and io_uring would not wait on it.
  if (res === -ERRNO.EAGAIN && listener.turn.ring.kind === 'io_uring') listener.isShared = true;
  switch (-res) {
    // accept(2): an error that belongs to one connection which is gone already; treat it like "try again".
    case ERRNO.ECONNABORTED:
    case ERRNO.EAGAIN:
    case ERRNO.EINTR:
    case ERRNO.ECANCELED:
      listener.accept();
      break;
    // No descriptor or no memory: connections wait in the backlog until there is one.
    case ERRNO.EMFILE:
    case ERRNO.ENFILE:
    case ERRNO.ENOBUFS:
    case ERRNO.ENOMEM:
      listener.backOff(-res);
      break;
    default:
      if (res >= 0) listener.accept();
      else if (isPeersFault(-res)) listener.accept();
      else listener.onAcceptError(-res);
  }
}

/** accept(2): "Linux passes already-pending network errors on the new socket as an error code from accept()". */
function isPeersFault(errno: number): boolean {
  // ENETDOWN EPROTO ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH EOPNOTSUPP ENETUNREACH, and EPERM of a firewall
  return [100, 71, 92, 112, 64, 113, 95, 101, 1].includes(errno);
}
