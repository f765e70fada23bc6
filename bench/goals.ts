// The goals that `--check` judges. A ratio is a median over a median. `node` is node:net at its best: the cheaper of Node 24 and
// 26 in the same trial; ours is at its best as well. Where neither line was run, the Node that runs the benchmark counts.
export interface Goal {
  /** Ids of trials. */
  trials: RegExp;
  /** Which of ours: the drop-in for node:net if absent. */
  tier?: 'direct';
  /** Both rings if absent. */
  ring?: 'io_uring' | 'epoll';
  /** A number of the sample; the trial's cost if absent. */
  figure?: string;
  atMost: number;
  /** A rival's name, `node`, `self`; or `one`: `atMost` is no ratio but the figure itself. */
  of: string;
  /** Where the other figure is from, if it is another trial. */
  ofTrial?: string;
}

const cheapestEchoes = /^echo-64x(50|1000)x1$/;

export const goals: readonly Goal[] = [
  { trials: cheapestEchoes, ring: 'io_uring', atMost: 0.5, of: 'node' },
  { trials: cheapestEchoes, ring: 'epoll', atMost: 0.62, of: 'node' },
  ...['bun', 'deno', 'go', 'tokio'].map((of) => ({ trials: cheapestEchoes, atMost: 1, of })),
  { trials: /^echo-16384x(50|1000|10000)x/, atMost: 0.6, of: 'node' },
  // Every other size and count (so none is above 1.0).
  { trials: /^echo-(64x10000x|64x(50|1000)x16|(1024|8192|65536)x(50|1000|10000)x)/, atMost: 0.85, of: 'node' },
  { trials: /^echo-\d+x1x/, atMost: 0.8, of: 'node' },
  { trials: /^echo-\d+x1x1$/, figure: 'p50Us', atMost: 1, of: 'node' },
  { trials: /^fan-out-\d+x10$/, atMost: 0.12, of: 'node' },
  { trials: /^small-writes$/, atMost: 0.1, of: 'node' },
  { trials: /^small-writes$/, atMost: 1, of: 'node', ofTrial: 'small-writes-corked' },
  { trials: /^bulk-/, atMost: 0.85, of: 'node' },
  { trials: /^churn-/, atMost: 0.7, of: 'node' },
  { trials: /^idle-/, atMost: 0.6, of: 'node' },
  // TLS against node:tls.
  { trials: /^tls-echo-64$/, ring: 'io_uring', atMost: 0.42, of: 'node' },
  { trials: /^tls-echo-64$/, ring: 'epoll', atMost: 0.5, of: 'node' },
  { trials: /^tls-echo-16384$/, atMost: 0.6, of: 'node' },
  { trials: /^tls-bulk-/, atMost: 0.65, of: 'node' },
  { trials: /^tls-full$/, atMost: 0.85, of: 'node' },
  { trials: /^tls-resumed$/, atMost: 0.6, of: 'node' },
  { trials: /^tls-idle-/, atMost: 0.7, of: 'node' },
  // The direct tier.
  { tier: 'direct', trials: /^echo-64x50x1$/, ring: 'io_uring', atMost: 0.5, of: 'node' },
  { tier: 'direct', trials: /^echo-64x50x1$/, ring: 'io_uring', atMost: 1.15, of: 'c-uring' },
  { tier: 'direct', trials: /^idle-10000$/, atMost: 1024, of: 'one' },
  { trials: /^neighbours-[1-9]/, atMost: 1.15, of: 'self', ofTrial: 'neighbours-0' },
];
