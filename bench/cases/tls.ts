// TLS 1.3 with one cipher and one certificate (ECDSA, P-256) for all: echoes, bulk, handshakes, idle connections. The load is
// another program with a libssl of its own (load/tls.c). Cost is the server's CPU time per operation, memory where idle.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { columns, drive } from '../drive.ts';
import { buildTlsLoad } from '../load/build.ts';
import type { Kind } from '../rivals.ts';
import type { Bench, Case, Sample, Trial } from '../trial.ts';
import { Unavailable } from '../workshop.ts';
import { measureIdle, memoryColumns } from './idle.ts';

const bulkBytes = 64 * 2 ** 20;

export const tls: Case = {
  name: 'tls',
  trials: (bench) => [
    echo(bench, 64),
    echo(bench, 16_384),
    driven(bench, 'tls-bulk-out', 'bulk out of memory', 'MiB', 0, {
      ...{ kind: 'tls-source', parameter: String(bulkBytes), mode: 'download', connections: 1 },
      flags: { bytes: bulkBytes },
    }),
    driven(bench, 'tls-bulk-in', 'bulk into memory', 'MiB', 0, {
      ...{ kind: 'tls-sink', mode: 'upload', connections: 1 },
      flags: { bytes: bulkBytes },
    }),
    handshake(bench, 'tls-full', 'full handshake', {}),
    handshake(bench, 'tls-resumed', 'resumed handshake', { resume: 1 }),
    ...(bench.options.idleConnections ?? [2000]).map((count) => idle(bench, count)),
  ],
};

interface Load {
  kind: Kind;
  parameter?: string;
  mode: string;
  connections: number;
  flags: Record<string, number | string>;
}

function driven(bench: Bench, id: string, what: string, per: string, digits: number, load: Load): Trial {
  return {
    id,
    title: `TLS, ${what}`,
    parameters: {},
    cost: { key: 'cpuUsPerOperation', head: `CPU µs/${per}`, digits },
    columns: columns(per),
    kind: load.kind,
    isQuick: false,
    breadth: 'narrow',
    overheadSeconds: 0.6,
    run: (rival, prepared) => drive(withTls(bench), rival, prepared, { ...load, certificate: certificate(bench) }),
  };
}

function echo(bench: Bench, size: number): Trial {
  const connections = 50;
  return driven(bench, `tls-echo-${size}`, `echo, ${size} B x ${connections} connections`, 'msg', 2, {
    ...{ kind: 'tls-echo', mode: 'echo', connections },
    flags: { connections, size },
  });
}

function handshake(bench: Bench, id: string, what: string, flags: Record<string, number>): Trial {
  const connections = 10;
  const title = `${what}: connect, handshake, one message, close, ${connections} at any time`;
  return driven(bench, id, title, 'conn', 1, {
    ...{ kind: 'tls-echo', mode: 'churn', connections },
    flags: { connections, size: 64, ...flags },
  });
}

function idle(bench: Bench, connections: number): Trial {
  return {
    id: `tls-idle-${connections}`,
    title: `TLS, idle, ${connections.toLocaleString('en')} connections after their handshake`,
    parameters: { connections },
    ...memoryColumns,
    kind: 'tls-echo',
    isQuick: false,
    breadth: 'narrow',
    maxRuns: 2,
    overheadSeconds: 2 + connections / 1000,
    run: (rival, prepared): Promise<Sample> =>
      measureIdle(withTls(bench), rival, prepared, {
        ...{ kind: 'tls-echo', connections, certificate: certificate(bench) },
      }),
  };
}

const withTls = (bench: Bench): Bench => ({
  ...bench,
  load: buildTlsLoad({ root: bench.root, mayInstall: bench.options.prepare }),
});

/** The folder with `key.pem` and `cert.pem`, made once. @throws {Unavailable} without openssl. */
function certificate(bench: Bench): string {
  const home = join(bench.root, '.cache/bench/certificate');
  if (existsSync(home)) return home;
  const making = `${home}.${process.pid}`;
  mkdirSync(making, { recursive: true });
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '3650'],
    ...['-subj', '/CN=localhost', '-keyout', join(making, 'key.pem'), '-out', join(making, 'cert.pem')],
  ]);
  if (made.status !== 0) {
    rmSync(making, { recursive: true });
    throw new Unavailable('there is no openssl to make a certificate with');
  }
  renameSync(making, home);
  return home;
}
