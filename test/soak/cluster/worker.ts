/**
 * A worker of the proof: says which process it is, writes each message down, and only then acknowledges it. What is in
 * the log was written by a process that may be dead by now: the kernel has it.
 */
import { openSync, writeSync } from 'node:fs';
import { lines } from 'millrace/framing';
import { serve } from 'millrace/session';

const log = openSync(process.env['PROOF_LOG'] as string, 'a');

await serve(
  {
    port: Number(process.env['PROOF_PORT']),
    host: '127.0.0.1',
    codec: lines().utf8(),
    goodbye: 'leaving',
    limits: { perAddress: 10_000, acceptRate: { perSecond: 100_000 } },
  },
  async (session) => {
    await session.send(String(process.pid));
    for await (const id of session) {
      writeSync(log, `${id}\n`);
      await session.send(id);
    }
  },
);
