/** Certificates of the moment: an authority of our own and what it has signed. Undefined where there is no openssl. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Pair {
  key: Buffer;
  cert: Buffer;
}

export interface Authority {
  ca: Buffer;
  /** For localhost and 127.0.0.1. */
  server: Pair;
  /** For other.example and *.wild.example. */
  other: Pair;
  client: Pair;
  /** As `server`, no longer valid. */
  expired: Pair;
  /** As `server`, and on the list. */
  revoked: Pair;
  crl: Buffer;
  /** Signed by itself, for localhost. */
  selfSigned: Pair;
  /** `server` as PKCS #12, with the passphrase `secret`. */
  pfx: Buffer;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
const LOCAL = 'subjectAltName=DNS:localhost,IP:127.0.0.1';

export function authority(): Authority | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'mr-'));
  const openssl = (...command: string[]): void =>
    void execFileSync('openssl', command, { cwd: folder, stdio: 'ignore', env: { ...process.env, LD_PRELOAD: '' } });
  const read = (name: string): Buffer => readFileSync(join(folder, name));
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);

  const sign = (name: string, subject: string, extension: string, days = '30'): Pair => {
    openssl('req', ...NEW_KEY, '-subj', subject, '-keyout', `${name}.key`, '-out', `${name}.csr`);
    write(`${name}.ext`, extension);
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', days, '-extfile', `${name}.ext`];
    openssl('x509', '-req', '-in', `${name}.csr`, ...by, '-out', `${name}.pem`);
    return { key: read(`${name}.key`), cert: read(`${name}.pem`) };
  };

  try {
    openssl('req', '-x509', ...NEW_KEY, '-subj', '/CN=authority', '-days', '30', '-keyout', 'ca.key', '-out', 'ca.pem');
    openssl(
      'req',
      '-x509',
      ...NEW_KEY,
      '-subj',
      '/CN=localhost',
      '-addext',
      LOCAL,
      '-keyout',
      'self.key',
      '-out',
      'self.pem',
    );
    const server = sign('server', '/CN=localhost', LOCAL);
    const revoked = sign('revoked', '/CN=localhost', LOCAL);
    openssl(
      'pkcs12',
      '-export',
      '-inkey',
      'server.key',
      '-in',
      'server.pem',
      '-passout',
      'pass:secret',
      '-out',
      'server.p12',
    );
    write('index', '');
    write('crlnumber', '01\n');
    write(
      'ca.conf',
      '[ca]\ndefault_ca=d\n[d]\ndatabase=index\ncrlnumber=crlnumber\ndefault_md=sha256\ndefault_crl_days=30\n',
    );
    const list = ['-config', 'ca.conf', '-cert', 'ca.pem', '-keyfile', 'ca.key'];
    openssl('ca', ...list, '-revoke', 'revoked.pem');
    openssl('ca', ...list, '-gencrl', '-out', 'crl.pem');
    return {
      ca: read('ca.pem'),
      server,
      other: sign('other', '/CN=other.example', 'subjectAltName=DNS:other.example,DNS:*.wild.example'),
      client: sign('client', '/CN=client/O=millrace', 'subjectAltName=URI:spiffe://example/client'),
      expired: sign('expired', '/CN=localhost', LOCAL, '-1'),
      revoked,
      crl: read('crl.pem'),
      selfSigned: { key: read('self.key'), cert: read('self.pem') },
      pfx: read('server.p12'),
    };
  } catch {
    return undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
