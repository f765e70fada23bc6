/** The compiled native part: what it asks of the machine that it is loaded on. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../support/child.ts';

/**
 * What the executable of Node.js brings: Node-API and libuv, and the four functions that a compiler may call even where
 * there is no libc (GCC's manual, "Language Standards Supported by GCC"), which are in every libc.
 */
const PROVIDED = /^(napi_|node_api_|uv_|mem(cpy|move|set|cmp)$)/;

/** Of libssl and libcrypto, which most executables of Node.js export. */
const OPENSSL = /^(TLS|SSL|X509|BIO|EVP|ERR|PEM|PKCS12|HMAC|RAND|CRYPTO|OPENSSL|OBJ|OpenSSL|[di]2[di])_/;

const binaries = [
  join(root, '.build/millrace.node'),
  join(root, '.build/millrace-tls.node'),
  ...(existsSync(join(root, 'prebuilt')) ? readdirSync(join(root, 'prebuilt')) : [])
    .filter((name) => name.endsWith('.node'))
    .map((name) => join(root, 'prebuilt', name)),
].filter((path) => existsSync(path));

for (const path of binaries) {
  test(`${path.slice(root.length + 1)} asks for nothing that is not in every executable of Node.js`, () => {
    const { needed, hasVersions, undefinedSymbols, weakSymbols } = readElf(readFileSync(path));
    assert.deepEqual(needed, [], 'no library by name');
    assert.equal(hasVersions, false, 'no version of a symbol: musl has none');
    assert.ok(undefinedSymbols.includes('napi_create_function'));
    assert.deepEqual(
      undefinedSymbols.filter((name) => !PROVIDED.test(name)),
      [],
    );
    // What may be missing is asked for before it is used: docs/decisions/0080-tls-openssl.md
    const isOfOpenssl = (name: string): boolean => path.endsWith('-tls.node') && OPENSSL.test(name);
    assert.deepEqual(
      weakSymbols.filter((name) => !isOfOpenssl(name)),
      [],
    );
  });
}

/** The dynamic section and symbols of a 64-bit little-endian ELF file, elf(5). */
function readElf(file: Buffer): {
  needed: string[];
  hasVersions: boolean;
  undefinedSymbols: string[];
  weakSymbols: string[];
} {
  assert.equal(file.toString('latin1', 0, 6), '\x7fELF\x02\x01');
  const word = (at: number): number => Number(file.readBigUInt64LE(at));
  const sections = Array.from({ length: file.readUInt16LE(60) }, (_, i) => {
    const at = word(40) + i * file.readUInt16LE(58);
    return {
      type: file.readUInt32LE(at + 4),
      offset: word(at + 24),
      size: word(at + 32),
      link: file.readUInt32LE(at + 40),
    };
  });
  const text = (strings: number, at: number): string => {
    const start = (sections[strings]?.offset ?? 0) + at;
    return file.toString('latin1', start, file.indexOf(0, start));
  };
  const needed: string[] = [];
  const undefinedSymbols: string[] = [];
  const weakSymbols: string[] = [];
  const [SHT_DYNAMIC, SHT_DYNSYM, SHT_GNU_VERNEED, DT_NEEDED, SHN_UNDEF, STB_WEAK] = [6, 11, 0x6ffffffe, 1, 0, 2];
  for (const { type, offset, size, link } of sections) {
    for (let at = offset; type === SHT_DYNAMIC && at < offset + size; at += 16) {
      if (word(at) === DT_NEEDED) needed.push(text(link, word(at + 8)));
    }
    for (let at = offset + 24; type === SHT_DYNSYM && at < offset + size; at += 24) {
      if (file.readUInt16LE(at + 6) !== SHN_UNDEF) continue;
      const list = file.readUInt8(at + 4) >> 4 === STB_WEAK ? weakSymbols : undefinedSymbols;
      list.push(text(link, file.readUInt32LE(at)));
    }
  }
  const hasVersions = sections.some(({ type }) => type === SHT_GNU_VERNEED);
  return { needed, hasVersions, undefinedSymbols, weakSymbols };
}
