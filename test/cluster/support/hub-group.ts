/** A primary and workers' ends of the messages, all in one thread, brought together by a hub of either kind. */
import { MessageChannel } from 'node:worker_threads';
import { type Link, portLink } from '#src/cluster/link.ts';
import { Bus, Hub, joinHub, type MessageLimits, PRIMARY } from '#src/cluster/messages/index.ts';
import type { Stage } from '../../support/net.ts';

export const kinds = ['threads', 'processes'] as const;
export type Kind = (typeof kinds)[number];

export interface Group {
  readonly primary: Bus;
  /** A worker's end, which all others know, and it them. */
  join(id: number, limits?: MessageLimits): Promise<Bus>;
  /** It dies. */
  kill(id: number): void;
}

export function group(t: Stage, kind: Kind, limits?: MessageLimits): Group {
  const primary = new Bus(PRIMARY, limits);
  const hub = new Hub(primary, kind);
  const workers = new Map<number, { bus: Bus; links: Link[] }>();
  const kill = (id: number): void => {
    const worker = workers.get(id);
    workers.delete(id);
    for (const link of worker?.links ?? []) link.close();
    hub.leave(id);
    worker?.bus.close();
  };
  // Links keep no thread alive: a test that waits for nothing else would end.
  const alive = setInterval(() => {}, 1000);
  t.after(() => {
    clearInterval(alive);
    for (const id of workers.keys()) kill(id);
    primary.close();
  });
  return {
    primary,
    kill,
    async join(id, own = limits) {
      const { port1, port2 } = new MessageChannel();
      const links = [portLink('bus', port1), portLink('bus', port2)] as const;
      const bus = new Bus(id, own);
      workers.set(id, { bus, links: [...links] });
      hub.join(id, links[0]);
      await joinHub(bus, links[1]);
      const all = [...workers.values()];
      while (!all.every(({ bus: { peers } }) => peers.length === all.length))
        await new Promise((resolve) => setImmediate(resolve));
      return bus;
    },
  };
}
