import test from 'node:test';
import { ApplicationServer, application, limit, outlives } from './support/application.ts';

test('ws: messages of all sizes, deflated or not; a killed server closes with 1006', limit, async (t) => {
  const server = await ApplicationServer.start(t, 'ws-server');
  await outlives(application(t, 'ws', server.port), server, /^lost: 1006 1006$/);
  await server.close();
});
