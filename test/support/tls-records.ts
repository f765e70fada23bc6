/**
 * A client in TLS 1.3 that seals its own records behind an ordinary handshake: for what no library would send.
 *
 * The handshake is Node's, over a stream that is cut off when it is done; the key comes from its 'keylog'.
 *
 * @see RFC 8446, 5.2 (records), 7.1 to 7.3 (keys)
 */
import { createCipheriv, createHmac } from 'node:crypto';
import nodeNet, { type AddressInfo } from 'node:net';
import { Duplex } from 'node:stream';
import nodeTls, { type Server } from 'node:tls';
import { once, type Stage } from './net.ts';
import { certificates } from './tls.ts';

/** Content types, RFC 8446, B.1 */
export const RECORD = { ALERT: 21, HANDSHAKE: 22, DATA: 23 } as const;
/** TLS_AES_128_GCM_SHA256 */
const KEY_BYTES = 16;
const IV_BYTES = 12;
const TAG_BYTES = 16;

export class RecordPeer {
  readonly plain: nodeNet.Socket;
  #secret: Buffer;
  #key: Buffer = Buffer.alloc(0);
  #iv: Buffer = Buffer.alloc(0);
  #count = 0;

  constructor(plain: nodeNet.Socket, secret: Buffer) {
    this.plain = plain;
    this.#secret = secret;
    this.#schedule();
  }

  /** The next record, with any content of any length. */
  seal(type: number, content: Uint8Array): Buffer {
    const inner = Buffer.concat([content, Buffer.of(type)]);
    const header = Buffer.of(RECORD.DATA, 3, 3, 0, 0);
    header.writeUInt16BE(inner.length + TAG_BYTES, 3);
    const nonce = Buffer.from(this.#iv);
    nonce.writeUInt32BE((nonce.readUInt32BE(IV_BYTES - 4) ^ this.#count++) >>> 0, IV_BYTES - 4);
    const cipher = createCipheriv('aes-128-gcm', this.#key, nonce).setAAD(header);
    return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()]);
  }

  /** A KeyUpdate that asks for one in return; what follows has the next key. */
  keyUpdate(): Buffer {
    const record = this.seal(RECORD.HANDSHAKE, Buffer.of(24, 0, 0, 1, 1));
    this.#secret = expand(this.#secret, 'traffic upd', 32);
    this.#schedule();
    return record;
  }

  #schedule(): void {
    this.#key = expand(this.#secret, 'key', KEY_BYTES);
    this.#iv = expand(this.#secret, 'iv', IV_BYTES);
    this.#count = 0;
  }
}

/** HKDF-Expand-Label for at most one block of SHA-256. */
function expand(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.of(0, length, name.length), name, Buffer.of(0, 1)]);
  return createHmac('sha256', secret).update(info).digest().subarray(0, length);
}

/** A client whose handshake is done, and whose plain socket is paused. */
export async function recordPeer(t: Stage, server: Server): Promise<RecordPeer> {
  const plain = nodeNet.connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {});
  t.after(() => void plain.destroy());
  const stream = new Duplex({
    read() {},
    write: (chunk: Buffer, _, callback) => void plain.write(chunk, callback),
    final: (callback) => callback(),
  });
  const feed = (chunk: Buffer): void => void stream.push(chunk);
  plain.on('data', feed);
  const ciphers = { ciphers: 'TLS_AES_128_GCM_SHA256', minVersion: 'TLSv1.3' } as const;
  const client = nodeTls.connect({ socket: stream, servername: 'localhost', ca: certificates.ca, ...ciphers });
  let secret: Buffer | undefined;
  client.on('keylog', (line: Buffer) => {
    const [, hex] = /^CLIENT_TRAFFIC_SECRET_0 \S+ (\S+)/.exec(String(line)) ?? [];
    if (hex !== undefined) secret = Buffer.from(hex, 'hex');
  });
  client.on('error', () => {});
  await once(client, 'secureConnect');
  await new Promise((resolve) => stream.write('', resolve)); // the client's last flight has left
  plain.removeListener('data', feed).pause();
  return new RecordPeer(plain, secret as Buffer);
}
