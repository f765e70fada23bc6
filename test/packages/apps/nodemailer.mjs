import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createTransport } from 'nodemailer';
import { again, bytes, LARGE, port, proveMillrace, say } from './app.mjs';

/** A mail of some megabytes; CRLF, so that no byte changes on its way. */
const raw = Buffer.from(
  `From: a@example.com\r\nTo: b@example.com\r\nSubject: large\r\n\r\n${bytes(LARGE).toString('base64').replace(/.{76}/g, '$&\r\n')}\r\n.leading dot\r\n`,
);
const digest = createHash('sha256').update(raw).digest('hex');
const envelope = { from: 'a@example.com', to: ['b@example.com'] };

/** Over TLS from the start, or by STARTTLS. */
const isTls = process.argv[3] === 'tls';

function open(options) {
  return createTransport({
    ...{ host: '127.0.0.1', port, auth: { user: 'user', pass: 'secret' }, tls: { rejectUnauthorized: false } },
    ...{ secure: isTls, ...options },
  });
}

async function send(transport, way) {
  assert.equal(await transport.verify(), true);
  const replies = await Promise.all([1, 2, 3].map(() => transport.sendMail({ raw, envelope })));
  for (const { response } of replies) assert.match(response, new RegExp(`${raw.length} ${digest} ${way} 127.0.0.1$`));
}

const pool = open({ pool: true, maxConnections: 2 });
await send(pool, 'secure');
if (!isTls) {
  const plain = open({ ignoreTLS: true });
  // smtp-server takes passwords over TLS only.
  await assert.rejects(plain.sendMail({ raw, envelope }), { code: 'EAUTH' });
  plain.close();
}
proveMillrace();
say('connected');
const failure = await new Promise((resolve) => {
  (async () => {
    for (;;) await pool.sendMail({ raw, envelope });
  })().catch(resolve);
});
say(`lost: ${failure.code}`);
await again(() => send(pool, 'secure'));
proveMillrace();
pool.close();
say('connected again');
