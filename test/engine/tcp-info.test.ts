import assert from 'node:assert/strict';
import test from 'node:test';
import { decodeTcpInfo, type TcpInfo } from '#src/engine/tcp-info.ts';

test('fields that an older kernel does not fill are undefined', () => {
  const view = new DataView(new ArrayBuffer(512));
  new Uint8Array(view.buffer).fill(0x7f);
  view.setUint8(0, 1);
  const since: [number, (keyof TcpInfo)[]][] = [
    [104, []],
    [136, ['ackedBytes', 'receivedBytes']],
    [152, ['unsentBytes', 'minRttUs']],
    [168, ['deliveryRateBytesPerSecond']],
    [216, ['sentBytes', 'retransmittedBytes']],
    [232, ['peerWindowBytes']],
  ];
  const known: (keyof TcpInfo)[] = [];
  const later = since.flatMap(([, names]) => names);
  for (const [length, names] of since) {
    known.push(...names);
    const info = decodeTcpInfo(view, length) as TcpInfo;
    for (const name of later) assert.equal(info[name] !== undefined, known.includes(name), `${name} at ${length}`);
  }
  view.setUint32(148, 0xffffffff);
  assert.equal(decodeTcpInfo(view, 248)?.minRttUs, undefined);
  view.setUint8(0, 12); // TCP_NEW_SYN_RECV: no socket that anybody holds
  assert.equal(decodeTcpInfo(view, 248), undefined);
});
