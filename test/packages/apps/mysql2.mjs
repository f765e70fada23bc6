import assert from 'node:assert/strict';
import { createConnection, createPool } from 'mysql2/promise';
import { again, assertSame, bytes, LARGE, next, port, proveMillrace, say } from './app.mjs';

const tcp = { host: '127.0.0.1', port, user: 'root' };
const ways = [
  tcp,
  { ...tcp, compress: true },
  { ...tcp, ssl: { rejectUnauthorized: false } },
  { user: 'root', socketPath: process.argv[3] },
];

async function converse(connection) {
  const [rows] = await connection.query('select ? + 1 as sum, ? as text', [41, 'grüß Gott']);
  assert.equal(Number(rows[0].sum), 42);
  assert.equal(rows[0].text, 'grüß Gott');
  const large = bytes(LARGE);
  const [echo] = await connection.query('select ? as large', [large]);
  assertSame(Buffer.from(echo[0].large), large, 'a large value');
  const [prepared] = await connection.execute('select ? as large', [large]);
  assertSame(Buffer.from(prepared[0].large), large, 'a large value of a prepared statement');
  let count = 0;
  // With backpressure: the stream holds a few rows only.
  const stream = connection.connection
    .query("select seq, repeat('x', 200) as text from mysql.seq_1_to_20000")
    .stream({ highWaterMark: 5 });
  for await (const row of stream) {
    assert.equal(row.text.length, 200);
    count += 1;
  }
  assert.equal(count, 20_000);
  await assert.rejects(connection.query('select * from nowhere.nothing'), { code: /^ER_/ });
}

async function usePool() {
  const pool = createPool({ ...tcp, connectionLimit: 5 });
  const results = await Promise.all(Array.from({ length: 50 }, (_, i) => pool.query('select ? as i', [i])));
  assert.equal(results.at(-1)[0][0].i, 49);
  proveMillrace(5);
  await pool.end();
}

const connections = await Promise.all(ways.map((options) => createConnection(options)));
proveMillrace(4);
await Promise.all(connections.map(converse));
await usePool();
const errors = Promise.all(connections.map((connection) => next(connection.connection, 'error')));
say('connected');
const codes = (await errors).map(([error]) => error.code);
say(`lost: ${[...new Set(codes)].join(' ')}`);

const newConnections = await Promise.all(ways.map((options) => again(() => createConnection(options))));
await Promise.all(newConnections.map(converse));
await Promise.all(newConnections.map((connection) => connection.end()));
say('connected again');
