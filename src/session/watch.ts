/**
 * The time limits of one session, asked by the sweep. Nothing here is done for each message but to write down when it
 * came.
 *
 * A limit of the peer's is only held against it while we read: a session whose consumer is slow doesn't listen, and
 * what it doesn't hear is its own doing.
 */
import type { Connection } from '../direct/index.ts';
import type { Heartbeat } from './heartbeat.ts';
import type { SessionRules } from './limits.ts';
import type { ClosingReason } from './reasons.ts';
import { type Sweep, type Swept, TICK_MS } from './sweep.ts';

/** What is needed of a connection. */
export type Watchable = Pick<Connection, 'bytesRead' | 'bytesWritten' | 'bufferedBytes' | 'tcpInfo'>;

/** What a watch looks at. */
export interface Watched {
  readonly isReady: boolean;
  /** We have stopped reading. */
  readonly isStalled: boolean;
  readonly isClosing: boolean;
  readonly hasPeerEnded: boolean;
  readonly isFull: boolean;
  cut(reason: ClosingReason, message: string, limit?: number): void;
  /** It is old enough. */
  retire(): void;
  /** The peer is to be asked for a sign of life. */
  ping(): void;
}

export class Watch implements Swept {
  readonly openedMs: number;
  /** When bytes came last; 0 for never. */
  heardMs = 0;
  /** When the frame began that isn't complete, and how many bytes were received before it; 0 for none. */
  frameSinceMs = 0;
  frameFromBytes = 0;
  /** No limit can pass earlier than this, unless something happens: then it is set to 0. */
  quietUntilMs = 0;
  readonly #session: Watched;
  readonly #connection: Watchable;
  readonly #rules: SessionRules;
  readonly #sweep: Sweep;
  readonly #heartbeat: Heartbeat<never, unknown> | undefined;
  readonly #oldAtMs: number;
  /** Bytes the kernel had taken when we looked last, whether more waited, and since when it has taken none of them. */
  #takenBytes = 0;
  #isWaiting = false;
  #takenMs: number;
  #movedMs: number;
  /** When the peer was asked last, if it hasn't answered; and what the kernel had taken then. */
  #askedMs = 0;
  #takenBytesThen = 0;
  #wasWaiting = false;
  #lingersSinceMs = 0;

  constructor(
    session: Watched,
    connection: Watchable,
    rules: SessionRules,
    sweep: Sweep,
    heartbeat: Heartbeat<never, unknown> | undefined,
  ) {
    this.#session = session;
    this.#connection = connection;
    this.#rules = rules;
    this.#sweep = sweep;
    this.#heartbeat = heartbeat;
    this.openedMs = this.#takenMs = this.#movedMs = sweep.stampMs;
    const { maxAgeMs, maxAgeJitter } = rules;
    this.#oldAtMs =
      maxAgeMs === 0 ? Number.POSITIVE_INFINITY : this.openedMs + maxAgeMs * (1 - maxAgeJitter * Math.random());
  }

  check(nowMs: number): void {
    if (nowMs < this.quietUntilMs) return;
    const session = this.#session;
    this.#lookAtWrites(nowMs);
    if (session.isStalled) {
      this.heardMs = this.#sweep.stampMs;
      this.#askedMs = 0;
      if (this.frameSinceMs > 0) this.frameSinceMs = this.#sweep.stampMs;
    }
    if (this.#isWriteOver(nowMs)) return;
    if (session.isClosing) {
      this.#lookAtLingering(nowMs);
      return;
    }
    if (!session.hasPeerEnded && this.#isPeerLate(nowMs)) return;
    if (this.#isIdle(nowMs)) return;
    if (nowMs >= this.#oldAtMs) session.retire();
    this.quietUntilMs = this.#nextMs(nowMs);
  }

  // ----------------------------------------------------------------------------------------------------- what we send

  #lookAtWrites(nowMs: number): void {
    const { bytesWritten, bufferedBytes } = this.#connection;
    const hasMoved = bytesWritten !== this.#takenBytes;
    if (hasMoved) this.#movedMs = nowMs;
    // What waits now and didn't when we looked last may be of this very turn.
    if (hasMoved || !this.#isWaiting) this.#takenMs = nowMs;
    this.#takenBytes = bytesWritten;
    this.#isWaiting = bufferedBytes > 0;
  }

  #isWriteOver(nowMs: number): boolean {
    const { writeMs } = this.#rules;
    if (!this.#isWaiting || writeMs === 0 || nowMs - this.#takenMs < writeMs) return false;
    // The kernel has sent everything: what waits was held up by us, behind all that our own loop has to do.
    if (this.#connection.tcpInfo()?.unsentBytes === 0) {
      this.#takenMs = nowMs;
      return false;
    }
    const waiting = this.#connection.bufferedBytes;
    this.#session.cut('PEER_NOT_READING', `none of ${waiting} bytes was taken for ${writeMs} ms`, writeMs);
    return true;
  }

  #lookAtLingering(nowMs: number): void {
    const { lingerMs } = this.#rules;
    // A peer that has ended owes us nothing: only our own event loop is late.
    if (this.#session.hasPeerEnded || this.#connection.bufferedBytes > 0 || lingerMs === 0) return;
    if (this.#lingersSinceMs === 0) this.#lingersSinceMs = nowMs;
    else if (nowMs - this.#lingersSinceMs >= lingerMs) {
      this.#session.cut('LINGER_TIMEOUT', `the peer did not end within ${lingerMs} ms of our end`, lingerMs);
    }
  }

  // -------------------------------------------------------------------------------------------------- what we receive

  #isPeerLate(nowMs: number): boolean {
    const session = this.#session;
    const { firstByteMs, handshakeMs, frameMs, minBytesPerSecond, rateGraceMs } = this.#rules;
    const ageMs = nowMs - this.openedMs;
    if (firstByteMs > 0 && this.heardMs === 0 && ageMs >= firstByteMs) {
      session.cut('FIRST_BYTE_TIMEOUT', `no byte within ${firstByteMs} ms`, firstByteMs);
      return true;
    }
    if (handshakeMs > 0 && !session.isReady && ageMs >= handshakeMs) {
      session.cut('HANDSHAKE_TIMEOUT', `the handshake was not over within ${handshakeMs} ms`, handshakeMs);
      return true;
    }
    if (this.frameSinceMs > 0) {
      const frameAgeMs = nowMs - this.frameSinceMs;
      if (frameMs > 0 && frameAgeMs >= frameMs) {
        session.cut('FRAME_TIMEOUT', `a frame was not complete within ${frameMs} ms`, frameMs);
        return true;
      }
      const bytes = this.#connection.bytesRead - this.frameFromBytes;
      if (minBytesPerSecond > 0 && frameAgeMs >= rateGraceMs && bytes * 1000 < minBytesPerSecond * frameAgeMs) {
        const said = `${bytes} bytes of a frame in ${Math.round(frameAgeMs)} ms are fewer than ${minBytesPerSecond} a second`;
        session.cut('SLOW_PEER', said, minBytesPerSecond);
        return true;
      }
    }
    return this.#heartbeat !== undefined && this.#isSilent(nowMs, this.#heartbeat);
  }

  #isSilent(nowMs: number, { intervalMs, timeoutMs }: Heartbeat<never, unknown>): boolean {
    const heardMs = Math.max(this.openedMs, this.heardMs);
    // What came in the very tick of the asking may be no answer, but it is a sign of life.
    if (this.#askedMs > 0 && heardMs >= this.#askedMs) this.#askedMs = 0;
    if (this.#askedMs === 0) {
      if (nowMs - heardMs < intervalMs) return false;
      this.#askedMs = this.#sweep.stampMs;
      this.#takenBytesThen = this.#connection.bytesWritten;
      this.#wasWaiting = this.#connection.bufferedBytes > 0;
      if (!this.#session.isFull) this.#session.ping();
      return false;
    }
    if (nowMs - this.#askedMs < timeoutMs) return false;
    const { bytesWritten, bufferedBytes } = this.#connection;
    if ((this.#wasWaiting || bufferedBytes > 0) && bytesWritten > this.#takenBytesThen) {
      // It reads: slowly, and our question may be among what it hasn't come to. It is asked again.
      this.#askedMs = 0;
      return false;
    }
    const unsentBytes = bufferedBytes + (this.#connection.tcpInfo()?.unsentBytes ?? 0);
    if (unsentBytes > 0) {
      const said = `the peer reads none of ${unsentBytes} bytes for ${timeoutMs} ms, and says nothing`;
      this.#session.cut('PEER_NOT_READING', said, timeoutMs);
    } else {
      this.#session.cut('PEER_SILENT', `no sign of life within ${timeoutMs} ms of a heartbeat`, timeoutMs);
    }
    return true;
  }

  #isIdle(nowMs: number): boolean {
    const { idleMs } = this.#rules;
    if (idleMs === 0 || nowMs - Math.max(this.openedMs, this.heardMs, this.#movedMs) < idleMs) return false;
    this.#session.cut('IDLE_TIMEOUT', `nothing was received or sent for ${idleMs} ms`, idleMs);
    return true;
  }

  /** The earliest moment at which a limit can pass of a session that stays as it is. */
  #nextMs(nowMs: number): number {
    const { firstByteMs, handshakeMs, idleMs } = this.#rules;
    const isMoving = this.#connection.bufferedBytes > 0 || this.frameSinceMs > 0 || this.#askedMs > 0;
    if (isMoving || this.#session.isStalled) return 0;
    const heardMs = Math.max(this.openedMs, this.heardMs);
    let nextMs = Math.min(this.#oldAtMs, nowMs + 240 * TICK_MS);
    if (firstByteMs > 0 && this.heardMs === 0) nextMs = Math.min(nextMs, this.openedMs + firstByteMs);
    if (handshakeMs > 0 && !this.#session.isReady) nextMs = Math.min(nextMs, this.openedMs + handshakeMs);
    if (idleMs > 0) nextMs = Math.min(nextMs, Math.max(heardMs, this.#movedMs) + idleMs);
    if (this.#heartbeat !== undefined) nextMs = Math.min(nextMs, heardMs + this.#heartbeat.intervalMs);
    return nextMs;
  }
}
