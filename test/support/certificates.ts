/** Certificates in files that change, on a clock that the test moves. */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { CertificateFilesOptions, Certificates, TlsError } from 'millrace/tls';
import { type Files, openCertificateFiles, systemFiles } from '#src/tls/certificate-files.ts';
import type { Clock } from '#src/tls/certificates.ts';
import { folder, type Stage, turns } from './net.ts';
import { type Issued, issue } from './x509.ts';

export const DAY_MS = 86_400_000;

/** Only moves when it is told to. */
export class TestClock implements Clock {
  #nowMs = Date.now();
  readonly timers = new Set<{ atMs: number; run: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, run };
    this.timers.add(timer);
    return () => this.timers.delete(timer);
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    for (const timer of [...this.timers].filter(({ atMs }) => atMs <= this.#nowMs))
      if (this.timers.delete(timer)) timer.run();
  }
}

/** The system's, read at once, so that no test waits for anybody but its own clock; and they may refuse. */
export class TestFiles implements Files {
  refusal: Error | undefined;

  async read(path: string): Promise<Buffer> {
    if (this.refusal) throw this.refusal;
    return systemFiles.readSync(path);
  }

  readSync(path: string): Buffer {
    return systemFiles.readSync(path);
  }

  /** Those who want to know of changes: nobody tells but the test. */
  readonly watchers = new Set<() => void>();

  watch(_folder: string, onChange: () => void): () => void {
    this.watchers.add(onChange);
    return () => this.watchers.delete(onChange);
  }
}

/** One folder with key.pem, cert.pem and ca.pem. */
export class CertificateFolder {
  readonly clock = new TestClock();
  readonly files = new TestFiles();
  /** What `onReload`, `onError` and `onExpiring` were told: 'reload: NAME', 'error: CODE', 'expiring: DAYS'. */
  readonly news: string[] = [];
  lastError: TlsError | undefined;
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  static async make(t: Stage, served: Pick<Issued, 'key' | 'cert'>): Promise<CertificateFolder> {
    const made = new CertificateFolder(await folder(t));
    made.write('key.pem', served.key);
    made.write('cert.pem', served.cert);
    return made;
  }

  file(name: string): string {
    return join(this.path, name);
  }

  write(name: string, text: string): void {
    mkdirSync(dirname(this.file(name)), { recursive: true });
    writeFileSync(this.file(name), text);
  }

  /** A write that the system tells of. */
  announce(name: string, text: string): void {
    this.write(name, text);
    for (const onChange of this.files.watchers) onChange();
  }

  /** As deployments do it: there is always a whole file. */
  replace(name: string, text: string): void {
    this.write(`${name}.new`, text);
    renameSync(this.file(`${name}.new`), this.file(name));
  }

  get options(): CertificateFilesOptions {
    return { keyFile: this.file('key.pem'), certFile: this.file('cert.pem'), watch: true };
  }

  /** On the clock of this folder. */
  open(t: Stage, more: Partial<CertificateFilesOptions> = {}): Certificates {
    const certificates = openCertificateFiles(
      {
        ...this.options,
        onReload: ({ subject }) => this.news.push(`reload: ${subject.commonName}`),
        onError: (error) => {
          this.lastError = error;
          this.news.push(`error: ${error.code.replace('MILLRACE_ERR_', '')}`);
        },
        onExpiring: ({ daysLeft }) => this.news.push(`expiring: ${daysLeft}`),
        ...more,
      },
      this.files,
      this.clock,
    );
    t.after(() => certificates.close());
    return certificates;
  }

  /** Lets time go by; what was to happen in it has happened. */
  async pass(ms: number): Promise<void> {
    const stepMs = Math.max(50, ms / 50);
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left));
      await turns(1);
    }
  }

  /** Lets time go by until there is as much news. */
  async hears(...news: string[]): Promise<void> {
    for (let left = 10 * 60_000; left > 0 && this.news.length < news.length; left -= 50) await this.pass(50);
    assert.deepEqual(this.news, news);
  }
}

/** Of localhost, whose name the tests know by its key. */
export const localhost = (options: Partial<Parameters<typeof issue>[0]> = {}): Issued =>
  issue({ name: 'localhost', ...options });
