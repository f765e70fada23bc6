import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { ApplicationServer, application, limit, outlives } from './support/application.ts';
import { missing, startServer } from './support/server.ts';

const lost = /^lost: close$/;

test('mqtt: all qualities of service, messages of megabytes; it reconnects to a killed mosquitto', {
  ...limit,
  skip: missing('mosquitto'),
}, async (t) => {
  const server = await startServer(t, 'mosquitto', {
    prepare: ({ folder, port }) =>
      writeFileSync(join(folder, 'conf'), `listener ${port} 127.0.0.1\nallow_anonymous true\n`),
    arguments: ({ folder }) => ['-c', join(folder, 'conf')],
  });
  await outlives(application(t, 'mqtt', server.port, 4, 5), server, lost);
});

test('aedes: a broker on millrace serves mqtt clients, is killed, and serves them again', limit, async (t) => {
  const server = await ApplicationServer.start(t, 'aedes');
  await outlives(application(t, 'mqtt', server.port, 3, 4), server, lost);
  await server.close();
});
