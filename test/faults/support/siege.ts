/**
 * A server of sessions under attack: attackers that speak bytes by node:net itself, whatever the engine, and a bystander
 * on a session of its own, who must not notice anything.
 */
import assert from 'node:assert/strict';
import net, { type Socket } from 'node:net';
import type { ClosingReason, RefusalReason, ServeOptions, Session, SessionHandler } from 'millrace/session';
import { dialling, type Serving, serving } from '../../session/support/serving.ts';
import { keep, type Stage, until, within } from '../../support/net.ts';

/** 127.0.0.0/8 is one machine with many addresses. */
const BYSTANDER = '127.0.0.99';

export interface AttackOptions {
  /** The address it comes from. 127.0.0.66 unless given. */
  from?: string | undefined;
  /** Whether it reads. `true` unless given. */
  reads?: boolean | undefined;
  /** Where to. 127.0.0.1 unless given. */
  host?: string | undefined;
}

export interface Attacker {
  readonly socket: Socket;
  /** What it has seen: `end`, `reset`, `close`. */
  readonly events: readonly string[];
  /** What it has received, as latin1. */
  received(): string;
  /** Sends these very bytes: a string is latin1. */
  says(bytes: string | Uint8Array): void;
  /** Waits until so much was received. */
  has(expected: string): Promise<void>;
  /** Waits until it was thrown out. @returns how: `reset` or `end` */
  out(): Promise<'reset' | 'end'>;
  /** Sends a RST. */
  reset(): void;
}

/** Connects, and stays half open. One that is refused may be over before it is connected. */
export async function attack(t: Stage, port: number, options: AttackOptions = {}): Promise<Attacker> {
  const { from = '127.0.0.66', reads = true, host = '127.0.0.1' } = options;
  const localAddress = host === '127.0.0.1' ? from : undefined;
  const socket = keep(t, net.connect({ port, host, allowHalfOpen: true, noDelay: true, localAddress } as never));
  const events: string[] = [];
  let received = '';
  if (reads) socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
  else socket.pause();
  socket.on('end', () => events.push('end'));
  socket.on('error', ({ code }: NodeJS.ErrnoException) =>
    events.push(code === 'ECONNRESET' || code === 'EPIPE' ? 'reset' : String(code)),
  );
  socket.on('close', () => events.push('close'));
  await until(() => !socket.connecting || events.length > 0, 'an attacker is connected');
  return {
    socket,
    events,
    received: () => received,
    says: (bytes) => void socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes),
    has: (expected) => until(() => received.includes(expected), `the attacker received ${JSON.stringify(expected)}`),
    async out() {
      await until(() => events.includes('reset') || events.includes('end'), 'the attacker is thrown out');
      return events.includes('reset') ? 'reset' : 'end';
    },
    reset: () => void socket.resetAndDestroy(),
  };
}

export interface Siege<In, Out> extends Serving<In, Out> {
  attack(options?: AttackOptions): Promise<Attacker>;
  readonly bystander: Session<In, Out>;
  /** The bystander asks, and is answered. */
  isServed(): Promise<void>;
  /** The next session to end does so for this reason; it is counted, and everybody else is served. */
  ends(reason: ClosingReason): Promise<void>;
  /** So many connections were refused, each for this reason, and everybody else is served. */
  refused(reason: RefusalReason, count: number): Promise<void>;
  /** Sessions of attackers. */
  readonly attacked: Serving<In, Out>['sessions'];
}

export interface SiegeOptions<In, Out> extends Partial<ServeOptions<In, Out>> {
  /** What the bystander says, and is told. `fine?` unless given. */
  sign?: Out;
}

/**
 * A server that echoes, or does what it is told with attackers, and a bystander that it has to answer meanwhile.
 *
 * @param handler for attackers
 */
export async function siege<In = string, Out = In>(
  t: Stage,
  options: SiegeOptions<In, Out> = {},
  handler: SessionHandler<In, Out> = echo,
): Promise<Siege<In, Out>> {
  const { sign = 'fine?' as Out, ...serve } = options;
  const attacked: Serving<In, Out>['sessions'] = [];
  const serves = await serving<In, Out>(
    t,
    (session) => {
      if (session.peer.address === BYSTANDER) return echo(session);
      attacked.push(session);
      return handler(session);
    },
    serve,
  );
  const { server, reasons, refusals } = serves;
  const bystander: Session<In, Out> = await dialling<In, Out>(t, serves, {
    localAddress: BYSTANDER,
    ...(serve.codec !== undefined && { codec: serve.codec }),
  });
  const isServed = async (): Promise<void> => {
    await bystander.send(sign);
    assert.deepEqual(await within(bystander.receive(), 'the bystander is served'), sign);
  };
  await isServed();
  const counts: Partial<Record<string, number>> = {};
  const count = (reason: string, by: number): number => (counts[reason] = (counts[reason] ?? 0) + by);
  return Object.assign(serves, {
    attacked,
    bystander,
    attack: (how?: AttackOptions) => attack(t, serves.port, how),
    isServed,
    async ends(expected: ClosingReason) {
      const over = await serves.closed();
      assert.equal(over.reason, expected, over.message);
      assert.equal(server.metrics().closed[expected], count(expected, 1));
      await isServed();
    },
    async refused(expected: RefusalReason, by: number) {
      const all = count(expected, by);
      await until(() => (server.metrics().refused[expected] ?? 0) >= all, `${all} times ${expected}`);
      await isServed();
      assert.equal(server.metrics().refused[expected], all);
      assert.equal(refusals.filter(({ reason }) => reason === expected).length, all);
      assert.deepEqual(
        reasons.filter(({ reason }) => (reason as string) === expected),
        [],
      );
    },
  });
}

async function echo<In, Out>(session: Parameters<SessionHandler<In, Out>>[0]): Promise<void> {
  for await (const message of session) await session.send(message as unknown as Out);
}
