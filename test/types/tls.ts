// Compiled by `npm run check`, never run: a program written for node:tls compiles against millrace/tls.
import type * as node from 'node:tls';
import tls, * as named from 'millrace/tls';
import {
  type Certificates,
  certificateFiles,
  createServer,
  Server,
  type ServerWithCertificates,
  TLSSocket,
} from 'millrace/tls';

type Node = typeof node;

// Each member can stand where Node's is expected.
export const defaultIsNode: Omit<Node, 'default'> = tls;
export const createServerIsNode: Node['createServer'] = named.createServer;
export const serverIsNode: Node['Server'] = named.Server;

// Instances go into functions written for Node's, and Node's types describe them.
const server: node.Server = createServer({ key: 'PEM', cert: 'PEM' }, (socket: node.TLSSocket) => socket.end());
server.on('tlsClientError', (error: Error, socket: node.TLSSocket) => socket.destroy(error));
class OwnServer extends Server {}
class OwnSocket extends TLSSocket {}
export const own = [OwnServer, OwnSocket];

// What Node doesn't have.
const certificates: Certificates = certificateFiles({ keyFile: 'key.pem', certFile: 'cert.pem', watch: { pollMs: 1 } });
const looked: ServerWithCertificates = createServer({ certificates, requestCert: true }, (socket) => socket.end());
looked
  .on('certificateReloaded', ({ daysLeft }) => daysLeft.toFixed())
  .on('certificateError', ({ code }) => code.slice())
  .on('secureConnection', (socket) => socket.end());
export const days: number = looked.certificate.daysLeft;
export const also: node.Server = new Server({ certificates: { keyFile: 'key.pem', certFile: 'cert.pem' } });
