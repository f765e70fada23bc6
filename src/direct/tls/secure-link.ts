/**
 * A link that is being made secure over another one, whichever TLS does it: first leaves what is still plain, then comes the
 * handshake with its time limit, then the verdict about the peer.
 *
 * ```
 *   start ──> plain bytes leave ──> begin ──> handshake ──> judged ──> onSecure ──> data, end
 *                 └──────────────────┴────────────┴───────────┴──> onTlsFailure or onError: the owner closes
 * ```
 */
import type { AsyncResource } from 'node:async_hooks';
import type { IpAddress } from '../../engine/address.ts';
import type { TcpInfo } from '../../engine/tcp-info.ts';
import { connectionReset, handshakeTimeout } from '../../tls/errors.ts';
import { DirectError } from '../errors.ts';
import { type Link, type LinkOwner, NOBODY, type Piece } from '../link.ts';
import type { SecuringLink } from '../security.ts';
import type { TlsInfo } from '../tls-api.ts';
import { Deadline } from './deadline.ts';
import type { Verdict } from './judge.ts';
import type { TlsSettings } from './options.ts';

/** How long a close_notify may wait for room. */
const FAREWELL_MS = 5_000;

/** The link below, as far as it is the same for both. */
export type InnerLink = Pick<
  Link,
  | ('owner' | 'context' | 'isSending' | 'gatheredBytes' | 'bytesSent' | 'send' | 'close' | 'ref' | 'unref' | 'name')
  | ('setNoDelay' | 'setKeepAlive' | 'setUserTimeout' | 'tcpInfo')
>;

export abstract class SecureLink<Inner extends InnerLink> implements SecuringLink, LinkOwner {
  owner: LinkOwner = NOBODY;
  /** Until it is secure, nothing of the owner's can be sent. */
  isSending = true;
  readonly settings: TlsSettings;
  protected readonly inner: Inner;
  /** The handshake has begun: nothing plain is left. */
  protected hasBegun = false;
  protected isSecure = false;
  /** Nothing is told any more, but the end. */
  protected isClosing = false;
  /** The owner reads. */
  protected isReading = false;
  protected verdict: Verdict | null = null;
  #first: Piece[] | null = null;
  #head: Buffer | null = null;
  #deadline: Deadline | null = null;
  #info: TlsInfo | undefined;
  #isRefused = false;

  constructor(inner: Inner, settings: TlsSettings) {
    this.inner = inner;
    this.settings = settings;
    inner.owner = this;
  }

  start(head: Uint8Array | null, first: Piece[] | null): void {
    const { handshakeTimeoutMs } = this.settings;
    const { context } = this;
    const onLate = (): void => this.fail(handshakeTimeout(), true);
    this.#deadline = new Deadline(
      handshakeTimeoutMs,
      context === null ? onLate : () => context.runInAsyncScope(onLate),
    );
    this.#head = head === null || head.byteLength === 0 ? null : Buffer.from(head);
    this.#first = first;
    this.#sendPlain();
  }

  /** What was written before TLS leaves before it. */
  #sendPlain(): void {
    const { inner } = this;
    if (this.isClosing || inner.isSending) return;
    if (this.#first !== null || inner.gatheredBytes > 0) {
      const first = this.#first;
      this.#first = null;
      inner.send(first);
      return;
    }
    const head = this.#head;
    this.#head = null;
    this.hasBegun = true;
    this.begin(head);
  }

  // ---- what either TLS does ----

  /** Nothing plain is left: the handshake begins. It must not tell the owner anything before this returns. */
  protected abstract begin(head: Buffer | null): void;
  /** What was being sent is sent. */
  protected abstract afterSend(): void;
  /** @returns whether something is on its way that has to arrive before the connection is closed: a farewell, an alert */
  protected abstract sayFarewell(): boolean;
  protected abstract closeNow(isReset: boolean): void;
  protected abstract readInfo(verdict: Verdict): TlsInfo | undefined;
  /** Whether what is read is wanted has changed. */
  protected abstract settleRead(): void;

  abstract readonly bytesSent: number;
  abstract readonly gatheredBytes: number;
  abstract gather(chunk: Uint8Array | string, encoding: BufferEncoding): number;
  abstract flushLater(): void;
  abstract send(pieces: Piece[] | null): void;
  abstract shutdown(): void;
  abstract onData(view: Buffer): void;
  abstract readonly isSentInSilence: boolean;

  // ---- the handshake's outcome ----

  /** The handshake is done, and this was found out about the peer. @returns whether it is let in */
  protected judged(verdict: Verdict): boolean {
    const { refusal } = verdict;
    this.verdict = verdict;
    if (refusal !== null) {
      this.#isRefused = true; // nothing more is for this peer
      this.fail(refusal, true);
      return false;
    }
    this.#stopDeadline();
    this.isSecure = true;
    this.isSending = false;
    this.owner.onSecure();
    if (!this.isClosing) this.flushLater(); // what was written meanwhile
    return true;
  }

  /** @param isReset nothing that waits is of use to the peer: no alert, for instance */
  protected fail(error: Error, isReset = false): void {
    if (this.isClosing) return;
    if (isReset) this.#isRefused = true;
    this.#stopDeadline();
    this.owner.onTlsFailure(error);
  }

  /** The peer's FIN, without a close_notify. */
  protected cutOff(): void {
    if (!this.isSecure)
      this.fail(
        connectionReset(
          this.settings.isServer
            ? 'socket hang up'
            : 'Client network socket disconnected before secure TLS connection was established',
        ),
      );
    else if (this.settings.allowsTruncation) this.owner.onEnd();
    else this.fail(new DirectError('TLS_TRUNCATED', 'the connection has ended without a close_notify'));
  }

  #stopDeadline(): void {
    this.#deadline?.stop();
    this.#deadline = null;
  }

  get tls(): TlsInfo | undefined {
    if (this.#info === undefined && this.verdict !== null && this.isSecure) this.#info = this.readInfo(this.verdict);
    return this.#info;
  }

  // ---- from the link below ----

  /** @hot */
  onSent(): void {
    if (this.hasBegun) this.afterSend();
    else this.#sendPlain();
  }

  onSendProgress(): void {
    this.owner.onSendProgress();
  }

  onEnd(): void {
    if (!this.isClosing) this.cutOff();
  }

  onError(error: NodeJS.ErrnoException): void {
    if (this.isClosing) {
      this.departed(); // there is nobody to say farewell to
      return;
    }
    this.#stopDeadline();
    this.owner.onError(error);
  }

  /** @hot */
  flush(): void {
    this.owner.flush();
  }

  onClosed(): void {
    this.isClosing = true;
    this.#stopDeadline();
    this.owner.onClosed();
  }

  onSecure(): void {}
  onTlsFailure(_: Error): void {}

  // ---- from the owner ----

  readStart(): void {
    this.isReading = true;
    this.settleRead();
  }

  readStop(): void {
    this.isReading = false;
    this.settleRead();
  }

  close(isReset: boolean): void {
    if (this.isClosing) return;
    const isAbrupt = isReset || this.#isRefused;
    this.#stopDeadline();
    const waits = !isAbrupt && this.hasBegun && this.sayFarewell();
    this.isClosing = true;
    if (waits) this.#deadline = new Deadline(FAREWELL_MS, () => this.departed());
    else this.closeNow(isAbrupt);
  }

  /** The last words have left, or will not. */
  protected departed(): void {
    if (this.#deadline === null) return;
    this.#stopDeadline();
    this.closeNow(false);
  }

  get context(): AsyncResource | null {
    return this.inner.context;
  }
  ref(): void {
    this.inner.ref();
  }
  unref(): void {
    this.inner.unref();
  }
  name(isPeer: boolean): IpAddress | undefined {
    return this.inner.name(isPeer);
  }
  setNoDelay(on: boolean): void {
    this.inner.setNoDelay(on);
  }
  setKeepAlive(on: boolean, delayMs: number): void {
    this.inner.setKeepAlive(on, delayMs);
  }
  setUserTimeout(ms: number): void {
    this.inner.setUserTimeout(ms);
  }
  tcpInfo(): TcpInfo | undefined {
    return this.inner.tcpInfo();
  }
}
