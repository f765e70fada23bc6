import test from 'node:test';
import { application, limit, outlives } from './support/application.ts';
import { missing, startServer } from './support/server.ts';

const options = { ...limit, skip: missing('redis-server') };

for (const client of ['ioredis', 'redis'])
  test(`${client}: pipelines, large values and subscriptions; it reconnects to a killed server`, options, async (t) => {
    const server = await startServer(t, 'redis-server', {
      arguments: ({ port, folder }) => [
        ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'],
        ...['--unixsocket', `${folder}/redis.sock`],
      ],
    });
    const app = application(t, client, server.port, `${server.folder}/redis.sock`);
    await outlives(app, server, /^lost: ECONNREFUSED|^lost: ECONNRESET|^lost: close/);
  });
