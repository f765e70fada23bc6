/**
 * What the kernel knows of a TCP connection: getsockopt(2) with TCP_INFO, tcp(7).
 *
 * In: a descriptor. Out: `TcpInfo`. The kernel's structure has grown at its end ever since, and the call says how much
 * of it this kernel fills: a field behind that is undefined. Offsets and units are those of `struct tcp_info` in
 * include/uapi/linux/tcp.h, units also those of `tcp_get_info()` in net/ipv4/tcp.c.
 */
import type { Native } from './native.ts';

const IPPROTO_TCP = 6;
const TCP_INFO = 11;

/** In the order of include/net/tcp_states.h, which counts from 1; names as ss(8) prints them. */
const STATES = [
  'established',
  'syn-sent',
  'syn-recv',
  'fin-wait-1',
  'fin-wait-2',
  'time-wait',
  'close',
  'close-wait',
  'last-ack',
  'listen',
  'closing',
] as const;

export type TcpState = (typeof STATES)[number];

/** A moment's view of a connection. `Us` is microseconds; segments are packets of at most `maxSegmentBytes`. */
export interface TcpInfo {
  readonly state: TcpState;
  /** Smoothed round trip time (tcpi_rtt). */
  readonly rttUs: number;
  /** Its mean deviation (tcpi_rttvar). */
  readonly rttVarianceUs: number;
  /** The least round trip of the last minutes (tcpi_min_rtt, Linux 4.6); undefined before the first measurement. */
  readonly minRttUs: number | undefined;
  /** After which time without an acknowledgement the next retransmission comes (tcpi_rto). */
  readonly retransmitTimeoutUs: number;
  /** Timeouts in a row for what is unacknowledged now (tcpi_retransmits): 0 while the peer answers. */
  readonly pendingRetransmits: number;
  /** Segments sent again since the connection stands (tcpi_total_retrans). */
  readonly totalRetransmits: number;
  /** Segments that may be under way unacknowledged (tcpi_snd_cwnd). */
  readonly congestionWindowSegments: number;
  /** Segments that are under way unacknowledged (tcpi_unacked). */
  readonly unackedSegments: number;
  /** Payload of a full segment that we send (tcpi_snd_mss). */
  readonly maxSegmentBytes: number;
  /** Written, and not yet sent once (tcpi_notsent_bytes, Linux 4.6). */
  readonly unsentBytes: number | undefined;
  /** Sent payload, retransmissions included (tcpi_bytes_sent, Linux 4.19). */
  readonly sentBytes: number | undefined;
  /** Retransmitted payload (tcpi_bytes_retrans, Linux 4.19). */
  readonly retransmittedBytes: number | undefined;
  /** Payload that the peer has acknowledged (tcpi_bytes_acked, Linux 4.1); the SYN counts as one byte. */
  readonly ackedBytes: number | undefined;
  /** Payload that has come in order (tcpi_bytes_received, Linux 4.1). */
  readonly receivedBytes: number | undefined;
  /** Goodput of the latest measurement (tcpi_delivery_rate, Linux 4.9); 0 before the first. */
  readonly deliveryRateBytesPerSecond: number | undefined;
  /** What the peer says it can take beyond the acknowledged bytes (tcpi_snd_wnd, Linux 5.4). */
  readonly peerWindowBytes: number | undefined;
  /** Since payload was sent, and since some came (tcpi_last_data_sent, tcpi_last_data_recv). */
  readonly sinceLastSentMs: number;
  readonly sinceLastReceivedMs: number;
}

/** More than any kernel fills: 248 bytes in Linux 6.18. */
const bytes = new DataView(new ArrayBuffer(512));
const out = new Uint8Array(bytes.buffer);
const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Behind the fields that every kernel has filled since Linux 2.6. */
const OLDEST_BYTES = 104;

/** min_rtt before the first measurement. */
const UNKNOWN = 0xffffffff;

/** @returns undefined for a descriptor that is no TCP connection */
export function readTcpInfo(native: Native, fd: number): TcpInfo | undefined {
  const length = native.getOption(fd, IPPROTO_TCP, TCP_INFO, out);
  return length < OLDEST_BYTES ? undefined : decodeTcpInfo(bytes, length);
}

/** The first `length` bytes of a `struct tcp_info`. */
export function decodeTcpInfo(from: DataView, length: number): TcpInfo | undefined {
  const state = STATES[from.getUint8(0) - 1];
  if (state === undefined) return undefined;
  const u32 = (at: number): number => from.getUint32(at, isLittleEndian);
  const newU32 = (at: number): number | undefined => (at + 4 <= length ? u32(at) : undefined);
  const newU64 = (at: number): number | undefined =>
    at + 8 <= length ? Number(from.getBigUint64(at, isLittleEndian)) : undefined;
  const minRttUs = newU32(148);
  return {
    state,
    rttUs: u32(68),
    rttVarianceUs: u32(72),
    minRttUs: minRttUs === UNKNOWN ? undefined : minRttUs,
    retransmitTimeoutUs: u32(8),
    pendingRetransmits: from.getUint8(2),
    totalRetransmits: u32(100),
    congestionWindowSegments: u32(80),
    unackedSegments: u32(24),
    maxSegmentBytes: u32(16),
    unsentBytes: newU32(144),
    sentBytes: newU64(200),
    retransmittedBytes: newU64(208),
    ackedBytes: newU64(120),
    receivedBytes: newU64(128),
    deliveryRateBytesPerSecond: newU64(160),
    peerWindowBytes: newU32(228),
    sinceLastSentMs: u32(44),
    sinceLastReceivedMs: u32(52),
  };
}
