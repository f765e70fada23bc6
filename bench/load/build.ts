// The load generator, compiled from the C files of this folder: two programs, TCP and TLS.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fromC, type Workshop } from '../workshop.ts';

/** Path of the load generator. @throws {Unavailable} if there is no C compiler (`cc`, or $CC). */
export function buildLoad(shop: Workshop): string {
  return fromC(shop, 'load', sources(shop, 'tls.c'));
}

/** Path of the one that speaks TLS. @throws {Unavailable} without a compiler, or OpenSSL's headers. */
export function buildTlsLoad(shop: Workshop): string {
  return fromC(shop, 'load-tls', sources(shop, 'plain.c'), ['ssl', 'crypto']);
}

function sources(shop: Workshop, leftOut: string): string[] {
  const files = readdirSync(join(shop.root, 'bench/load')).filter((name) => /\.[ch]$/.test(name) && name !== leftOut);
  return files.sort().map((name) => `bench/load/${name}`);
}
