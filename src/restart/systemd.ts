/**
 * What systemd gives to a service and wants to hear from it: sockets (sd_listen_fds(3)) and states (sd_notify(3)). Without
 * systemd all of it does nothing.
 */
import { fstatSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { AF, ERRNO, SOCK } from '../engine/abi.ts';
import { encodePath } from '../engine/address.ts';
import { type Native, nativePart } from '../engine/native.ts';
import { errnoException } from '../engine/system-errors.ts';
import { RestartError } from './errors.ts';

/** A listening socket that systemd has opened: `server.listen({ fd })`. */
export interface SystemdSocket {
  readonly fd: number;
  /** `FileDescriptorName=` of the unit, or the name of the unit. */
  readonly name: string;
}

/** SD_LISTEN_FDS_START */
const FIRST_DESCRIPTOR = 3;
const MOST_SOCKETS = 65536;

let sockets: SystemdSocket[] | undefined;

/**
 * The sockets that systemd has passed to this process (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`), in its order; none if
 * they are for another process, or if there is no systemd. After a restart those that the process before has handed over.
 * The descriptors become close-on-exec and the variables are removed, so that children don't take them for theirs.
 */
export function systemdSockets(): readonly SystemdSocket[] {
  sockets ??= readEnvironment();
  return sockets;
}

function readEnvironment(): SystemdSocket[] {
  const { env } = process;
  const pid = Number(env['LISTEN_PID']);
  const count = Number(env['LISTEN_FDS']);
  const names = env['LISTEN_FDNAMES']?.split(':') ?? [];
  for (const name of LISTEN_VARIABLES) delete env[name];
  if (pid !== process.pid || !Number.isInteger(count) || count < 1 || count > MOST_SOCKETS) return [];
  return Array.from({ length: count }, (_, i) => ({ fd: ownCopy(FIRST_DESCRIPTOR + i), name: names[i] || 'unknown' }));
}

/** What a child must not be given: it is about this process. */
export const LISTEN_VARIABLES: readonly string[] = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID'];

function ownCopy(fd: number): number {
  if (!isSocket(fd)) return fd; // whoever it belongs to, Node perhaps: listen() says so
  const native = nativePart();
  const copy = native?.duplicate(fd) ?? -1;
  if (copy < 0) return fd; // engine node, or not open: listen() says so
  native?.closeDescriptor(fd);
  return copy;
}

function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false;
  }
}

/** The process before this one has handed them over. */
export function inheritSystemdSockets(inherited: SystemdSocket[]): void {
  sockets = inherited;
}

/** What systemd calls the descriptor, if it comes from there. */
export function systemdNameOf(fd: number | undefined): string | undefined {
  return sockets?.find((socket) => socket.fd === fd)?.name;
}

// ---- states ----

/** What to tell the service manager; see sd_notify(3). */
export interface ServiceState {
  /** The start, or a reload, is over. */
  ready?: boolean;
  /** A reload begins; `ready` ends it. */
  reloading?: boolean;
  /** The end begins. */
  stopping?: boolean;
  /** Still alive: see `watchdogMs`. */
  watchdog?: boolean;
  /** One line for `systemctl status`. */
  status?: string;
  /** The process that is the service from now on. */
  mainPid?: number;
  /** The start, or the end, needs so much longer. */
  extendTimeoutMs?: number;
  /** Why the service fails: an errno. */
  errno?: number;
}

/** How long a full queue of the manager is waited for. */
const MOST_TRIES = 500;
const TRY_AGAIN_MS = 10;

/**
 * Tells the service manager (`NOTIFY_SOCKET`).
 * @returns false if there is none, and nothing was done
 * @throws {RestartError} NOTIFY_FAILED: there is one and it can't be told; `cause` says why
 */
export async function notify(state: ServiceState): Promise<boolean> {
  const path = process.env['NOTIFY_SOCKET'];
  if (path === undefined || path === '') return false;
  const native = nativePart();
  if (native === null) throw failed('datagrams to unix sockets need the native part, which this platform has not');
  // unix(7): a zero byte for the @ of an abstract name. Anything else (vsock:…) is for virtual machines.
  const sockaddr = /^[@/]/.test(path) ? encodePath(path.replace(/^@/, '\0')) : undefined;
  if (sockaddr === undefined) throw failed(`NOTIFY_SOCKET=${path} is no address of a unix socket`);
  const fd = native.socket(AF.UNIX, SOCK.DGRAM, 0);
  if (fd < 0) throw failed('no socket', errnoException(-fd, 'socket'));
  try {
    await sendDatagram(native, fd, Buffer.from(textOf(state)), sockaddr);
  } finally {
    native.closeDescriptor(fd);
  }
  return true;
}

async function sendDatagram(native: Native, fd: number, bytes: Buffer, sockaddr: Uint8Array): Promise<void> {
  for (let tries = 0; ; tries++) {
    const sent = native.sendMessage(fd, bytes, new Int32Array(0), sockaddr);
    if (sent >= 0) return;
    if (sent !== -ERRNO.EAGAIN || tries === MOST_TRIES)
      throw failed('the service manager takes nothing', errnoException(-sent, 'sendmsg'));
    await delay(TRY_AGAIN_MS);
  }
}

const failed = (message: string, cause?: Error): RestartError =>
  new RestartError('NOTIFY_FAILED', message, cause === undefined ? {} : { cause });

function textOf(state: ServiceState): string {
  const lines: string[] = [];
  if (state.reloading) lines.push('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  if (state.mainPid !== undefined) lines.push(`MAINPID=${state.mainPid}`);
  if (state.ready) lines.push('READY=1');
  if (state.stopping) lines.push('STOPPING=1');
  // A line that ends early would begin another assignment.
  if (state.status !== undefined) lines.push(`STATUS=${state.status.replace(/[\r\n\0]+/g, ' ')}`);
  if (state.extendTimeoutMs !== undefined)
    lines.push(`EXTEND_TIMEOUT_USEC=${Math.round(state.extendTimeoutMs * 1000)}`);
  if (state.errno !== undefined) lines.push(`ERRNO=${Math.abs(state.errno)}`);
  if (state.watchdog) lines.push('WATCHDOG=1');
  return `${lines.join('\n')}\n`;
}

/**
 * Within which time `notify({ watchdog: true })` has to be called again and again (`WATCHDOG_USEC`); half of it is usual.
 * Undefined where nobody watches this process.
 */
export function watchdogMs(): number | undefined {
  const usec = Number(process.env['WATCHDOG_USEC']);
  const pid = process.env['WATCHDOG_PID'];
  if (!(usec > 0) || (pid !== undefined && Number(pid) !== process.pid)) return undefined;
  return usec / 1000;
}
