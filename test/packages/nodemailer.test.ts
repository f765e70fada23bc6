import test from 'node:test';
import { folder } from '../support/net.ts';
import { ApplicationServer, application, limit, outlives } from './support/application.ts';
import { makeCertificate } from './support/certificate.ts';
import { missing } from './support/server.ts';

const options = { ...limit, skip: missing('openssl') };

for (const way of ['starttls', 'tls'])
  test(
    `nodemailer and smtp-server (${way}): mails of megabytes, pooled; a killed server fails the mail`,
    options,
    async (t) => {
      const path = await folder(t);
      makeCertificate(path);
      const server = await ApplicationServer.start(t, 'smtp-server', path, way);
      const app = application(t, 'nodemailer', server.port, way);
      await outlives(app, server, /^lost: (ECONNECTION|ESOCKET|ECONNREFUSED|ECONNRESET)$/);
      await server.close();
    },
  );
