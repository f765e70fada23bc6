/**
 * A connection of a trusted proxy, until its header has come: it is no session yet, and nobody knows whose it is. It
 * keeps at most `maxBytes`, and has one time limit for the whole header.
 */
import type { BlockList } from 'node:net';
import type { CloseReason, Connection } from '../direct/index.ts';
import type { ProxyInfo } from './api.ts';
import { badOption } from './errors.ts';
import { ms, oneOf, whole } from './limits.ts';
import { networkList, plainAddress } from './networks.ts';
import { parseProxyHeader } from './proxy-protocol.ts';
import type { RefusalReason } from './reasons.ts';
import type { Endpoint } from './session.ts';
import type { Sweep, Swept } from './sweep.ts';

export interface ProxyProtocolOptions {
  /** Whose headers are believed: addresses and networks, `['10.0.0.0/8']`, or a `BlockList`. */
  trustedProxies: BlockList | readonly string[];
  /**
   * Connections of anybody else. `accept`, unless given: they are clients that came directly, and have no header.
   * `refuse`: `PROXY_UNTRUSTED`.
   */
  others?: 'accept' | 'refuse' | undefined;
  /** Connections of unix sockets, which have no address, come from a trusted proxy. `false` unless given. */
  trustUnixSockets?: boolean | undefined;
  /** Until the whole header has come. `PROXY_HEADER_TIMEOUT`. 5,000 unless given. */
  timeoutMs?: number | undefined;
  /** The largest header, with all its TLVs. `PROXY_HEADER_TOO_LARGE`. 4,096 unless given. */
  maxBytes?: number | undefined;
}

export interface ProxyRules {
  readonly trustedProxies: BlockList;
  readonly others: 'accept' | 'refuse';
  readonly trustUnixSockets: boolean;
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

/** @throws {MILLRACE_ERR_BAD_OPTION} */
export function proxyRules(options: ProxyProtocolOptions): ProxyRules {
  if (options.trustedProxies === undefined) throw badOption('proxyProtocol.trustedProxies says whom to believe');
  return {
    trustedProxies: networkList('proxyProtocol.trustedProxies', options.trustedProxies),
    others: oneOf('proxyProtocol.others', options.others ?? 'accept', ['accept', 'refuse']),
    trustUnixSockets: options.trustUnixSockets === true,
    timeoutMs: ms('proxyProtocol.timeoutMs', options.timeoutMs, 5_000),
    // Version 2 can't be larger, and has to be able to carry two addresses of unix sockets.
    maxBytes: whole('proxyProtocol.maxBytes', options.maxBytes ?? 4_096, 232, 16 + 65_535),
  };
}

/** What becomes of the connection. */
interface Outcome {
  /** The header has come. `rest` is lent: bytes behind it. */
  admit(proxy: ProxyInfo, rest: Buffer): void;
  refuse(reason: RefusalReason, message: string): void;
  /** It is gone, before either. */
  gone(): void;
}

export class ProxyStage implements Endpoint, Swept {
  readonly #connection: Connection<Endpoint>;
  readonly #rules: ProxyRules;
  readonly #sweep: Sweep;
  readonly #outcome: Outcome;
  readonly #openedMs: number;
  #bytes = Buffer.alloc(0);
  #isOver = false;

  constructor(connection: Connection<Endpoint>, rules: ProxyRules, sweep: Sweep, outcome: Outcome) {
    this.#connection = connection;
    this.#rules = rules;
    this.#sweep = sweep;
    this.#outcome = outcome;
    this.#openedMs = sweep.stampMs;
    sweep.add(this);
  }

  onData(view: Buffer): void {
    if (this.#isOver) return;
    const { maxBytes } = this.#rules;
    const bytes = this.#bytes.length === 0 ? view : Buffer.concat([this.#bytes, view]);
    const parsed = parseProxyHeader(bytes, maxBytes);
    if (parsed === undefined) {
      // Less than maxBytes: the parser refuses longer headers as soon as it knows.
      this.#bytes = Buffer.from(bytes);
    } else if ('reason' in parsed) {
      this.#refuse(parsed.reason, parsed.message);
    } else {
      this.#finish();
      this.#outcome.admit({ ...parsed.header, via: this.#via() }, bytes.subarray(parsed.end));
    }
  }

  onEnd(): void {
    if (!this.#isOver) this.#refuse('PROXY_HEADER_MISSING', `the connection ended after ${this.#bytes.length} bytes`);
  }

  onDrain(): void {}

  onClose(_: CloseReason): void {
    if (this.#isOver) return;
    this.#finish();
    this.#outcome.gone();
  }

  check(nowMs: number): void {
    const { timeoutMs } = this.#rules;
    if (timeoutMs === 0 || nowMs - this.#openedMs < timeoutMs) return;
    this.#refuse('PROXY_HEADER_TIMEOUT', `no whole PROXY header within ${timeoutMs} ms`);
  }

  #via(): ProxyInfo['via'] {
    const { remote } = this.#connection;
    return { address: remote && plainAddress(remote.address), port: remote?.port };
  }

  #refuse(reason: RefusalReason, message: string): void {
    this.#finish();
    this.#outcome.refuse(reason, message);
  }

  #finish(): void {
    this.#isOver = true;
    this.#sweep.delete(this);
    this.#bytes = Buffer.alloc(0);
  }
}
