// Echo: each connection keeps `inFlight` messages on their way; cost is the server's CPU time per message.
import { columns, drive } from '../drive.ts';
import type { Bench, Case, Trial } from '../trial.ts';

const sizes = [64, 1024, 8192, 16_384, 65_536];
const connections = [1, 50, 1000, 10_000];
const quick = new Set(['64x1x1', '64x50x1', '64x1000x1', '16384x50x1']);
const all = new Set(['64x50x1', '64x1000x1', '16384x50x1']);
/** The usual rivals; the others only Node and ours. */
const usual = new Set(['64x1x1', '64x50x16', '65536x50x1']);

export const echo: Case = {
  name: 'echo',
  trials: (bench) => {
    const { options } = bench;
    const isChosen = options.sizes !== undefined || options.connections !== undefined || options.inFlight !== undefined;
    return (options.inFlight ?? [1, 16]).flatMap((inFlight) =>
      (options.sizes ?? sizes).flatMap((size) =>
        (options.connections ?? connections).map((count) => trial(bench, size, count, inFlight, isChosen)),
      ),
    );
  },
};

function trial(bench: Bench, size: number, connections: number, inFlight: number, isChosen: boolean): Trial {
  const name = `${size}x${connections}x${inFlight}`;
  return {
    id: `echo-${name}`,
    title: `echo, ${size} B x ${connections} connections, ${inFlight} in flight`,
    parameters: { size, connections, inFlight },
    cost: { key: 'cpuUsPerOperation', head: 'CPU µs/msg', digits: 2 },
    columns: columns('msg'),
    kind: 'echo',
    isQuick: isChosen || quick.has(name),
    ...(all.has(name) ? { breadth: 'all' } : isChosen || usual.has(name) ? {} : { breadth: 'narrow', maxRuns: 2 }),
    overheadSeconds: 0.4 + connections / 5000,
    run: (rival, prepared) =>
      drive(bench, rival, prepared, {
        kind: 'echo',
        mode: 'echo',
        flags: { connections, size, 'in-flight': inFlight },
        connections,
      }),
  };
}
