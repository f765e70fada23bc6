/** A certificate for a server of a test, as files. */
import assert from 'node:assert/strict';
import { chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { certificate } from '../../support/certificate.ts';
import type { User } from './server.ts';

/** Makes `tls.key` and `tls.crt`, which belong to the given user and to nobody else: PostgreSQL asks for that. */
export function makeCertificate(folder: string, { uid, gid }: User = {}): void {
  const made = certificate();
  assert.ok(made, 'openssl makes a certificate');
  for (const [name, content] of [
    ['tls.key', made.key],
    ['tls.crt', made.cert],
  ] as const) {
    const path = join(folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid);
  }
}
