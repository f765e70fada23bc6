/** Addresses that never answer: listeners whose queue of accepted connections is full, so that the kernel drops every SYN. */

import { once } from 'node:events';
import { connect, isIP, type LookupFunction } from 'node:net';
import { Worker } from 'node:worker_threads';
import { keep, type Stage } from './net.ts';

/** The smallest backlog Node takes; the kernel queues one connection more (listen(2)). */
const BACKLOG = 1;

const program = `
const { createServer } = require('node:net');
const { parentPort, workerData: { hosts, port, backlog } } = require('node:worker_threads');
let left = hosts.length;
for (const host of hosts) {
  createServer().on('error', (error) => parentPort.postMessage(error.message)).listen({ port, host, backlog }, () => {
    if (--left > 0) return;
    parentPort.postMessage('listening');
    // Nobody accepts any more, until the thread is terminated.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
}`;

/**
 * Has these addresses of loopback swallow every attempt to connect to `port`, until the test is over.
 * @returns what ends it earlier: then attempts are refused, those under way when the kernel repeats their SYN (1 s)
 */
export async function silence(t: Stage, port: number, ...hosts: string[]): Promise<() => Promise<unknown>> {
  const worker = new Worker(program, { eval: true, workerData: { hosts, port, backlog: BACKLOG } });
  t.after(async () => void (await worker.terminate()));
  const [message] = await once(worker, 'message');
  if (message !== 'listening') throw new Error(message);
  for (const host of hosts) {
    for (let i = 0; i <= BACKLOG; i++) {
      const socket = keep(t, connect({ port, host }));
      socket.on('error', () => {}); // the thread's end
      await once(socket, 'connect');
    }
  }
  return () => worker.terminate();
}

/** A lookup that brings these addresses for every name, in this order. */
export function names(...ips: string[]): LookupFunction {
  const addresses = ips.map((address) => ({ address, family: isIP(address) }));
  return (_host, options, callback) => {
    const wanted = addresses.filter(({ family }) => !options.family || family === options.family);
    if (options.all) process.nextTick(callback, null, wanted as never);
    else process.nextTick(callback, null, wanted[0]?.address as never, wanted[0]?.family);
  };
}
