// A PostgreSQL client under test: 8 connections, each with one prepared query on its way that brings 10 rows.
import { engine, load, measure } from './packages.ts';

interface Pool {
  query(query: { name: string; text: string; values: number[] }): Promise<{ rows: { n: number; text: string }[] }>;
  end(): Promise<void>;
}
const { Pool } = load<{ Pool: new (options: object) => Pool }>('pg');

const [folder, warmup, seconds] = process.argv.slice(2);
const [host, port] = folder?.startsWith('/') ? [folder, 5432] : ['127.0.0.1', Number(folder)];
const pool = new Pool({ host, port, user: 'postgres', database: 'postgres', max: 8 });
const text = "select n, repeat('x', 50) as text from generate_series($1::int, $1::int + 9) as n";

async function query(from: number): Promise<number> {
  const { rows } = await pool.query({ name: 'ten-rows', text, values: [from] });
  if (rows.length !== 10 || rows[9]?.n !== from + 9) throw new Error(`${engine}: wrong rows`);
  return 1;
}

async function round(): Promise<number> {
  const done = await Promise.all(Array.from({ length: 64 }, (_, i) => query(i)));
  return done.length;
}

await measure(round, Number(warmup), Number(seconds));
await pool.end();
process.exit();
