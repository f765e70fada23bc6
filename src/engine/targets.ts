/** The addresses that a name stands for, in the order in which they are tried. */
import type dns from 'node:dns';
import { isIP } from 'node:net';

/** An address that a name stands for. */
export interface Target {
  ip: string;
  family: 4 | 6;
}

/**
 * Valid addresses without repeats, families taking turns, the family of the first one first (RFC 8305 section 4, with a
 * First Address Family Count of 1); within a family the resolver's order stays.
 */
export function interleave(found: Partial<dns.LookupAddress>[]): Target[] {
  const byFamily = new Map<number, Set<string>>();
  for (const { address, family } of found) {
    if (typeof address !== 'string' || !isIP(address) || (family !== 4 && family !== 6)) continue;
    if (!byFamily.has(family)) byFamily.set(family, new Set());
    byFamily.get(family)?.add(address);
  }
  const lists = [...byFamily].map(([family, ips]) => [...ips].map((ip) => ({ ip, family: family as 4 | 6 })));
  const targets: Target[] = [];
  for (let i = 0; lists.some((list) => i < list.length); i++)
    for (const list of lists) if (list[i] !== undefined) targets.push(list[i] as Target);
  return targets;
}
