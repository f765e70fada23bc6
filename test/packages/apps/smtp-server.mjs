/** A mail server that knows one user, offers STARTTLS with a certificate of its own, and answers with a digest of the mail. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SMTPServer } from 'smtp-server';
import { heard, port, proveMillrace, say } from './app.mjs';

const [, , , folder, way] = process.argv;
const server = new SMTPServer({
  secure: way === 'tls',
  key: readFileSync(join(folder, 'tls.key')),
  cert: readFileSync(join(folder, 'tls.crt')),
  disableReverseLookup: true,
  maxAllowedUnauthenticatedCommands: 100,
  closeTimeout: 5000,
  onAuth({ username, password }, _session, callback) {
    const isKnown = username === 'user' && password === 'secret';
    callback(isKnown ? null : new Error('who are you?'), { user: username });
  },
  onData(stream, session, callback) {
    proveMillrace(2);
    const hash = createHash('sha256');
    let size = 0;
    stream.on('data', (chunk) => {
      hash.update(chunk);
      size += chunk.length;
    });
    stream.on('end', () =>
      callback(null, `${size} ${hash.digest('hex')} ${session.secure ? 'secure' : 'plain'} ${session.remoteAddress}`),
    );
  },
});
// Clients of a killed test, or that close without QUIT.
server.on('error', () => {});
server.listen(port, '127.0.0.1', () => say('listening'));
await heard();
await new Promise((resolve) => server.close(resolve));
