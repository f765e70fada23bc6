import test from 'node:test';
import { folder } from '../support/net.ts';
import { application, ends, limit } from './support/application.ts';
import { makeSignedCertificate } from './support/certificate.ts';
import { missing } from './support/server.ts';

const isOld = Number(process.versions.node.split('.')[0]) < 22;
const skip = isOld && 'nock 15.0.2 needs Promise.withResolvers, of Node.js 22';

test("nock: requests are answered, and what is not mocked passes, on millrace's sockets too", {
  ...limit,
  skip: skip || missing('openssl'),
}, async (t) => {
  const path = await folder(t);
  makeSignedCertificate(path);
  await ends(application(t, 'nock', path));
});
