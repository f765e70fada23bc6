import test from 'node:test';
import { application, ends, limit } from './support/application.ts';

const isOld = Number(process.versions.node.split('.')[0]) < 22;
const skip = isOld && 'nock 15.0.2 needs Promise.withResolvers, of Node.js 22';

test("nock: requests are answered, and what is not mocked passes, on millrace's sockets too", {
  ...limit,
  skip,
}, async (t) => {
  await ends(application(t, 'nock'));
});
