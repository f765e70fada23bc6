/**
 * Who gets in: counts of open connections in all, for each address and for each /64 of IPv6, and the rate at which they
 * come. All in constant time, and only when a connection comes or goes.
 */
import type { Clock } from './clock.ts';
import type { GateRules } from './limits.ts';
import { networkOf } from './networks.ts';
import type { RefusalReason } from './reasons.ts';

export class Gate {
  /** Connections that have arrived and not gone. */
  open = 0;
  readonly #rules: GateRules;
  readonly #clock: Clock;
  readonly #addresses = new Map<string, number>();
  readonly #networks = new Map<string, number>();
  #tokens: number;
  #filledMs: number;

  constructor(rules: GateRules, clock: Clock) {
    this.#rules = rules;
    this.#clock = clock;
    this.#tokens = rules.acceptBurst;
    this.#filledMs = clock.nowMs();
  }

  /** A connection has come, of whomever. Unless it is refused, `gone` has to follow. */
  arrive(): RefusalReason | undefined {
    if (this.open >= this.#rules.connections) return 'TOO_MANY_CONNECTIONS';
    if (!this.#takeToken()) return 'ACCEPT_RATE';
    this.open++;
    return undefined;
  }

  gone(): void {
    this.open--;
  }

  /** It is known whose it is. Unless it is refused, `leave` has to follow. */
  enter(address: string | undefined): RefusalReason | undefined {
    if (address === undefined) return undefined;
    const { perAddress, perNetwork } = this.#rules;
    if ((this.#addresses.get(address) ?? 0) >= perAddress) return this.#turnAway('TOO_MANY_FROM_ADDRESS');
    const network = networkOf(address);
    if (network !== undefined && (this.#networks.get(network) ?? 0) >= perNetwork) {
      return this.#turnAway('TOO_MANY_FROM_NETWORK');
    }
    count(this.#addresses, address, 1);
    if (network !== undefined) count(this.#networks, network, 1);
    return undefined;
  }

  leave(address: string | undefined): void {
    if (address === undefined) return;
    count(this.#addresses, address, -1);
    const network = networkOf(address);
    if (network !== undefined) count(this.#networks, network, -1);
  }

  /** Gives the token back: one address that has enough must not spend what the others need. */
  #turnAway(reason: RefusalReason): RefusalReason {
    this.#tokens = Math.min(this.#rules.acceptBurst, this.#tokens + 1);
    return reason;
  }

  #takeToken(): boolean {
    const { acceptPerSecond, acceptBurst } = this.#rules;
    const nowMs = this.#clock.nowMs();
    this.#tokens = Math.min(acceptBurst, this.#tokens + ((nowMs - this.#filledMs) / 1000) * acceptPerSecond);
    this.#filledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

/** A key whose count is zero takes no memory. */
function count(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const next = (counts.get(key) ?? 0) + by;
  if (next > 0) counts.set(key, next);
  else counts.delete(key);
}
