import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { application, limit, outlives } from './support/application.ts';
import { makeCertificate } from './support/certificate.ts';
import { asNobody, type InstalledServer, missing, startServer } from './support/server.ts';

const options = { ...limit, skip: missing('postgres', 'initdb', 'openssl') };

function prepare(server: InstalledServer): void {
  const data = join(server.folder, 'data');
  server.run('initdb', '--pgdata', data, '--username', 'app', '--auth', 'trust', '--encoding', 'UTF8', '--no-sync');
  makeCertificate(server.folder, asNobody);
  const settings = {
    listen_addresses: '127.0.0.1',
    port: server.port,
    unix_socket_directories: server.folder,
    fsync: 'off',
    ssl: 'on',
    ssl_key_file: join(server.folder, 'tls.key'),
    ssl_cert_file: join(server.folder, 'tls.crt'),
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'\n`);
  writeFileSync(join(data, 'postgresql.conf'), lines.join(''));
}

test(
  'pg: queries, rows of megabytes, COPY-sized results, notifications, TLS; a killed server ends the clients',
  options,
  async (t) => {
    const server = await startServer(t, 'postgres', {
      prepare,
      arguments: ({ folder }) => ['-D', join(folder, 'data')],
      // Immediate shutdown: as a crash, but without backends that live on for a while.
      killSignal: 'SIGQUIT',
    });
    await outlives(
      application(t, 'pg', server.port, server.folder),
      server,
      /^lost: (57P01|57P02|ECONNRESET|Connection terminated unexpectedly)/,
    );
  },
);
