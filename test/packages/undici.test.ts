import test from 'node:test';
import { ApplicationServer, application, limit, outlives } from './support/application.ts';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const skip = (major < 22 || (major === 22 && minor < 19)) && 'undici 8 needs Node.js 22.19';

test('undici and fastify: large bodies both ways, pipelining, aborted bodies; a killed server disconnects', {
  ...limit,
  skip,
}, async (t) => {
  const server = await ApplicationServer.start(t, 'fastify');
  await outlives(
    application(t, 'undici', server.port),
    server,
    /^lost: (UND_ERR_SOCKET|ECONNRESET|UND_ERR_SOCKET ECONNRESET)$/,
  );
  await server.close();
});
