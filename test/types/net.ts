// Compiled by `npm run check`, never run: a program written for node:net compiles against millrace.
import type * as node from 'node:net';
import net, * as named from 'millrace';
import {
  type AddressInfo,
  BlockList,
  createConnection,
  createServer,
  engine,
  engineReason,
  type HappyEyeballsOptions,
  Server,
  Socket,
} from 'millrace';

type Node = typeof node;

/** What node:net exports and millrace does not export yet. Shrinks to `never`. */
type NotYet = never;

type Covers<Ours> = [Exclude<keyof Node, keyof Ours | NotYet>] extends [never] ? true : keyof Node & NotYet;
export const defaultCoversNode: Covers<typeof net> = true;
export const namesCoverNode: Covers<typeof named> = true;

// Each member can stand where Node's is expected.
export const defaultIsNode: Omit<Node, NotYet | 'default'> = net;
export const namesAreNode: Omit<Node, NotYet | 'default'> = named;

// Instances go into functions written for Node's, and Node's types describe them.
const server: node.Server = createServer({ allowHalfOpen: true, pauseOnConnect: false }, (socket: Socket) => {
  const asNode: node.Socket = socket;
  asNode.setNoDelay(true).setKeepAlive(true, 1_000).setTimeout(5_000);
  socket.on('data', (chunk: Buffer) => socket.write(chunk));
  socket.once('close', (hadError: boolean) => hadError);
});
server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
  const { port }: AddressInfo = server.address() as AddressInfo;
  const socket: node.Socket = createConnection({ port, noDelay: true });
  socket.end('text', 'utf8');
});
const options: node.SocketConstructorOpts = { allowHalfOpen: true };
const constructed: [Socket, Server] = [new Socket(options), new Server()];

// Ours, beside Node's.
createConnection({ port: 1, host: 'x', happyEyeballs: true, noDelay: true }, () => {});
net.connect({ port: 1, host: 'x', happyEyeballs: { attemptDelayMs: 100 } });
net.setDefaultHappyEyeballs({ attemptDelayMs: 100 });
const several: node.TcpSocketConnectOpts & HappyEyeballsOptions = { port: 1, happyEyeballs: true };
constructed[0].connect(several);
// @ts-expect-error: a delay is a number
net.connect({ port: 1, host: 'x', happyEyeballs: { attemptDelayMs: '100' } });

// The newest Node's, whatever the types of Node know.
const list: net.BlockList = new net.BlockList();
list.addCIDRs(BlockList.PRIVATE_RANGES);
export const asNodes: node.BlockList = list;
export const size: number = list.size;

export const name: 'io_uring' | 'epoll' | 'node' = engine;
export const reason: string = engineReason;

// And what Node's types refuse is refused here.
// @ts-expect-error: a port is a number
createConnection({ port: true });
// @ts-expect-error: there is no such method
constructed[0].writeLater('text');

// Types as members of the default export, as people write them.
export const asMember = (socket: net.Socket, where: net.AddressInfo): net.Server =>
  net.createServer().on('connection', () => socket.write(String(where.port)));

// What is newer than a line of Node, or ours: typed, and the sockets of a server of ours are ours.
const ours: net.Server = net.createServer();
ours.on('connection', (socket) => {
  const typed: net.Socket = socket;
  typed.setUserTimeout(5_000).end();
  const rttUs: number | undefined = typed.tcpInfo()?.rttUs;
  void rttUs;
});
ours.closeIdleConnections();
ours.closeAllConnections();
ours.dropMaxConnection = true;
export const modern = async (): Promise<node.Server> => {
  for await (const socket of ours) socket.end();
  const [left, right]: [net.Socket, net.Socket] = net.socketpair({ allowHalfOpen: true });
  const awaited: net.Socket = await net.promises.connect({ port: 1, signal: new AbortController().signal });
  const ticket = await net.detach(awaited);
  const again: net.Socket = net.attach(ticket, { pauseOnConnect: true });
  net.discard(await net.detach(again));
  const serverAgain: net.Server = net.attach(await net.detach(ours));
  left.pipe(right);
  const bound = new net.BoundSocket({ host: '127.0.0.1' });
  serverAgain.listen(bound);
  // @ts-expect-error: a ticket is made by detach
  net.attach({ kind: 'socket' });
  return net.promises.listen({ connectionListener: (socket: net.Socket) => void socket.end() });
};
export class Subclass extends net.Socket {}
export const subclass: node.Socket = new Subclass();
