import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import test from 'node:test';
import net from 'millrace';
import type { TcpInfo } from '#src/engine/tcp-info.ts';
import { close, dialling, keep, leakGuard, limit, once, pair, serve, turns, until } from '../support/net.ts';

await leakGuard();

type Ours = Socket & { tcpInfo(): TcpInfo | undefined };
const skip = 'tcpInfo' in net.Socket.prototype ? false : 'ours, not on this engine';

test('tcpInfo tells what happened on a connection', { ...limit, skip }, async (t) => {
  const ends = await pair(t);
  const [client, peer] = [ends.client as Ours, ends.peer as Ours];
  client.write('x'.repeat(1000));
  await once(peer, 'data');
  await until(() => client.tcpInfo()?.unackedSegments === 0, 'the acknowledgement');
  const sent = client.tcpInfo() as TcpInfo;
  assert.equal(sent.state, 'established');
  assert.ok(sent.rttUs > 0 && sent.rttUs < 1_000_000, `rtt ${sent.rttUs}`);
  assert.ok(sent.rttVarianceUs < 1_000_000);
  assert.ok(sent.minRttUs !== undefined && sent.minRttUs < 1_000_000);
  assert.ok(sent.retransmitTimeoutUs >= 1000 && sent.retransmitTimeoutUs <= 120_000_000);
  assert.equal(sent.pendingRetransmits, 0);
  assert.equal(sent.totalRetransmits, 0);
  assert.ok(sent.congestionWindowSegments >= 1 && sent.congestionWindowSegments < 100_000);
  assert.ok(sent.maxSegmentBytes >= 500 && sent.maxSegmentBytes <= 65536);
  assert.equal(sent.unsentBytes, 0);
  assert.equal(sent.sentBytes, 1000);
  assert.equal(sent.retransmittedBytes, 0);
  assert.equal(sent.ackedBytes, 1001);
  assert.equal(sent.receivedBytes, 0);
  assert.ok((sent.peerWindowBytes as number) > 1000);
  assert.ok(sent.sinceLastSentMs < 10_000);
  assert.equal((peer.tcpInfo() as TcpInfo).receivedBytes, 1000);
});

test('tcpInfo shows what the peer does not take', { ...limit, skip }, async (t) => {
  const { client, peer } = await pair(t, { server: { pauseOnConnect: true } });
  for (let i = 0; i < 200; i++) client.write(Buffer.alloc(65536));
  await turns(5);
  await until(() => ((client as Ours).tcpInfo()?.unsentBytes ?? 0) > 0, 'unsent bytes');
  peer.destroy();
  client.destroy();
  await close(client);
});

test('tcpInfo says how far the end of a connection has come', { ...limit, skip }, async (t) => {
  const { client, peer } = await pair(t, { server: { allowHalfOpen: true }, client: { allowHalfOpen: true } });
  client.end();
  await once(peer.resume(), 'end');
  assert.equal((peer as Ours).tcpInfo()?.state, 'close-wait');
  await until(() => (client as Ours).tcpInfo()?.state === 'fin-wait-2', 'fin-wait-2');
  peer.end();
  client.resume();
  await close(peer);
});

test('tcpInfo is undefined without a TCP connection', { ...limit, skip }, async (t) => {
  assert.equal((keep(t, new net.Socket()) as Ours).tcpInfo(), undefined);
  const server = await serve(t);
  const client = dialling(t, server) as Ours;
  assert.equal(client.tcpInfo(), undefined);
  await once(client, 'connect');
  assert.notEqual(client.tcpInfo(), undefined);
  client.destroy();
  assert.equal(client.tcpInfo(), undefined);
  const { client: unix } = await pair(t, { listen: { path: `\0millrace-tcp-info-${process.pid}` } });
  assert.equal((unix as Ours).tcpInfo(), undefined);
});
