/** What `millrace` exports where the engine is our own: the names of Node's `net`, all of them. */
import nodeNet from 'node:net';
import { choice } from '../engine/engine.ts';
import { listActiveResources } from './active-resources.ts';
import { normalizeArgs } from './args.ts';
import { BlockList } from './block-list.ts';
import { BoundSocket } from './bound-socket.ts';
import { isTraced, trace } from './debug.ts';
import {
  autoSelectFamilyDefaults,
  getDefaultHappyEyeballs,
  LEAST_ATTEMPT_TIMEOUT_MS,
  setDefaultHappyEyeballs,
} from './defaults.ts';
import { attach, detach, discard } from './handover.ts';
import { shareInstances } from './instance-of.ts';
import { socketpair } from './pair.ts';
import { promisesOf } from './promises.ts';
import { createServer, Server } from './server.ts';
import { connect, Socket } from './socket.ts';
import { SocketAddress } from './socket-address.ts';
import { validateBoolean, validateInt32 } from './validate.ts';

function getDefaultAutoSelectFamily(): boolean {
  return autoSelectFamilyDefaults.isOn;
}

function setDefaultAutoSelectFamily(value: boolean): void {
  validateBoolean(value, 'value');
  autoSelectFamilyDefaults.isOn = value;
}

function getDefaultAutoSelectFamilyAttemptTimeout(): number {
  return autoSelectFamilyDefaults.attemptTimeoutMs;
}

function setDefaultAutoSelectFamilyAttemptTimeout(value: number): void {
  validateInt32(value, 'value', 1);
  autoSelectFamilyDefaults.attemptTimeoutMs = Math.max(value, LEAST_ATTEMPT_TIMEOUT_MS);
}

if (isTraced) trace('engine %s: %s', choice.name, choice.reason);

if (choice.turn !== null) {
  listActiveResources();
  shareInstances(Socket, nodeNet.Socket, Symbol.for('millrace.Socket'));
  shareInstances(Server, nodeNet.Server, Symbol.for('millrace.Server'));
}

const { isIP, isIPv4, isIPv6 } = nodeNet;

/** Deprecated and without effect outside Windows, but Node 20 and 22 have it. */
const { _setSimultaneousAccepts } = nodeNet as { _setSimultaneousAccepts?: unknown };

/** Undocumented. Its handles are Node's, because what they are made for takes no other: `subprocess.send()`, workers. */
const { _createServerHandle } = nodeNet as { _createServerHandle?: unknown };

/** As the newest Node has them; on every engine. */
export const helpers = { BlockList, SocketAddress };

/** Ours; on every engine. */
export const additions = { getDefaultHappyEyeballs, setDefaultHappyEyeballs };

/** What Node's `net` exports, on an engine of ours. */
export const ownNet = {
  _createServerHandle,
  _normalizeArgs: normalizeArgs,
  ...(_setSimultaneousAccepts === undefined ? {} : { _setSimultaneousAccepts }),
  BoundSocket,
  Server,
  Socket,
  Stream: Socket,
  attach,
  connect,
  createConnection: connect,
  createServer,
  detach,
  discard,
  getDefaultAutoSelectFamily,
  getDefaultAutoSelectFamilyAttemptTimeout,
  isIP,
  isIPv4,
  isIPv6,
  promises: promisesOf({ connect, createServer, isIP, isIPv4, isIPv6, BlockList, SocketAddress } as never),
  setDefaultAutoSelectFamily,
  setDefaultAutoSelectFamilyAttemptTimeout,
  socketpair,
};
