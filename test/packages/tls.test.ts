/** Packages over TLS: a server that can be verified is accepted, a wrong name and an unknown authority are refused as by Node. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { folder } from '../support/net.ts';
import { ApplicationServer, application, ends, limit } from './support/application.ts';
import { makeSignedCertificate } from './support/certificate.ts';
import { asNobody, type InstalledServer, missing, startServer } from './support/server.ts';

type Stage = Parameters<typeof startServer>[0];

interface Running {
  port: number;
  folder: string;
  close?: () => Promise<void>;
}

/** A server of apps/, which takes the folder of its certificate, and more. */
async function own(t: Stage, name: string, ...more: string[]): Promise<Running> {
  const path = await folder(t);
  makeSignedCertificate(path);
  const server = await ApplicationServer.start(t, name, path, ...more);
  return { port: server.port, folder: path, close: () => server.close() };
}

function preparePostgres(server: InstalledServer): void {
  const data = join(server.folder, 'data');
  server.run('initdb', '--pgdata', data, '--username', 'app', '--auth', 'trust', '--encoding', 'UTF8', '--no-sync');
  makeSignedCertificate(server.folder, asNobody);
}

const postgres = (t: Stage): Promise<Running> =>
  startServer(t, 'postgres', {
    prepare: preparePostgres,
    arguments: ({ folder, port }) => [
      ...['-D', join(folder, 'data'), '-p', String(port), '-k', folder, '-h', '127.0.0.1', '-F', '-l'],
      ...['-c', `ssl_key_file=${folder}/tls.key`, '-c', `ssl_cert_file=${folder}/tls.crt`],
    ],
    killSignal: 'SIGQUIT',
  });

const redis = (t: Stage): Promise<Running> =>
  startServer(t, 'redis-server', {
    prepare: ({ folder }) => makeSignedCertificate(folder, asNobody),
    arguments: ({ port, folder }) => [
      ...['--port', '0', '--tls-port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''],
      ...['--tls-cert-file', `${folder}/tls.crt`, '--tls-key-file', `${folder}/tls.key`],
      ...['--tls-auth-clients', 'no'],
    ],
  });

const mosquitto = (t: Stage): Promise<Running> =>
  startServer(t, 'mosquitto', {
    prepare({ folder, port }) {
      makeSignedCertificate(folder, asNobody);
      const listener = `listener ${port} 127.0.0.1\nallow_anonymous true\n`;
      writeFileSync(join(folder, 'conf'), `${listener}certfile ${folder}/tls.crt\nkeyfile ${folder}/tls.key\n`);
    },
    arguments: ({ folder }) => ['-c', join(folder, 'conf')],
  });

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const tooOld = (major < 22 || (major === 22 && minor < 19)) && 'undici 8 needs Node.js 22.19';

const cases: [client: string, server: string, start: (t: Stage) => Promise<Running>, skip: string | false][] = [
  ['pg', 'PostgreSQL', postgres, missing('postgres', 'initdb')],
  ['ioredis', 'Redis', redis, missing('redis-server')],
  ['mqtt', 'mosquitto', mosquitto, missing('mosquitto')],
  ['mqtt', 'aedes', (t) => own(t, 'aedes'), false],
  ['nodemailer', 'smtp-server (STARTTLS)', (t) => own(t, 'smtp-server', 'starttls'), false],
  ['nodemailer-smtps', 'smtp-server (smtps)', (t) => own(t, 'smtp-server', 'tls'), false],
  ['undici', 'https', (t) => own(t, 'https'), tooOld],
  ['undici-h2', 'http2', (t) => own(t, 'https', 'h2'), tooOld],
  ['ws', 'https', (t) => own(t, 'https'), false],
];

for (const [client, server, start, skip] of cases)
  test(`${client} verifies ${server}, and refuses whom Node refuses`, {
    ...limit,
    skip: skip || missing('openssl'),
  }, async (t) => {
    const running = await start(t);
    const app = application(t, 'tls', running.port, client, running.folder);
    assert.equal(await app.line(), 'accepted');
    assert.equal(await app.line(), 'ERR_TLS_CERT_ALTNAME_INVALID');
    assert.equal(await app.line(), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    await ends(app);
    await running.close?.();
  });
