/**
 * TLS by Node's own sockets: on engine `node`, and where OpenSSL can't be driven by ourselves. A TLSSocket takes over the
 * plain socket; another NodeLink carries what is plain to us. A FIN without a close_notify is an end here: Node tells no
 * difference.
 */
import type { Socket } from 'node:net';
import nodeTls, { type TLSSocket } from 'node:tls';
import type { SecureContext } from '../../tls/context.ts';
import { sessionForReuse, wrapSession } from '../../tls/identity.ts';
import { NOBODY, type Piece } from '../link.ts';
import { NodeLink } from '../node-link.ts';
import type { TlsInfo } from '../tls-api.ts';
import { type Facts, Info } from './info.ts';
import { judgeClient, judgeVerified, type Verdict, verdict } from './judge.ts';
import type { TlsSettings } from './options.ts';
import { SecureLink } from './secure-link.ts';

/** Of a TLSSocket without a tls.Server; what Node's own server does with it. Undocumented, in Node 20 to 26. */
type Secured = TLSSocket & {
  _handle: { verifyError(): NodeJS.ErrnoException | null | undefined } | null;
  /** Errors are emitted from now on. */
  _releaseControl(): boolean;
};

export class NodeTlsLink extends SecureLink<NodeLink> {
  readonly #context: SecureContext;
  #socket: Secured | null = null;
  #link: NodeLink | null = null;
  #plainBytes = 0;
  #facts: Facts | null = null;
  /** That came before the server was verified. */
  #sessions: Buffer[] = [];

  constructor(context: SecureContext, inner: NodeLink, settings: TlsSettings) {
    super(inner, settings);
    this.#context = context;
    inner.readStop(); // what comes now is TLS's
  }

  protected begin(head: Buffer | null): void {
    const { inner } = this;
    this.#plainBytes = inner.bytesSent;
    inner.owner = NOBODY; // from now on everything is told by the TLSSocket
    if (head !== null) inner.socket.unshift(head);
    const socket = this.settings.isServer ? this.#serve(inner.socket) : this.#connect(inner.socket);
    this.#socket = socket;
    this.#link = new NodeLink(socket, inner.isUnix, inner.context);
    this.#link.owner = this;
    const within =
      (tell: () => void): (() => void) =>
      () =>
        inner.context.runInAsyncScope(tell);
    socket.once(
      this.settings.isServer ? 'secure' : 'secureConnect',
      within(() => this.#onSecured(socket)),
    );
    socket.once(
      'finish',
      within(() => this.departed()),
    );
    this.settleRead();
  }

  #serve(raw: Socket): Secured {
    const { asksForCertificate, rejectsUnauthorized, alpn, sniCallback } = this.settings;
    return new nodeTls.TLSSocket(raw, {
      isServer: true,
      secureContext: this.#context,
      requestCert: asksForCertificate,
      rejectUnauthorized: asksForCertificate && rejectsUnauthorized,
      ...(alpn === undefined ? {} : { ALPNProtocols: alpn }),
      ...(sniCallback === undefined ? {} : { SNICallback: sniCallback }),
    }) as Secured;
  }

  #connect(raw: Socket): Secured {
    const { alpn, servername, expectedName, rejectsUnauthorized, checkServerIdentity, onSession } = this.settings;
    const session = sessionForReuse(this.settings.session, this.#identity);
    const socket = nodeTls.connect({
      socket: raw,
      secureContext: this.#context,
      host: expectedName,
      rejectUnauthorized: rejectsUnauthorized,
      checkServerIdentity,
      ...(servername === '' ? {} : { servername }),
      ...(alpn === undefined ? {} : { ALPNProtocols: alpn }),
      ...(session === undefined ? {} : { session }),
    }) as Secured;
    if (onSession !== undefined) {
      socket.on('session', (each: Buffer) => {
        this.#sessions.push(each);
        if (this.isSecure) this.#tellSessions();
      });
    }
    return socket;
  }

  get #identity(): { servername: string; rejectUnauthorized: boolean } {
    return { servername: this.settings.expectedName, rejectUnauthorized: this.settings.rejectsUnauthorized };
  }

  #onSecured(socket: Secured): void {
    if (this.isClosing) return;
    this.#facts = factsOf(socket);
    if (this.settings.isServer) {
      const problem = this.settings.asksForCertificate ? (socket._handle?.verifyError() ?? null) : null;
      socket._releaseControl();
      this.judged(judgeClient(this.settings, problem, this.#facts.certificate));
    } else {
      const code = socket.authorizationError as unknown as string | null;
      const isLetIn = this.judged(
        socket.authorized
          ? judgeVerified(this.settings, this.#facts.certificate)
          : verdict(this.settings, Object.assign(new Error(`${code}`), { code })),
      );
      if (isLetIn) this.#tellSessions();
    }
    this.settleRead();
  }

  /** With a name of our own round whatever Node gives: of its lines, some name them and some do not. */
  #tellSessions(): void {
    const sessions = this.#sessions;
    this.#sessions = [];
    for (const session of sessions)
      this.settings.onSession?.(this.verdict?.isAuthorized ? wrapSession(session, this.#identity) : session);
  }

  // ---- from the TLSSocket, and from the plain one before it ----

  /** @hot */
  onData(view: Buffer): void {
    if (!this.isClosing) this.owner.onData(view);
  }

  override onEnd(): void {
    if (this.isClosing) return;
    if (this.isSecure) this.owner.onEnd();
    else this.cutOff();
  }

  override onError(error: NodeJS.ErrnoException): void {
    // Of the system are those with a call; but EPROTO is what OpenSSL says within a write.
    const isOfSystem = error.syscall !== undefined && error.code !== 'EPROTO';
    if (isOfSystem || this.isClosing) super.onError(error);
    else this.fail(error);
  }

  override onClosed(): void {
    if (!this.isSecure && !this.isClosing) this.cutOff();
    super.onClosed();
  }

  // ---- from the owner ----

  get bytesSent(): number {
    return this.#link === null ? this.inner.bytesSent : this.#plainBytes + this.#link.bytesSent;
  }

  readonly gatheredBytes = 0;

  gather(): number {
    return -1;
  }

  flushLater(): void {
    (this.#link ?? this.inner).flushLater();
  }

  send(pieces: Piece[]): void {
    this.isSending = true;
    (this.#link as NodeLink).send(pieces);
  }

  protected afterSend(): void {
    this.isSending = false;
    if (!this.isClosing) this.owner.onSent();
  }

  get isSentInSilence(): boolean {
    return this.owner.isSentInSilence;
  }

  protected settleRead(): void {
    const link = this.#link;
    if (link === null || this.isClosing) return;
    if (this.isReading || !this.isSecure) link.readStart();
    else link.readStop();
  }

  /** A close_notify goes before the FIN. */
  shutdown(): void {
    this.#link?.shutdown();
  }

  protected sayFarewell(): boolean {
    const socket = this.#socket;
    if (socket === null || !this.isSecure || socket.destroyed) return false;
    if (!socket.writableEnded) socket.end();
    return !socket.writableFinished;
  }

  /** Closing the TLSSocket closes the plain one, as it is told to be closed. */
  protected closeNow(isReset: boolean): void {
    const { inner } = this;
    const socket = this.#socket;
    if (socket === null) {
      inner.close(isReset);
      return;
    }
    const raw = inner.socket as Socket & { resetAndClosing?: boolean };
    raw.resetAndClosing = isReset && !inner.isUnix && !socket.writableEnded;
    socket.destroy();
  }

  protected readInfo(verdict: Verdict): TlsInfo | undefined {
    return this.#facts === null ? undefined : new Info(this.#facts, verdict);
  }
}

/** Now: a TLSSocket that is closed has forgotten. */
function factsOf(socket: Secured): Facts {
  const { servername } = socket as unknown as { servername?: string | false | null };
  const { name, standardName, version } = socket.getCipher() as TlsInfo['cipher'];
  return {
    protocol: socket.getProtocol() as string,
    cipher: { name, standardName, version },
    alpnProtocol: socket.alpnProtocol || undefined,
    servername: servername || undefined,
    isSessionReused: socket.isSessionReused(),
    certificate: socket.getPeerX509Certificate()?.raw,
  };
}
