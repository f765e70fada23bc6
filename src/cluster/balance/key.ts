/**
 * Which worker a key belongs to: rendezvous hashing over the places of a group (Thaler and Ravishankar, 1998). Each place
 * has a weight for each key, the heaviest one that is there gets it; so when a worker is gone, only its own keys move, and
 * they come back with who replaces it.
 */

export interface KeyRules {
  readonly key: (head: Uint8Array) => string | number | undefined;
  readonly maxHeadBytes: number;
  readonly timeoutMs: number;
}

/** The weight of a place for a key's hash: the finalizer of MurmurHash3, which every bit of both goes through. */
export function weightOf(hash: number, slot: number): number {
  let h = hash ^ Math.imul(slot + 1, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** FNV-1a, 32 bits, of the UTF-16 units. */
export function hashOf(key: string | number): number {
  const text = String(key);
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193);
    hash = Math.imul(hash ^ (unit >>> 8), 0x01000193);
  }
  return hash;
}
