import { join } from 'node:path';
import test from 'node:test';
import { application, limit, outlives } from './support/application.ts';
import { makeCertificate } from './support/certificate.ts';
import { asNobody, type InstalledServer, missing, startServer } from './support/server.ts';

const options = { ...limit, skip: missing('mariadbd', 'mariadb-install-db', 'openssl') };

function prepare(server: InstalledServer): void {
  server.run(
    'mariadb-install-db',
    ...['--no-defaults', `--datadir=${join(server.folder, 'data')}`, '--auth-root-authentication-method=normal'],
    ...['--skip-test-db', '--skip-name-resolve'],
  );
  makeCertificate(server.folder, asNobody);
}

test(
  'mysql2: queries, prepared statements, large values, streams, TLS; a killed server ends the connections',
  options,
  async (t) => {
    const server = await startServer(t, 'mariadbd', {
      prepare,
      arguments: ({ folder, port }) => [
        ...['--no-defaults', `--datadir=${join(folder, 'data')}`, '--bind-address=127.0.0.1', `--port=${port}`],
        ...[`--socket=${folder}/s`, `--pid-file=${folder}/pid`, `--tmpdir=${folder}`, '--max-allowed-packet=64M'],
        ...[`--ssl-key=${folder}/tls.key`, `--ssl-cert=${folder}/tls.crt`, '--innodb-flush-log-at-trx-commit=0'],
        '--skip-name-resolve',
      ],
    });
    await outlives(
      application(t, 'mysql2', server.port, `${server.folder}/s`),
      server,
      /^lost: (PROTOCOL_CONNECTION_LOST|ECONNRESET)$/,
    );
  },
);
