import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { application, limit, outlives } from './support/application.ts';
import { serverPort } from './support/port.ts';
import { missing, startServer } from './support/server.ts';

const options = { ...limit, skip: missing('rabbitmq-server', 'epmd') };

test('amqplib: queues, confirms, messages of megabytes; a killed RabbitMQ ends the connection', options, async (t) => {
  // Erlang's port mapper, which RabbitMQ would otherwise start by itself and leave behind.
  const epmd = await startServer(t, 'epmd', {
    arguments: ({ port }) => ['-address', '127.0.0.1', '-port', String(port)],
  });
  const distributionPort = await serverPort();
  const server = await startServer(t, 'rabbitmq-server', {
    prepare: ({ folder, port }) => writeFileSync(join(folder, 'rabbit.conf'), `listeners.tcp.1 = 127.0.0.1:${port}\n`),
    arguments: () => [],
    env: ({ folder, port }) => ({
      // One process, which can be killed, instead of a shell that waits for it.
      RUNNING_UNDER_SYSTEMD: 'true',
      ERL_EPMD_ADDRESS: '127.0.0.1',
      ERL_EPMD_PORT: String(epmd.port),
      RABBITMQ_NODENAME: `millrace-${port}@localhost`,
      RABBITMQ_DIST_PORT: String(distributionPort),
      RABBITMQ_CONFIG_FILE: join(folder, 'rabbit.conf'),
      RABBITMQ_CONF_ENV_FILE: join(folder, 'none'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'none'),
      RABBITMQ_MNESIA_BASE: folder,
      RABBITMQ_LOG_BASE: folder,
      RABBITMQ_LOGS: '-',
    }),
  });
  await outlives(application(t, 'amqplib', server.port), server, /^lost: /);
});
