import assert from 'node:assert/strict';
import pg from 'pg';
import { again, assertSame, bytes, LARGE, next, port, proveMillrace, say } from './app.mjs';

const tcp = { host: '127.0.0.1', port, user: 'app', database: 'postgres' };
const ways = [tcp, { ...tcp, ssl: { rejectUnauthorized: false } }, { ...tcp, host: process.argv[3] }];

async function connect(options) {
  const client = new pg.Client(options);
  await client.connect();
  return client;
}

async function converse(client) {
  const { rows } = await client.query('select $1::int + 1 as sum, $2::text as text', [41, 'grüß Gott']);
  assert.deepEqual(rows, [{ sum: 42, text: 'grüß Gott' }]);
  const large = bytes(LARGE);
  const echo = await client.query('select $1::bytea as large', [large]);
  assertSame(echo.rows[0].large, large, 'a large value');
  const many = await client.query("select i, repeat('x', 100) as text from generate_series(1, 20000) i");
  assert.equal(many.rows.length, 20_000);
  assert.equal(many.rows.at(-1).i, 20_000);
  await assert.rejects(client.query('select 1 / 0'), { code: '22012' });
  // Queries that wait for each other.
  const sums = await Promise.all(Array.from({ length: 200 }, (_, i) => client.query('select $1::int as i', [i])));
  assert.deepEqual(
    sums.map((result) => result.rows[0].i),
    Array.from({ length: 200 }, (_, i) => i),
  );
}

async function notify(clients) {
  const [listener, speaker] = clients;
  await listener.query('listen news');
  const notification = next(listener, 'notification');
  await speaker.query("notify news, 'hello'");
  assert.equal((await notification)[0].payload, 'hello');
}

async function usePool() {
  const pool = new pg.Pool({ ...tcp, max: 5 });
  const results = await Promise.all(Array.from({ length: 50 }, (_, i) => pool.query('select $1::int as i', [i])));
  assert.equal(results.at(-1).rows[0].i, 49);
  proveMillrace(5);
  await pool.end();
}

const clients = await Promise.all(ways.map(connect));
await Promise.all(clients.map(converse));
await notify(clients);
await usePool();
proveMillrace(3);
const error = next(clients[0], 'error');
for (const client of clients) client.on('error', () => {});
const ended = Promise.all(clients.map((client) => next(client, 'end')));
say('connected');
const [{ code, message }] = await error;
await ended;
await assert.rejects(clients[0].query('select 1'), /not queryable/);
say(`lost: ${code ?? message}`);

const newClients = await Promise.all(ways.map((options) => again(() => connect(options))));
await Promise.all(newClients.map(converse));
proveMillrace(3);
await Promise.all(newClients.map((client) => client.end()));
say('connected again');
