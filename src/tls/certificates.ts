/**
 * Certificates that look after themselves. In: what a source (files, a callback) has, looked at again and again. Out: material
 * that was checked, to whoever serves with it; all change to the new at once, or nobody does, and then somebody is told why.
 *
 * A source may be looked at in the middle of a change: what is new must have been the same for `settleMs` before it is
 * looked at closer, and is called wrong only when it has been for PATIENCE_MS.
 *
 * Decision: docs/decisions/0087-certificates-look-after-themselves.md
 */
import {
  type CertificateMaterial,
  type CheckedMaterial,
  checkMaterial,
  digestOf,
  messageOf,
} from './certificate-material.ts';
import type { SecureContext } from './context.ts';
import { TlsError } from './tls-error.ts';
import type { VerifiedIdentity } from './verified-identity.ts';

export interface CertificatesOptions {
  /** Whether to look for new ones by itself, and at least how often: every 10 s unless given. `false` unless given. */
  watch?: boolean | { pollMs: number } | undefined;
  /**
   * From how many days before its end on a certificate is expiring. Unless given, 14, or a fifth of its whole life if that is
   * less.
   */
  expiringDays?: number | undefined;
  /** New ones are served with, from now on. */
  onReload?: ((certificate: ServedCertificate) => void) | undefined;
  /** New ones were found, and are no good; or none are found any more. The old are kept. Once for each. */
  onError?: ((error: TlsError) => void) | undefined;
  /** It is expiring, or has expired, and there is no other. At most once a day. */
  onExpiring?: ((certificate: ServedCertificate) => void) | undefined;
}

/** What is served with at present. */
export interface ServedCertificate extends VerifiedIdentity {
  /** Whole days until it expires, at the time when this was asked for: 0 on the last day, negative afterwards. */
  readonly daysLeft: number;
}

/** Where certificates come from. */
export interface CertificateSource {
  /** How long what it has must have been the same, in ms; 0 if it has never half of something. */
  settleMs: number;
  read(): Promise<CertificateMaterial>;
  /** Calls `onChange` when there may be something new, if that can be known. */
  watch?(onChange: () => void): () => void;
}

/**
 * Prepares to serve with new material, and throws if that can't be done.
 * @returns does it; must not throw
 */
export type CertificateUse = (material: CertificateMaterial) => () => void;

/** Wall clock and timers: the system's, or a test's. */
export interface Clock {
  /** Since 1970. */
  nowMs(): number;
  /** Calls `run` once, unless the returned function was called before. Must not keep the process alive. */
  after(delayMs: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs).unref();
    return () => clearTimeout(timer);
  },
};

const DAY_MS = 86_400_000;
const POLL_MS = 10_000;
/** How often a certificate's end is looked at where nothing is polled. */
const CALENDAR_MS = 3_600_000;
/** How long what cannot be used may stay so before somebody is told. */
const PATIENCE_MS = 5_000;
/** How soon after the first sign of a change the source is read: a folder may have many. */
const NOTICE_MS = 250;
/** How long a source may take. */
const READ_MS = 60_000;
const EXPIRING_DAYS = 14;
const EXPIRING_PART = 1 / 5;

/** Something other than what is served with. */
interface Candidate {
  /** Of the material, or the error in its place. */
  readonly digest: string;
  readonly sinceMs: number;
  wasTold: boolean;
}

interface News {
  onReload: ServedCertificate;
  onError: TlsError;
  onExpiring: ServedCertificate;
}

/** @returns what tells it to whom it concerns; undefined if that is nobody */
export type CertificateListener = <Name extends keyof News>(name: Name, what: News[Name]) => (() => void) | undefined;

/** Made by `certificateFiles` and `certificatesFrom`. One may serve any number of servers and clients. */
export class Certificates {
  readonly #source: CertificateSource;
  readonly #clock: Clock;
  readonly #pollMs: number | undefined;
  readonly #expiringDays: number | undefined;
  readonly #listeners = new Set<CertificateListener>();
  readonly #users = new Set<CertificateUse>();
  #served: CheckedMaterial;
  #digest: string;
  #candidate: Candidate | undefined;
  /** The day before the end, as `daysLeft` counts, of which somebody was told. */
  #toldDay: number | undefined;
  #isLooking = false;
  #isOpen = false;
  /** One reading behind the other, so that the later one counts. */
  #lastReading: Promise<unknown> = Promise.resolve();
  #stopWatching: (() => void) | undefined;
  #stopPolling: (() => void) | undefined;
  #stopSoon: (() => void) | undefined;

  /** @internal */
  constructor(source: CertificateSource, first: CertificateMaterial, options: CertificatesOptions, clock: Clock) {
    const { watch = false, expiringDays } = options;
    this.#source = source;
    this.#clock = clock;
    this.#pollMs = watch === false ? undefined : watch === true ? POLL_MS : checkedPoll(watch);
    if (expiringDays !== undefined && !(expiringDays >= 0 && expiringDays <= 100_000))
      throw new TlsError('BAD_OPTION', `expiringDays is a number of days, not ${String(expiringDays)}`);
    this.#expiringDays = expiringDays;
    for (const name of ['onReload', 'onError', 'onExpiring'] as const)
      if (options[name] !== undefined && typeof options[name] !== 'function')
        throw new TlsError('BAD_OPTION', `${name} is a function`);
    this.#listeners.add((name, what) => options[name] && (() => options[name]?.(what as never)));
    this.#served = checkMaterial(first, clock.nowMs(), undefined);
    this.#digest = digestOf(first);
    this.open();
  }

  /** Whose certificate it is that is served with, and how long it is good for. */
  get current(): ServedCertificate {
    const { identity } = this.#served;
    return { ...identity, daysLeft: Math.floor((identity.validTo.getTime() - this.#clock.nowMs()) / DAY_MS) };
  }

  /**
   * A context of the current key and certificates: for an SNICallback's answer, or `tls.connect`. Tickets of one are good for
   * its followers.
   */
  get secureContext(): SecureContext {
    return this.#served.context;
  }

  /** What it is made of. @internal */
  get material(): CertificateMaterial {
    return this.#served.material;
  }

  /**
   * Looks for new ones now, and has them used if there are any.
   * @throws {TlsError} they can't be had, or are no good; the old are kept. CERTIFICATE_UNREADABLE, BAD_KEY, BAD_CERTIFICATE,
   * KEY_MISMATCH, BAD_CHAIN, CERTIFICATE_EXPIRED, CERTIFICATE_NOT_YET_VALID, CERTIFICATE_UNUSABLE
   */
  async reload(): Promise<ServedCertificate> {
    const found = await this.#read();
    const digest = digestOf(found);
    if (digest !== this.#digest) this.#take(found, digest);
    this.#candidate = undefined;
    return this.current;
  }

  /**
   * Has `use` called with the current material, and whenever there is other: for servers that don't have the option.
   * @returns ends it
   * @throws what `use` has thrown
   */
  attach(use: CertificateUse, listener?: CertificateListener): () => void {
    use(this.#served.material)();
    this.#users.add(use);
    if (listener) this.#listeners.add(listener);
    return () => {
      this.#users.delete(use);
      if (listener) this.#listeners.delete(listener);
    };
  }

  /** Looks after them again, after `close()`. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#poll(NOTICE_MS, this.#source.watch !== undefined); // they may have changed while nobody looked
    if (this.#pollMs !== undefined) this.#stopWatching = this.#source.watch?.(() => this.#lookSoon(NOTICE_MS));
  }

  /** Looks no more by itself. What is served with stays; `reload()` still works. */
  close(): void {
    this.#isOpen = false;
    this.#stopWatching?.();
    this.#stopPolling?.();
    this.#stopSoon?.();
    this.#stopWatching = this.#stopPolling = this.#stopSoon = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #poll(delayMs: number, isToRead: boolean): void {
    this.#stopPolling = this.#clock.after(delayMs, () => {
      this.#poll(this.#pollMs ?? CALENDAR_MS, this.#pollMs !== undefined);
      if (isToRead && this.#pollMs !== undefined) void this.#look();
      this.#lookAtCalendar();
    });
  }

  #lookSoon(delayMs: number): void {
    if (!this.#isOpen) return;
    this.#stopSoon ??= this.#clock.after(delayMs, () => {
      this.#stopSoon = undefined;
      void this.#look();
    });
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    if (this.#isLooking) {
      this.#lookSoon(NOTICE_MS);
      return;
    }
    this.#isLooking = true;
    const found = await this.#read().catch((error: TlsError) => error);
    this.#isLooking = false;
    if (this.#isOpen) this.#judge(found);
  }

  #judge(found: CertificateMaterial | TlsError): void {
    const digest = found instanceof TlsError ? found.message : digestOf(found);
    if (digest === this.#digest) {
      this.#candidate = undefined;
      return;
    }
    const nowMs = this.#clock.nowMs();
    if (this.#candidate?.digest !== digest) this.#candidate = { digest, sinceMs: nowMs, wasTold: false };
    const candidate = this.#candidate;
    const { settleMs } = this.#source;
    const ageMs = Math.abs(nowMs - candidate.sinceMs); // clocks may be set back
    if (ageMs < settleMs) {
      this.#lookSoon(settleMs - ageMs);
      return;
    }
    const error = found instanceof TlsError ? found : this.#tryToTake(found, digest);
    if (error === undefined || candidate.wasTold) return;
    if (settleMs > 0 && ageMs < PATIENCE_MS) {
      this.#lookSoon(settleMs);
      return;
    }
    candidate.wasTold = true;
    this.#tell('onError', error, `the old certificate is kept: ${error.message}`);
  }

  #tryToTake(found: CertificateMaterial, digest: string): TlsError | undefined {
    try {
      this.#take(found, digest);
      this.#candidate = undefined;
      return undefined;
    } catch (error) {
      return error as TlsError;
    }
  }

  /** All or nobody. @throws {TlsError} */
  #take(material: CertificateMaterial, digest: string): void {
    const checked = checkMaterial(material, this.#clock.nowMs(), this.#served.context.context.getTicketKeys());
    const changes: (() => void)[] = [];
    for (const use of this.#users) {
      try {
        changes.push(use(material));
      } catch (error) {
        throw new TlsError('CERTIFICATE_UNUSABLE', `a server does not take it: ${messageOf(error)}`, error);
      }
    }
    this.#served = checked;
    this.#digest = digest;
    this.#toldDay = undefined;
    for (const change of changes) change();
    this.#tell('onReload', this.current);
  }

  #lookAtCalendar(): void {
    const { current } = this;
    const { validFrom, validTo, daysLeft, subject } = current;
    const life = (validTo.getTime() - validFrom.getTime()) / DAY_MS;
    const limit = this.#expiringDays ?? Math.min(EXPIRING_DAYS, life * EXPIRING_PART);
    const left = (validTo.getTime() - this.#clock.nowMs()) / DAY_MS;
    if (left > limit || daysLeft === this.#toldDay) return;
    this.#toldDay = daysLeft;
    const end = `${left > 0 ? 'expires' : 'has expired'}: ${validTo.toISOString()}`;
    this.#tell('onExpiring', current, `the certificate of ${subject.commonName ?? 'no common name'} ${end}`);
  }

  /** Behind all that is done here, so that what they throw is theirs. If nobody listens, bad news become a warning of the process. */
  #tell<Name extends keyof News>(name: Name, what: News[Name], warning?: string): void {
    const calls = [...this.#listeners].map((listener) => listener(name, what)).filter((call) => call !== undefined);
    for (const call of calls) queueMicrotask(call);
    if (calls.length === 0 && warning !== undefined)
      process.emitWarning(warning, { type: 'MillraceWarning', code: 'MILLRACE_WARN_CERTIFICATE' });
  }

  /** @throws {TlsError} */
  #read(): Promise<CertificateMaterial> {
    const reading = this.#lastReading.then(() => readInTime(this.#source, this.#clock));
    this.#lastReading = reading.catch(() => {});
    return reading;
  }
}

function checkedPoll(watch: { pollMs: number }): number {
  const pollMs = watch?.pollMs;
  if (Number.isInteger(pollMs) && pollMs >= 1 && pollMs < 2 ** 31) return pollMs;
  throw new TlsError('BAD_OPTION', 'watch is true, false, or { pollMs }, a whole number of at least 1');
}

/** @throws {TlsError} */
export async function readInTime(source: CertificateSource, clock: Clock): Promise<CertificateMaterial> {
  let stop = (): void => {};
  const tooLate = new Promise<never>((_, reject) => {
    const error = new TlsError('CERTIFICATE_UNREADABLE', `there were no certificates within ${READ_MS} ms`);
    stop = clock.after(READ_MS, () => reject(error));
  });
  try {
    return await Promise.race([source.read(), tooLate]);
  } catch (error) {
    if (error instanceof TlsError) throw error;
    throw new TlsError('CERTIFICATE_UNREADABLE', `there are no certificates: ${messageOf(error)}`, error);
  } finally {
    stop();
  }
}
