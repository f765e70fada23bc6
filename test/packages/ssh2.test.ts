import { mkdirSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { ApplicationServer, application, limit, outlives } from './support/application.ts';
import { missing, startServer } from './support/server.ts';

test(
  'ssh2: a client and a server on millrace run commands and forward connections; a killed server closes the client',
  limit,
  async (t) => {
    const server = await ApplicationServer.start(t, 'ssh2-server');
    await outlives(application(t, 'ssh2', server.port, 'cat', 'somebody'), server, /^lost: close/);
    await server.close();
  },
);

test('ssh2: files go to and from sshd, and connections through it; a killed sshd closes the client', {
  ...limit,
  skip: missing('sshd', 'ssh-keygen'),
}, async (t) => {
  const server = await startServer(t, 'sshd', {
    // Without root's rights it would let in none but its own user, whose account is locked.
    keepsRights: true,
    prepare(server) {
      // The service makes this folder, which only root's sshd asks for.
      if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });
      for (const name of ['host', 'user'])
        server.run('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', join(server.folder, name));
      server.run('cp', 'user.pub', 'authorized');
    },
    arguments: ({ folder, port }) => [
      ...['-D', '-e', '-f', '/dev/null', '-p', String(port), '-h', join(folder, 'host')],
      ...Object.entries({
        ListenAddress: '127.0.0.1',
        AuthorizedKeysFile: join(folder, 'authorized'),
        PidFile: 'none',
        StrictModes: 'no',
        UsePAM: 'no',
        Subsystem: 'sftp internal-sftp',
      }).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    ],
  });
  const { folder, port } = server;
  const app = application(t, 'ssh2', port, 'sftp', userInfo().username, join(folder, 'user'), folder);
  await outlives(app, server, /^lost: close/);
});
