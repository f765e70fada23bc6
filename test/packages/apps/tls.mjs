/**
 * A package's client over TLS. Arguments: port, package, folder with `ca.crt`. It converses with the server that it can verify,
 * and says the code with which it refuses another name, and a server whose authority it does not know.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assertSame, bytes, LARGE, next, port, proveMillrace, say } from './app.mjs';

const [, , , name, folder] = process.argv;
const host = '127.0.0.1';
const ca = readFileSync(join(folder, 'ca.crt'), 'utf8');
const large = bytes(LARGE);

/** Each connects with these options of `tls.connect`, asks for something large, closes; or rejects. */
const clients = {
  async pg(ssl) {
    const { default: pg } = await import('pg');
    const client = new pg.Client({ host, port, user: 'app', database: 'postgres', ssl });
    await client.connect();
    const { rows } = await client.query('select $1::bytea as large', [large]);
    assertSame(rows[0].large, large, 'a large value');
    proveMillrace(1);
    await client.end();
  },

  async ioredis(tls) {
    const { Redis } = await import('ioredis');
    const redis = new Redis({ host, port, tls, retryStrategy: null, lazyConnect: true });
    const failed = once(redis, 'error').then(([error]) => Promise.reject(error));
    await Promise.race([redis.connect().catch(() => failed), failed]);
    await redis.set('large', large);
    assertSame(await redis.getBuffer('large'), large, 'a large value');
    proveMillrace(1);
    failed.catch(() => {});
    await redis.quit();
  },

  async mqtt(tls) {
    const { default: mqtt } = await import('mqtt');
    const client = mqtt.connect(`mqtts://${host}:${port}`, { ...tls, reconnectPeriod: 0 });
    const closed = next(client, 'close');
    await once(client, 'connect').catch(async (error) => {
      await closed;
      throw error;
    });
    await client.subscribeAsync('news', { qos: 1 });
    const message = next(client, 'message');
    await client.publishAsync('news', large, { qos: 1 });
    assertSame((await message)[1], large, 'a large message');
    proveMillrace(1);
    await client.endAsync();
  },

  async nodemailer(tls) {
    return sendMail({ secure: false, requireTLS: true, tls });
  },

  async 'nodemailer-smtps'(tls) {
    return sendMail({ secure: true, tls });
  },

  async undici(connect) {
    await fetchWithUndici({ connect });
  },

  async 'undici-h2'(connect) {
    assert.equal(await fetchWithUndici({ connect, allowH2: true }), '2.0');
  },

  async ws(tls) {
    const { WebSocket } = await import('ws');
    const socket = new WebSocket(`wss://${host}:${port}/`, { ...tls, perMessageDeflate: false });
    await once(socket, 'open');
    const reply = once(socket, 'message');
    socket.send(large);
    assertSame((await reply)[0], large, 'a large message');
    proveMillrace(1);
    const closed = once(socket, 'close');
    socket.close();
    await closed;
  },
};

async function sendMail(options) {
  const { createTransport } = await import('nodemailer');
  const transport = createTransport({ host, port, auth: { user: 'user', pass: 'secret' }, ...options });
  const text = large.toString('base64').replace(/.{76}/g, '$&\r\n');
  const raw = `From: a@example.com\r\nTo: b@example.com\r\nSubject: large\r\n\r\n${text}\r\n`;
  try {
    const { response } = await transport.sendMail({ raw, envelope: { from: 'a@example.com', to: ['b@example.com'] } });
    assert.match(response, / secure 127\.0\.0\.1$/);
  } finally {
    transport.close();
  }
}

async function fetchWithUndici(options) {
  const { Client } = await import('undici');
  const client = new Client(`https://${host}:${port}`, options);
  try {
    const reply = await client.request({ path: '/', method: 'POST', body: large });
    assertSame(Buffer.from(await reply.body.arrayBuffer()), large, 'a large body');
    proveMillrace(1);
    return reply.headers.version;
  } finally {
    await client.close();
  }
}

/** Node's code; nodemailer puts one of its own in its place, and leaves Node's text. */
function codeOf({ code, message }) {
  if (code !== 'ESOCKET') return code;
  if (/does not match certificate's altnames/.test(message)) return 'ERR_TLS_CERT_ALTNAME_INVALID';
  return /^unable to verify the first certificate/.test(message) ? 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' : code;
}

const client = clients[name];
await client({ ca, servername: 'localhost' });
say('accepted');
for (const options of [{ ca, servername: 'wrong.example' }, { servername: 'localhost' }]) {
  const error = await client(options).then(
    () => assert.fail('it was accepted'),
    (reason) => reason,
  );
  say(codeOf(error));
}
