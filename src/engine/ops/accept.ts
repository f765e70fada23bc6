/**
 * accept4(2), multishot (Linux 5.19): one submission, a completion for every connection until it ends by itself.
 *
 * In:  a listening descriptor. Out: `res` is a descriptor, close-on-exec; without `CQE_F.MORE` the operation is over.
 */
import { ACCEPT_MULTISHOT, CQE_F, ERRNO, OP, SOCK, USER_OP, USER_OP_SHIFT } from '../abi.ts';
import type { Listener } from '../listener.ts';

const ACCEPT = OP.ACCEPT | (ACCEPT_MULTISHOT << 16);

export function submitAccept(listener: Listener): void {
  const { ring } = listener.turn;
  // io_uring waits for readiness by itself; on a non-blocking descriptor it would answer EAGAIN instead.
  const flags = SOCK.CLOEXEC | (ring.kind === 'epoll' ? SOCK.NONBLOCK : 0);
  const userLow = listener.slot | (USER_OP.ACCEPT << USER_OP_SHIFT);
  ring.push(ACCEPT, listener.fd, 0, 0, 0, flags, userLow, listener.generation, 0);
  listener.isAccepting = true;
  listener.inFlight++;
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
