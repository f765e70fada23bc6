/** A certificate for a server of a test, as files. */
import assert from 'node:assert/strict';
import { chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { authority } from '../../support/authority.ts';
import { certificate } from '../../support/certificate.ts';
import type { User } from './server.ts';

/** Makes `tls.key` and `tls.crt`, which belong to the given user and to nobody else: PostgreSQL asks for that. */
export function makeCertificate(folder: string, user: User = {}): void {
  const made = certificate();
  assert.ok(made, 'openssl makes a certificate');
  write(folder, { 'tls.key': made.key, 'tls.crt': made.cert }, user);
}

let made: ReturnType<typeof authority>;

/** The same for localhost, signed by an authority of this run whose certificate is `ca.crt`. */
export function makeSignedCertificate(folder: string, user: User = {}): void {
  made ??= authority();
  assert.ok(made, 'openssl makes certificates');
  write(folder, { 'tls.key': made.server.key, 'tls.crt': made.server.cert, 'ca.crt': made.ca }, user);
}

function write(folder: string, files: Record<string, Buffer>, { uid, gid }: User): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid);
  }
}
