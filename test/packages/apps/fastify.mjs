/** An HTTP server on millrace's sockets: fastify's `serverFactory` gives it any server. */
import { createHash } from 'node:crypto';
import http from 'node:http';
import { Readable } from 'node:stream';
import Fastify from 'fastify';
import { bytes, heard, LARGE, mount, port, proveMillrace, say } from './app.mjs';

const fastify = Fastify({
  bodyLimit: 64 * 1024 * 1024,
  // Clients close connections that were idle for nearly that long; on a busy machine 5 seconds are not enough.
  serverFactory: (handler) => mount(http.createServer({ keepAliveTimeout: 60_000 }, handler)),
});
fastify.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
fastify.get('/hello/:name', async (request) => {
  proveMillrace(2);
  return { hello: request.params.name, from: request.ip };
});
fastify.get('/large', async (_request, reply) => reply.type('application/octet-stream').send(bytes(LARGE)));
fastify.get('/stream', async (_request, reply) => {
  const large = bytes(LARGE);
  const pieces = Array.from({ length: 300 }, (_, i) => large.subarray(i * 10_000, (i + 1) * 10_000));
  return reply.type('application/octet-stream').send(Readable.from(pieces));
});
fastify.post('/digest', async (request) => {
  const hash = createHash('sha256');
  for await (const chunk of request.body) hash.update(chunk);
  return { digest: hash.digest('hex') };
});
await fastify.listen({ port, host: '127.0.0.1' });
say('listening');
await heard();
fastify.server.closeAllConnections();
await fastify.close();
