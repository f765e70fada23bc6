// The load generator, compiled from all C files of this folder.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fromC, type Workshop } from '../workshop.ts';

/** Path of the load generator. @throws {Unavailable} if there is no C compiler (`cc`, or $CC). */
export function buildLoad(shop: Workshop): string {
  const files = readdirSync(join(shop.root, 'bench/load')).filter((name) => /\.[ch]$/.test(name));
  return fromC(
    shop,
    'load',
    files.sort().map((name) => `bench/load/${name}`),
  );
}
