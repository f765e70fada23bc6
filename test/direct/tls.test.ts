/** Secure connections of the direct tier: the other end is node:tls wherever that can be. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import nodeTls, { type TLSSocket } from 'node:tls';
import { type Connection, type ConnectOptions, connect, listen } from 'millrace/direct';
import { createSecureContext, engine } from 'millrace/tls';
import { run } from '../support/child.ts';
import {
  collect,
  dialling,
  folder,
  leakGuard,
  portOf,
  serve as serveRaw,
  settled,
  take,
  turns,
  until,
} from '../support/net.ts';
import { certificates, needsOpenssl, needsOwn } from '../support/tls.ts';
import { Book, peer } from './support/direct.ts';
import { dialTls, nodeServer, peered, peerTls, serveTls } from './support/tls.ts';

await leakGuard();

const limit = { ...needsOpenssl, timeout: 30_000 };

/** A context of `millrace/tls`, with an authority that lets clients in. */
const contextOf = (pair: { key: Buffer; cert: Buffer }) => createSecureContext({ ...pair, ca: certificates.ca });

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

// ------------------------------------------------------------------------------------------------------------ data

test('open comes when the handshake is done, and what is written arrives', limit, async (t) => {
  const book = new Book();
  const { server } = await serveTls(t, book.handlers({ data: (c, view) => void c.write(view) }));
  const socket = await peered(t, server, { ALPNProtocols: ['b'] });
  socket.write('hello');
  assert.equal((await take(socket, 5)).toString(), 'hello');
  const c = await book.connection();
  assert.deepEqual([c.bytesRead, c.bytesWritten, c.bufferedBytes], [5, 5, 0]);
  assert.equal(c.remote?.port, socket.localPort);
  assert.equal(c.tls?.protocol, 'TLSv1.3');
  assert.equal(c.tls.cipher.name, socket.getCipher().name);
  assert.equal(c.tls.servername, 'localhost');
  assert.deepEqual([c.tls.authorized, c.tls.peer, c.tls.alpnProtocol], [false, undefined, undefined]);
  assert.equal(c.tls.isSessionReused, false);
  socket.end();
  assert.deepEqual(await book.closed(), { kind: 'ended' });
  assert.deepEqual(book.lines, ['open', 'data', 'end', 'close:ended']);
  assert.equal(c.tls.protocol, 'TLSv1.3', 'what was found out stays');
});

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`writes of every size and form arrive in order, both ways, over ${version}`, limit, async (t) => {
    const sizes = [0, 1, 3, 64, 500, 1365, 1366, 4000, 4095, 4096, 4097, 16_384, 16_385, 65_536, 65_537, 300_000];
    const sent = sizes.map((size, i) => Buffer.alloc(size, String.fromCharCode(97 + i)));
    const book = new Book();
    const { server } = await serveTls(
      t,
      book.handlers({
        open(c) {
          for (const [i, bytes] of sent.entries()) c.write(i % 2 === 0 ? bytes : bytes.toString('latin1'));
        },
      }),
      { minVersion: version, maxVersion: version },
    );
    const socket = await peered(t, server);
    const all = Buffer.concat(sent);
    assert.ok((await take(socket, all.length)).equals(all));
    for (const bytes of sent) socket.write(bytes);
    await until(() => book.bytes === all.length, 'all of it');
    assert.ok(Buffer.concat(book.received).equals(all));
    const c = await book.connection();
    await until(() => c.bufferedBytes === 0, 'everything is taken');
    assert.equal(c.bytesWritten, all.length);
    assert.equal(c.tls?.protocol, version);
  });
}

test('a large write before the end arrives whole, with a close_notify behind it', limit, async (t) => {
  const bytes = Buffer.alloc(10 * 1024 * 1024, 'abcdefghijk');
  const book = new Book();
  const { server } = await serveTls(t, book.handlers({ open: (c) => c.end(bytes) }));
  const ours = new Book();
  await dialTls(t, server, {}, ours.handlers()); // which would be told of a truncation
  assert.deepEqual(await ours.closed(), { kind: 'ended' });
  assert.ok(Buffer.concat(ours.received).equals(bytes));
  assert.deepEqual(await book.closed(), { kind: 'ended' });
});

test('a reader that is slow: queued, dropped by nobody, drain when there is room', limit, async (t) => {
  const book = new Book();
  const block = Buffer.alloc(256 * 1024, 'x');
  let taken = 0;
  const fill = (c: Connection): void => {
    while (taken < 64) {
      taken++;
      if (c.write(block) !== 'sent') return;
    }
  };
  const { server } = await serveTls(t, book.handlers({ open: fill, drain: fill }));
  const socket = await peered(t, server);
  socket.pause();
  const c = await book.connection();
  await settled(() => c.bytesWritten);
  assert.ok(c.bufferedBytes > 0 && taken < 64, 'it waits');
  assert.equal(c.write(block), 'queued');
  assert.equal((await take(socket, 65 * block.length)).length, 65 * block.length);
  await until(() => c.bufferedBytes === 0, 'everything is taken');
  assert.ok(book.lines.includes('drain'));
});

test('more than may wait closes the connection, and the peer sees no end', limit, async (t) => {
  const book = new Book();
  const { server } = await serveTls(
    t,
    Object.assign(book.handlers(), { limits: { maxBufferedBytes: 1024 * 1024 } } as const),
  );
  const socket = await peered(t, server);
  socket.pause();
  const c = await book.connection();
  while (c.write(Buffer.alloc(100_000)) !== 'dropped') await turns(1);
  assert.equal((await book.closed()).kind, 'overflow');
});

test('terminate closes at once, and a client of ours is told of a reset', limit, async (t) => {
  const book = new Book();
  const { server } = await serveTls(t, book.handlers({ data: (c) => c.terminate() }));
  const ours = new Book();
  const c = await dialTls(t, server, {}, ours.handlers());
  c.write('now');
  assert.deepEqual(await book.closed(), { kind: 'terminated' });
  assert.equal((await ours.closed()).kind, 'reset');
});

test('paused, nothing is shown; resumed, everything', limit, async (t) => {
  const book = new Book();
  const { server } = await serveTls(t, book.handlers({ open: (c) => c.pause() }));
  const socket = await peered(t, server);
  const bytes = Buffer.alloc(1024 * 1024, 'abc');
  socket.write(bytes);
  const c = await book.connection();
  await turns(50);
  assert.ok(book.bytes <= 128 * 1024, `${book.bytes} bytes`);
  c.resume();
  await until(() => book.bytes === bytes.length, 'all of it');
});

test('with allowHalfOpen our side stays open behind the close_notify of the peer', limit, async (t) => {
  const book = new Book();
  const { server } = await serveTls(t, Object.assign(book.handlers(), { allowHalfOpen: true }));
  const ours = new Book();
  const c = await dialTls(t, server, {}, ours.handlers());
  c.end('that is all');
  await book.until('end');
  await turns(5);
  const theirs = await book.connection();
  assert.equal(theirs.write('still here'), 'sent');
  theirs.end(' and gone');
  assert.deepEqual(await ours.closed(), { kind: 'ended' });
  assert.equal(ours.text, 'still here and gone');
  assert.deepEqual(await book.closed(), { kind: 'ended' });
  assert.equal(book.text, 'that is all');
});

test('promise jobs of a handler run before the next one, although all came in one flight', limit, async (t) => {
  const lines: string[] = [];
  const note = (line: string) => () => {
    lines.push(line);
    void Promise.resolve().then(() => lines.push(`behind ${line}`));
  };
  const { server } = await serveTls(t, { open: note('open'), data: note('data'), end: note('end') });
  const socket = peerTls(t, server);
  socket.end('at once'); // behind the handshake, with the close_notify
  await until(() => lines.includes('behind end'), 'the end');
  assert.deepEqual(lines, ['open', 'behind open', 'data', 'behind data', 'end', 'behind end']);
});

test('what a handler throws ends its connection, and is told', limit, async (t) => {
  const book = new Book();
  const thrown = new Error('on purpose');
  const { server } = await serveTls(
    t,
    book.handlers({
      data: () => {
        throw thrown;
      },
    }),
  );
  const socket = await peered(t, server);
  socket.write('x');
  assert.deepEqual(await book.closed(), { kind: 'handler', error: thrown });
  assert.deepEqual(book.lines, ['open', 'data', 'error', 'close:handler']);
});

test('reload changes the handlers of connections that are open', limit, async (t) => {
  const [first, second] = [new Book(), new Book()];
  const { server } = await serveTls(t, first.handlers());
  const socket = await peered(t, server);
  await first.connection();
  server.reload(second.handlers());
  socket.end('to the second');
  await second.closed();
  assert.deepEqual([first.text, second.text], ['', 'to the second']);
});

test('over a unix socket', limit, async (t) => {
  const path = join(await folder(t), 's');
  const book = new Book();
  const server = await listen({ path, tls: certificates.server, ...book.handlers({ data: (c, v) => void c.end(v) }) });
  t.after(() => server.close());
  const ours = new Book();
  const c = await connect({ path, tls: { ca: certificates.ca }, ...ours.handlers() });
  c.write('hello');
  assert.deepEqual(await ours.closed(), { kind: 'ended' });
  assert.equal(ours.text, 'hello');
});

test('a transfer of decrypted memory leaves it where it is', { ...needsOwn, timeout: 30_000 }, async (t) => {
  const { server } = await serveTls(t, {
    data: (c, view) => {
      try {
        structuredClone(view, { transfer: [view.buffer as ArrayBuffer] });
      } catch (error) {
        assert.equal((error as Error).name, 'DataCloneError');
      }
      c.write(view.length > 0 ? 'hello' : 'gone');
    },
  });
  const socket = await peered(t, server);
  for (let i = 0; i < 3; i++) {
    const back = take(socket, 5);
    socket.write('hello');
    assert.equal(String(await back), 'hello');
  }
});

test('MILLRACE_DEBUG_VIEWS=1 overwrites decrypted views, too', limit, async (t) => {
  const { key, cert } = certificates.server;
  const child = run(
    t,
    `const { listen } = await import('millrace/direct');
    const views = [];
    const server = await listen({ port: 0, hostname: '127.0.0.1',
      tls: { key: ${JSON.stringify(String(key))}, cert: ${JSON.stringify(String(cert))} },
      data(c, view) { views.push(view); c.write(view); } });
    say(String(server.port));
    heard(() => { say(String(views.every((view) => view.every((byte) => byte === 0xdb)))); process.exit(); });`,
    { env: { MILLRACE_DEBUG_VIEWS: '1' } },
  );
  const port = Number(await child.line());
  const bytes = Buffer.from(Array.from({ length: 500_000 }, (_, i) => i % 200));
  const ours = new Book();
  const c = await dialTls(t, port, {}, ours.handlers());
  for (const size of [1, 100, 5000, 500_000]) {
    ours.received.length = 0;
    c.write(bytes.subarray(0, size));
    await until(() => ours.bytes === size, `${size} bytes`);
    assert.ok(Buffer.concat(ours.received).equals(bytes.subarray(0, size)));
  }
  child.say('?');
  assert.equal(await child.line(), 'true');
  await child.exit;
});

// --------------------------------------------------------------------------------------------------------- who it is

test('a client certificate that is verified says who the peer is', limit, async (t) => {
  const book = new Book();
  const { server } = await serveTls(t, book.handlers(), { ca: certificates.ca, requestCert: true });
  await peered(t, server, certificates.client);
  const { tls } = await book.connection();
  assert.deepEqual([tls?.authorized, tls?.authorizationError], [true, undefined]);
  assert.equal(tls?.peer?.subject.commonName, 'client');
  assert.equal(tls.peer.spiffeId, 'spiffe://example/client');
  assert.deepEqual(tls.peer.subjectAltNames.uri, ['spiffe://example/client']);
  assert.equal(tls.peerCertificate?.fingerprint256, tls.peer.fingerprint256);
});

for (const [what, client, code] of [
  ['no certificate', () => ({}), /PEER_DID_NOT_RETURN_A_CERTIFICATE/],
  ['one of an unknown authority', () => certificates.selfSigned, /DEPTH_ZERO_SELF_SIGNED_CERT/],
  ['one that has expired', () => certificates.expired, /CERT_HAS_EXPIRED/],
  ['one that was revoked', () => certificates.revoked, /CERT_REVOKED/],
] as const) {
  test(`a client with ${what} is refused: nothing opens`, limit, async (t) => {
    const book = new Book();
    const { ca, crl } = certificates;
    const list = what === 'one that was revoked' ? { crl } : {};
    const { server, errors } = await serveTls(t, book.handlers(), { ca, ...list, requestCert: true });
    const socket = peerTls(t, server, client()).on('error', () => {});
    socket.write('let me in');
    await until(() => errors.length === 1, 'the refusal');
    assert.match(`${codeOf(errors[0])}`, code);
    assert.deepEqual([book.lines, server.connectionCount, server.handshakeCount], [[], 0, 0]);
  });
}

test('with rejectUnauthorized: false it opens, and is nobody', limit, async (t) => {
  const book = new Book();
  const { ca } = certificates;
  const { server } = await serveTls(t, book.handlers(), { ca, requestCert: true, rejectUnauthorized: false });
  await peered(t, server, certificates.selfSigned);
  const first = await book.connection();
  assert.deepEqual([first.tls?.authorized, first.tls?.peer], [false, undefined]);
  assert.equal(first.tls?.authorizationError, 'DEPTH_ZERO_SELF_SIGNED_CERT');
  assert.equal(first.tls?.peerCertificate?.subject, 'CN=localhost');
  await peered(t, server);
  await until(() => book.connections.length === 2, 'the second');
  assert.equal(book.connections[1]?.tls?.authorizationError, 'UNABLE_TO_GET_ISSUER_CERT');
});

for (const [what, certificate, options, code] of [
  ['for another name', 'other', {}, 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ['that has expired', 'expired', {}, 'CERT_HAS_EXPIRED'],
  ['signed by itself', 'selfSigned', {}, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  ['of an unknown authority', 'server', { ca: [] as Buffer[] }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  ['that was revoked', 'revoked', { crl: true }, 'CERT_REVOKED'],
] as const) {
  test(`a server with a certificate ${what} is refused: connect says why, and sends nothing`, limit, async (t) => {
    let lines = 0;
    const port = await nodeServer(t, certificates[certificate], (socket) => socket.on('data', () => lines++));
    const own = 'ca' in options ? { ca: certificates.client.cert } : {};
    const crl = 'crl' in options ? { crl: certificates.crl } : {};
    const book = new Book();
    await assert.rejects(dialTls(t, port, { ...own, ...crl }, book.handlers({ open: (c) => void c.write('secret') })), {
      code,
    });
    assert.deepEqual([book.lines, lines], [[], 0]);
  });
}

test('the name is that of the host, and an address is looked for as one', limit, async (t) => {
  let asked: string | undefined | false | null;
  const port = await nodeServer(t, {}, (socket) => {
    asked = (socket as TLSSocket & { servername?: string | false | null }).servername;
  });
  const tls = { ca: certificates.ca };
  for (const [hostname, servername] of [
    ['localhost', 'localhost'],
    ['127.0.0.1', false],
  ] as const) {
    asked = undefined;
    const c = await connect({ port, hostname, family: 4, tls });
    await until(() => asked !== undefined, 'the server');
    assert.equal(asked, servername);
    assert.equal(c.tls?.peer?.subject.commonName, 'localhost');
    c.terminate();
    await until(() => c.isClosed, 'the end');
  }
});

test('checkServerIdentity has the last word', limit, async (t) => {
  const port = await nodeServer(t, certificates.other);
  const seen: string[] = [];
  const c = await dialTls(t, port, {
    checkServerIdentity: (name, { subjectaltname }) => {
      seen.push(name, `${subjectaltname}`);
      return undefined;
    },
  });
  assert.equal(c.tls?.authorized, true);
  assert.deepEqual(seen, ['localhost', 'DNS:other.example, DNS:*.wild.example']);
  const refusal = new Error('not that one');
  await assert.rejects(dialTls(t, port, { checkServerIdentity: () => refusal }), refusal);
});

test('without verification a client opens, and says why it should not have', limit, async (t) => {
  const port = await nodeServer(t, certificates.other);
  const c = await dialTls(t, port, { rejectUnauthorized: false });
  assert.equal(c.tls?.authorized, false);
  assert.equal(c.tls.authorizationError, 'ERR_TLS_CERT_ALTNAME_INVALID');
  assert.equal(c.tls.peer, undefined);
});

// ------------------------------------------------------------------------------------------------------------ choices

test('ALPN: the first of ours that the peer has, and no handshake without one', limit, async (t) => {
  const book = new Book();
  const { server, errors } = await serveTls(t, book.handlers(), { ALPNProtocols: ['x', 'y', 'z'] });
  const socket = await peered(t, server, { ALPNProtocols: ['z', 'y'] });
  assert.equal(socket.alpnProtocol, 'y');
  assert.equal((await book.connection()).tls?.alpnProtocol, 'y');
  const c = await dialTls(t, server, { ALPNProtocols: ['x'] });
  assert.equal(c.tls?.alpnProtocol, 'x');
  await assert.rejects(dialTls(t, server, { ALPNProtocols: ['q'] }));
  await until(() => errors.length === 1, 'the error');
});

test('SNICallback gives each name its certificate, at once or later', limit, async (t) => {
  const other = contextOf(certificates.other);
  const { server, errors } = await serveTls(
    t,
    {},
    {
      SNICallback(name, answer) {
        if (name === 'other.example') setImmediate(answer, null, other);
        else if (name === 'broken.example') throw new Error('on purpose');
        else if (name === 'refused.example') answer(new Error('refused'));
        else answer(null);
      },
    },
  );
  const c = await dialTls(t, server, { servername: 'other.example' });
  assert.equal(c.tls?.peer?.subject.commonName, 'other.example');
  assert.equal((await dialTls(t, server)).tls?.peer?.subject.commonName, 'localhost');
  for (const servername of ['broken.example', 'refused.example']) {
    await assert.rejects(dialTls(t, server, { servername }));
    await until(() => errors.length === 1, 'the error');
    errors.length = 0;
  }
  assert.equal(server.handshakeCount, 0);
});

test('setSecureContext is for connections from now on', limit, async (t) => {
  const { server } = await serveTls(t);
  const first = await dialTls(t, server);
  server.setSecureContext(certificates.other);
  const second = await dialTls(t, server, { servername: 'other.example' });
  assert.equal(first.tls?.peer?.subject.commonName, 'localhost');
  assert.equal(second.tls?.peer?.subject.commonName, 'other.example');
  assert.throws(() => server.setSecureContext({ key: certificates.server.key }), { code: 'MILLRACE_ERR_BAD_OPTION' });
  assert.throws(() => server.setSecureContext({ ...certificates.server, cert: certificates.other.cert }), {
    code: /ERR_OSSL_X509_KEY_VALUES_MISMATCH/,
  });
  await dialTls(t, server, { servername: 'other.example' });
});

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: a session is resumed with the server it was made with, and with no other`, limit, async (t) => {
    const book = new Book();
    const { server } = await serveTls(t, book.handlers({ data: (c, v) => void c.write(v) }), {
      maxVersion: version,
      ca: certificates.ca,
      requestCert: true,
    });
    const sessions: Buffer[] = [];
    const onSession = (session: Buffer) => void sessions.push(session);
    const ours = new Book();
    const first = await dialTls(t, server, { ...certificates.client, onSession }, ours.handlers());
    assert.equal(first.tls?.isSessionReused, false);
    first.write('x');
    await until(() => ours.bytes === 1 && sessions.length > 0, 'a session');
    const session = sessions[0] as Buffer;
    const again = await dialTls(t, server, { ...certificates.client, session });
    assert.deepEqual([again.tls?.isSessionReused, again.tls?.authorized], [true, true]);
    if (engine !== 'node') assert.equal(again.tls?.peer?.subject.commonName, 'localhost'); // Node's client shows none
    await until(() => book.connections.length === 2, 'the second');
    const theirs = book.connections[1]?.tls;
    assert.deepEqual([theirs?.isSessionReused, theirs?.peer?.spiffeId], [true, 'spiffe://example/client']);
    await assert.rejects(dialTls(t, server, { ...certificates.client, session, servername: 'else.example' }), {
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    });
  });
}

test('where SNICallback chooses whom to trust, no session lets in whom it would not', limit, async (t) => {
  const strict = createSecureContext({ ...certificates.server, ca: certificates.selfSigned.cert });
  const { server, errors } = await serveTls(
    t,
    {},
    {
      ca: certificates.ca,
      requestCert: true,
      SNICallback: (name, answer) => answer(null, name === 'localhost' ? strict : undefined),
    },
  );
  const sessions: Buffer[] = [];
  const tls = { ...certificates.client, rejectUnauthorized: false };
  const onSession = (session: Buffer) => void sessions.push(session);
  const lax = await dialTls(t, server, { ...tls, servername: 'lax.example', onSession });
  assert.equal(lax.tls?.authorized, false); // the name; but it was let in
  lax.end();
  await until(() => lax.isClosed, 'the end');
  const session = sessions[0];
  const book = new Book();
  const asked = dialTls(t, server, { ...tls, ...(session === undefined ? {} : { session }) }, book.handlers());
  await asked.catch(() => {}); // TLS 1.3: it hears of the refusal later
  await until(() => errors.length === 1, 'the refusal');
});

// ----------------------------------------------------------------------------------------------------------- in between

test(
  'connect gives up in the handshake: by its limit, by its signal, by the limit of the handshake',
  limit,
  async (t) => {
    const silent = await listen({ port: 0, hostname: '127.0.0.1' });
    t.after(() => silent.terminateAll());
    const where = { port: silent.port as number, hostname: '127.0.0.1', tls: true } satisfies ConnectOptions;
    const gone = () => until(() => silent.connectionCount === 0, 'the end of the connection');
    await assert.rejects(connect({ ...where, timeoutMs: 50 }), { code: 'ETIMEDOUT' });
    await gone();
    const controller = new AbortController();
    const given = connect({ ...where, signal: controller.signal });
    await until(() => silent.connectionCount === 1, 'the connection');
    const reason = new Error('no longer');
    controller.abort(reason);
    await assert.rejects(given, reason);
    await gone();
    await assert.rejects(connect({ ...where, tls: { handshakeTimeoutMs: 1 } }), { code: 'ERR_TLS_HANDSHAKE_TIMEOUT' });
    await gone();
  },
);

test('half-done handshakes count among maxConnections, and close() waits for them', limit, async (t) => {
  const book = new Book();
  const { server, errors } = await serveTls(t, Object.assign(book.handlers(), { maxConnections: 2 }));
  const [first, second] = [await peer(t, server), await peer(t, server)];
  await until(() => server.handshakeCount === 2, 'two handshakes');
  assert.equal(server.connectionCount, 0);
  const third = await peer(t, server);
  third.resume();
  await until(() => third.readableEnded || third.destroyed, 'the end of the third');
  first.destroy();
  await until(() => errors.length === 1 && server.handshakeCount === 1, 'the first has left');
  assert.equal(codeOf(errors[0]), 'ECONNRESET');
  let isClosed = false;
  const closed = server.close().then(() => {
    isClosed = true;
  });
  await turns(10);
  assert.equal(isClosed, false);
  second.destroy();
  await closed;
  assert.deepEqual([book.lines, server.handshakeCount], [[], 0]);
});

test('terminateAll ends handshakes as well, and tells of none', limit, async (t) => {
  const { server, errors } = await serveTls(t);
  const socket = await peer(t, server);
  await until(() => server.handshakeCount === 1, 'a handshake');
  server.terminateAll();
  await server.close();
  await until(() => socket.closed, 'the reset');
  assert.deepEqual([errors, server.handshakeCount], [[], 0]);
});

// ------------------------------------------------------------------------------------------------------------ startTls

test('a server secures a connection in mid-stream: what was written before leaves in plain', limit, async (t) => {
  const book = new Book();
  const { server } = await serveTls(
    t,
    book.handlers({
      open: (c) => void c.write('220 ready\r\n'),
      data(c, view) {
        if (String(view) !== 'STARTTLS\r\n') return void c.write(view);
        c.write('220 go ahead\r\n');
        c.startTls();
        c.write('and now in secret\r\n');
      },
    }),
    { onDemand: true },
  );
  const plain = await peer(t, server);
  assert.equal(String(await take(plain, 11)), '220 ready\r\n');
  plain.write('STARTTLS\r\n');
  assert.equal(String(await take(plain, 14)), '220 go ahead\r\n');
  const c = await book.connection();
  const { tls: before } = c;
  assert.equal(before, undefined);
  const socket = await peered(t, server, { socket: plain });
  assert.equal(String(await take(socket, 19)), 'and now in secret\r\n');
  socket.write('echo');
  assert.equal(String(await take(socket, 4)), 'echo');
  assert.equal(c.tls?.servername, 'localhost');
  assert.deepEqual([c.bytesRead, c.bytesWritten], [14, 11 + 14 + 19 + 4]);
  socket.end();
  await book.closed();
  assert.deepEqual(book.lines, ['open', 'data', 'secure', 'data', 'end', 'close:ended']);
});

test('a client secures a connection in mid-stream, behind much that was written before', limit, async (t) => {
  const bytes = Buffer.alloc(4 * 1024 * 1024, 'plain');
  const theirs = new Book();
  const { server } = await serveTls(
    t,
    theirs.handlers({
      data(c, view) {
        if (c.tls !== undefined) c.write(view);
        else if (theirs.bytes === bytes.length) {
          c.write('go');
          c.startTls();
        }
      },
    }),
    { onDemand: true },
  );
  const book = new Book();
  const c = await dialTls(
    t,
    server,
    { onDemand: true },
    book.handlers({
      data(c) {
        if (c.tls !== undefined || book.text !== 'go') return;
        c.startTls();
        c.write('secret');
      },
    }),
  );
  c.write(bytes);
  await until(() => book.text === 'gosecret', 'the echo');
  assert.ok(Buffer.concat(theirs.received).subarray(0, bytes.length).equals(bytes));
  assert.equal(c.tls?.authorized, true);
  c.end();
  assert.deepEqual(await book.closed(), { kind: 'ended' });
});

test('startTls with the first bytes of the hello, however they are cut', limit, async (t) => {
  const book = new Book();
  const { server } = await serveTls(
    t,
    book.handlers({
      data(c, view) {
        if (c.tls !== undefined) c.write(view);
        else c.startTls(view.subarray(5));
      },
    }),
    { onDemand: true },
  );
  for (const cut of [0, 1, 7, 100, 100_000]) {
    const relay = await serveRaw(t, (near) => {
      near.once('data', (hello: Buffer) => {
        far.write(Buffer.concat([Buffer.from('PLAIN'), hello.subarray(0, cut)]));
        far.write(hello.subarray(cut));
        near.pipe(far);
      });
      const far = dialling(t, { port: server.port as number, host: '127.0.0.1' }).on('error', () => {});
      far.pipe(near.on('error', () => {}));
    });
    const socket = await peered(t, server, { port: portOf(relay) });
    socket.write('echo');
    assert.equal(String(await take(socket, 4)), 'echo');
    socket.destroy();
  }
});

test('a handshake that fails in mid-stream closes the connection with why', limit, async (t) => {
  const book = new Book();
  const { server } = await serveTls(t, book.handlers({ data: (c) => c.startTls() }), { onDemand: true });
  const plain = await peer(t, server);
  plain.write('begin');
  await book.until('data');
  await turns(5);
  plain.write('this is no hello, surely it is not');
  const reason = await book.closed();
  assert.equal(reason.kind, 'tls');
  assert.deepEqual(book.lines, ['open', 'data', 'error', 'close:tls']);
});

test('startTls where it makes no sense is refused', limit, async (t) => {
  const errors: unknown[] = [];
  const attempt = (call: () => void): void => {
    try {
      call();
    } catch (error) {
      errors.push(codeOf(error));
    }
  };
  const { server } = await serveTls(t, { open: (c) => attempt(() => c.startTls()) });
  await peered(t, server);
  await until(() => errors.length === 1, 'the first error');
  const demand = await serveTls(
    t,
    {
      open(c) {
        attempt(() => c.startTls('text' as never));
        c.startTls();
        attempt(() => c.startTls());
      },
    },
    { onDemand: true },
  );
  await peered(t, demand.server);
  await until(() => errors.length === 3, 'three errors');
  const ended = (c: Connection): void => {
    c.end();
    attempt(() => c.startTls());
  };
  const plain = await serveTls(t, { open: ended }, { onDemand: true });
  const socket = await peer(t, plain.server);
  await until(() => errors.length === 4, 'four errors');
  socket.end();
  const misuse = 'MILLRACE_ERR_MISUSE';
  assert.deepEqual(errors, [misuse, 'MILLRACE_ERR_BAD_CHUNK', misuse, misuse]);
});

// ------------------------------------------------------------------------------------------------------------- options

for (const [what, tls] of Object.entries<object>({
  'no object': 'yes' as never,
  'no certificate': {},
  'a key alone': { key: 'k' },
  'an option that does not exist': { key: 'k', cert: 'c', requestCerts: true },
  'a number for a flag': { key: 'k', cert: 'c', requestCert: 1 },
  'a callback that is none': { key: 'k', cert: 'c', SNICallback: 'x' },
  'no time': { key: 'k', cert: 'c', handshakeTimeoutMs: 0 },
  'something else for a context': { secureContext: {} },
})) {
  test(`a server with ${what} is refused, and no value is shown`, limit, async () => {
    await assert.rejects(listen({ port: 0, tls }), (error: Error) => {
      assert.equal(codeOf(error), 'MILLRACE_ERR_BAD_OPTION');
      assert.doesNotMatch(error.message, /'k'|'c'/);
      return true;
    });
  });
}

test('a context that gives tickets is refused where SNICallback chooses whom to trust', limit, async () => {
  const secureContext = contextOf(certificates.server);
  const tls = { secureContext, requestCert: true, SNICallback() {} };
  await assert.rejects(listen({ port: 0, tls }), { code: 'MILLRACE_ERR_BAD_OPTION' });
});

test('a client with options that make no sense is refused', limit, async () => {
  const all = [false, { servername: '127.0.0.1' }, { session: 'x' }, { requestCert: true }, { checkServerIdentity: 1 }];
  for (const tls of all)
    await assert.rejects(connect({ port: 1, tls: tls as never }), { code: 'MILLRACE_ERR_BAD_OPTION' });
});

test('what OpenSSL does not take is an error of listen', limit, async () => {
  await assert.rejects(listen({ port: 0, tls: { key: 'no key', cert: 'no certificate' } }), { code: /ERR_OSSL/ });
  assert.equal(typeof nodeTls.createSecureContext, 'function');
});

test('a context of millrace/tls serves as well', limit, async (t) => {
  const { server } = await serveTls(t, {}, { secureContext: contextOf(certificates.server) });
  const socket = await peered(t, server);
  const all = collect(socket);
  for (const c of server.connections()) c.end('hello');
  if (server.connectionCount === 0) {
    await until(() => server.connectionCount === 1, 'the connection');
    for (const c of server.connections()) c.end('hello');
  }
  assert.equal(String(await all), 'hello');
});

test('a context that only node:tls can serve is served by it', limit, async (t) => {
  const book = new Book();
  const secureContext = nodeTls.createSecureContext(certificates.server);
  const { server } = await serveTls(t, book.handlers({ data: (c, view) => void c.write(view) }), { secureContext });
  const ours = new Book();
  const own = nodeTls.createSecureContext({ ca: certificates.ca });
  const { port } = server;
  const c = await connect({
    port: port as number,
    hostname: 'localhost',
    tls: { secureContext: own },
    ...ours.handlers(),
  });
  c.write('hello');
  await until(() => ours.text === 'hello', 'the echo');
  c.end();
  assert.deepEqual(await ours.closed(), { kind: 'ended' });
});
