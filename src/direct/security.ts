/**
 * How the connections of a server or a client become secure: the seam between this tier and TLS. Behind it stands
 * src/direct/tls/, which is loaded with the first `tls` option and not before.
 */
import type { Link, Piece } from './link.ts';
import type { ServedCertificate, TlsContext } from './tls-api.ts';

export interface Security {
  /** Connections open plain, and TLS begins with `startTls`. */
  readonly onDemand: boolean;
  /** It is Node's TLS, which needs sockets of node:net. */
  readonly needsNode: boolean;
  /** What is served with, where that looks after itself. */
  readonly certificate: ServedCertificate | undefined;
  /** A link over `link`, which is nobody else's from now on. */
  secure(link: Link): SecuringLink;
  /** Key and certificates of handshakes from now on. @throws what `createSecureContext` throws, and DirectError */
  setContext(context: TlsContext): void;
  /** The server is closed: certificates that were opened for it are looked after no more. */
  close(): void;
}

/**
 * A link that is being made secure: nothing of its owner's is sent, and nothing is told, before `onSecure`; `onTlsFailure`
 * or `onError` otherwise, behind which the owner has to close it.
 */
export interface SecuringLink extends Link {
  /**
   * Begins the handshake. Call once, with the owner in place.
   * @param head bytes that were received already and are the peer's first of TLS; they are copied
   * @param first pieces that have to be sent before, as they are
   */
  start(head: Uint8Array | null, first: Piece[] | null): void;
}
