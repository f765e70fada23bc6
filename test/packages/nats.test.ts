import test from 'node:test';
import { application, limit, outlives } from './support/application.ts';
import { makeCertificate } from './support/certificate.ts';
import { asNobody, missing, startServer } from './support/server.ts';

for (const way of ['plain', 'tls']) {
  const skip = missing('nats-server', ...(way === 'tls' ? ['openssl'] : []));
  test(`nats (${way}): subjects, requests, large payloads; it reconnects to a killed server`, {
    ...limit,
    skip,
  }, async (t) => {
    const server = await startServer(t, 'nats-server', {
      prepare: ({ folder }) => makeCertificate(folder, asNobody),
      arguments: ({ port, folder }) => [
        ...['--addr', '127.0.0.1', '--port', String(port)],
        ...(way === 'tls' ? ['--tls', '--tlscert', `${folder}/tls.crt`, '--tlskey', `${folder}/tls.key`] : []),
      ],
    });
    await outlives(application(t, 'nats', server.port, way), server, /^lost: disconnect$/);
  });
}
