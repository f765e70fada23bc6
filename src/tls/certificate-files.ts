/**
 * Key and certificates from files. That they change is found by reading them again, which sees everything: renames, symbolic
 * links that are swapped (Kubernetes' `..data`), network file systems. The system's word that something happens in their
 * folders only makes it sooner, and is not needed.
 */
import type { Stats } from 'node:fs';
import { dirname } from 'node:path';
import { builtins } from '../engine/builtins.ts';
import { type CertificateMaterial, messageOf } from './certificate-material.ts';
import {
  type CertificateSource,
  Certificates,
  type CertificatesOptions,
  type Clock,
  systemClock,
} from './certificates.ts';
import { TlsError } from './tls-error.ts';

export interface CertificateFilesOptions extends CertificatesOptions {
  /** PEM files. Key and certificates may be in one, named twice. */
  keyFile: string;
  /** The certificate first, behind it its issuer, that one's issuer, and so on. */
  certFile: string;
  /** Whom peers' certificates have to come from. */
  caFile?: string | undefined;
  /** Revoked certificates. */
  crlFile?: string | undefined;
  /** Of the key. */
  passphrase?: string | undefined;
}

/** The part of the file system that is used; tests bring their own. */
export interface Files {
  read(path: string): Promise<Buffer>;
  readSync(path: string): Buffer;
  /** Calls `onChange` when something happens in the folder, if the system tells. */
  watch(folder: string, onChange: () => void): () => void;
}

/** No file of keys or certificates is larger; what is was put there by mistake. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

export const systemFiles: Files = {
  async read(path) {
    check(await builtins.fs.promises.stat(path));
    return builtins.fs.promises.readFile(path);
  },
  readSync(path) {
    check(builtins.fs.statSync(path));
    return builtins.fs.readFileSync(path);
  },
  watch(folder, onChange) {
    try {
      const watcher = builtins.fs.watch(folder, { persistent: false }, onChange);
      watcher.on('error', () => watcher.close());
      return () => watcher.close();
    } catch {
      return () => {}; // no folder, or no more watches: inotify(7)
    }
  },
};

function check(stats: Stats): void {
  if (!stats.isFile()) throw new Error('it is no regular file');
  if (stats.size > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`);
}

/**
 * Certificates of files; with `watch: true` they are read again when they change.
 * @throws {TlsError} the files can't be read, or can't be used: as for `Certificates.reload`
 * @example
 * ```ts
 * import tls, { certificateFiles } from 'millrace/tls';
 *
 * const certificates = certificateFiles({ keyFile: '/etc/tls/key.pem', certFile: '/etc/tls/cert.pem', watch: true });
 * const server = tls.createServer({ certificates }, (socket) => socket.end('hello'));
 * server.on('certificateReloaded', ({ daysLeft }) => console.log(`good for ${daysLeft} days`));
 * ```
 */
export function certificateFiles(options: CertificateFilesOptions): Certificates {
  return openCertificateFiles(options, systemFiles, systemClock);
}

/** The same with other files and another clock. */
export function openCertificateFiles(options: CertificateFilesOptions, files: Files, clock: Clock): Certificates {
  const paths = checkedPaths(options);
  const { passphrase } = options;
  const source: CertificateSource = {
    settleMs: SETTLE_MS,
    async read() {
      const found: Found = { passphrase };
      for (const [name, path] of paths)
        found[name] = await files.read(path).catch((error) => {
          throw unreadable(path, error);
        });
      return found as CertificateMaterial;
    },
    watch(onChange) {
      const folders = new Set(paths.map(([, path]) => dirname(path)));
      const stops = [...folders].map((folder) => files.watch(folder, onChange));
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
  const first: Found = { passphrase };
  for (const [name, path] of paths) {
    try {
      first[name] = files.readSync(path);
    } catch (error) {
      throw unreadable(path, error);
    }
  }
  return new Certificates(source, first as CertificateMaterial, options, clock);
}

/** Of the files that were named, among which key and certificate always are. */
type Found = Partial<CertificateMaterial>;
type Name = 'key' | 'cert' | 'ca' | 'crl';

/** Files change one after the other; what is looked at closer has been the same for so long. */
const SETTLE_MS = 250;

function checkedPaths({ keyFile, certFile, caFile, crlFile, passphrase }: CertificateFilesOptions): [Name, string][] {
  const paths: [Name, string][] = [
    ['key', checkedPath('keyFile', keyFile)],
    ['cert', checkedPath('certFile', certFile)],
  ];
  if (caFile !== undefined) paths.push(['ca', checkedPath('caFile', caFile)]);
  if (crlFile !== undefined) paths.push(['crl', checkedPath('crlFile', crlFile)]);
  if (passphrase !== undefined && typeof passphrase !== 'string')
    throw new TlsError('BAD_OPTION', 'passphrase is a string');
  return paths;
}

function checkedPath(name: string, path: unknown): string {
  if (typeof path === 'string' && path !== '' && !path.includes('\0') && !path.includes('-----BEGIN')) return path;
  throw new TlsError('BAD_OPTION', `${name} is the path of a file in PEM`);
}

function unreadable(path: string, error: unknown): TlsError {
  return new TlsError('CERTIFICATE_UNREADABLE', `${path} cannot be read: ${messageOf(error)}`, error);
}
