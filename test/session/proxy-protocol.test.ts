import assert from 'node:assert/strict';
import test from 'node:test';

const path = '#src/session/proxy-protocol.ts';
const { crc32c, parseProxyHeader } = (await import(path)) as typeof import('../../src/session/proxy-protocol.ts');

const SIGNATURE = '0d0a0d0a000d0a515549540a';
const parse = (text: string, encoding: BufferEncoding = 'latin1', maxBytes = 4096) =>
  parseProxyHeader(Buffer.from(text, encoding), maxBytes);
/** Version 2 in hex: command and version, family and protocol, and what follows, with its length. */
const v2 = (head: string, body = '') =>
  `${SIGNATURE}${head}${(body.length / 2).toString(16).padStart(4, '0')}${body}`.replaceAll(' ', '');

const nothing = {
  ...{ source: undefined, destination: undefined, tlvs: [], authority: undefined, uniqueId: undefined },
};

test('version 1', () => {
  assert.deepEqual(parse('PROXY TCP4 192.0.2.1 198.51.100.1 51000 443\r\nrest'), {
    header: {
      ...nothing,
      ...{ version: 1, command: 'proxy', transport: 'tcp4' },
      source: { address: '192.0.2.1', port: 51000 },
      destination: { address: '198.51.100.1', port: 443 },
    },
    end: 45,
  });
  assert.deepEqual(parse('PROXY TCP6 2001:db8::1 ::1 1 65535\r\n'), {
    header: {
      ...nothing,
      ...{ version: 1, command: 'proxy', transport: 'tcp6' },
      source: { address: '2001:db8::1', port: 1 },
      destination: { address: '::1', port: 65535 },
    },
    end: 36,
  });
  const unknown = { ...nothing, version: 1, command: 'proxy', transport: 'unknown' };
  assert.deepEqual(parse('PROXY UNKNOWN\r\n'), { header: unknown, end: 15 });
  assert.deepEqual(parse('PROXY UNKNOWN ffff::1 whatever it says\r\n'), { header: unknown, end: 40 });
  // The longest line there is: 107 bytes.
  const address = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
  const longest = `PROXY UNKNOWN ${address} ${address} 65535 65535\r\n`;
  assert.deepEqual([longest.length, parse(longest)], [107, { header: unknown, end: 107 }]);
});

test('what is no version 1', () => {
  for (const line of [
    'PROXY TCP4 192.0.2.1 198.51.100.1 51000\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.1 51000 443 5\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.1 51000 65536\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.1 051 443\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.1 -1 443\r\n',
    'PROXY TCP4 192.0.2.1  198.51.100.1 1 443\r\n',
    'PROXY TCP4 192.0.2.256 198.51.100.1 1 443\r\n',
    'PROXY TCP4 ::1 ::1 1 443\r\n',
    'PROXY TCP6 192.0.2.1 ::1 1 443\r\n',
    'PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n',
    'PROXY tcp4 192.0.2.1 198.51.100.1 1 443\r\n',
    'PROXY \r\n',
    `PROXY UNKNOWN ${'x'.repeat(95)}\r\n`,
  ]) {
    assert.equal((parse(line) as { reason?: string }).reason, 'PROXY_HEADER_BAD', line);
  }
});

test('version 2', () => {
  assert.deepEqual(parse(`${v2('21 11', 'c0000201 c6336401 c738 01bb'.replaceAll(' ', ''))}ff`, 'hex'), {
    header: {
      ...nothing,
      ...{ version: 2, command: 'proxy', transport: 'tcp4' },
      source: { address: '192.0.2.1', port: 51000 },
      destination: { address: '198.51.100.1', port: 443 },
    },
    end: 28,
  });
  const six = parse(v2('21 21', `20010db8${'0'.repeat(23)}1${'0'.repeat(31)}1${'00010002'}`), 'hex');
  assert.deepEqual(six, {
    header: {
      ...nothing,
      ...{ version: 2, command: 'proxy', transport: 'tcp6' },
      source: { address: '2001:db8::1', port: 1 },
      destination: { address: '::1', port: 2 },
    },
    end: 52,
  });
  const name = (text: string) => Buffer.alloc(108, 0).fill(text, 0, text.length).toString('hex');
  const unix = parse(v2('21 31', name('/run/a') + name('\0abstract')), 'hex');
  assert.deepEqual(unix, {
    header: {
      ...nothing,
      ...{ version: 2, command: 'proxy', transport: 'unix' },
      source: { address: '/run/a', port: undefined },
      destination: { address: '\0abstract', port: undefined },
    },
    end: 232,
  });
});

test('addresses of IPv6 are written as RFC 5952 says', () => {
  for (const [hex, text] of [
    ['00000000000000000000000000000000', '::'],
    ['00000000000000000000000000000001', '::1'],
    ['20010db8000000000000000000000000', '2001:db8::'],
    ['20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
    ['20010000000000010000000000000001', '2001:0:0:1::1'],
    ['20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
    ['00010002000300040005000600070008', '1:2:3:4:5:6:7:8'],
  ] as const) {
    const parsed = parse(v2('21 21', `${hex}${hex}00010001`), 'hex');
    assert.ok(parsed !== undefined && 'header' in parsed);
    assert.equal(parsed.header.source?.address, text);
  }
});

test('a proxy that speaks for itself, and families nobody knows', () => {
  const local = { ...nothing, version: 2, command: 'local', transport: 'unknown' };
  const unknown = { ...nothing, version: 2, command: 'proxy', transport: 'unknown' };
  assert.deepEqual(parse(v2('20 00'), 'hex'), { header: local, end: 16 });
  assert.deepEqual(parse(v2('20 11', 'ffff'), 'hex'), { header: local, end: 18 });
  assert.deepEqual(parse(v2('21 00', 'abcdef'), 'hex'), { header: unknown, end: 19 });
  assert.deepEqual(parse(v2('21 44', 'abcdef'), 'hex'), { header: unknown, end: 19 });
});

test('type-length-values are kept as they came', () => {
  const addresses = 'c0000201c6336401c73801bb';
  const tlvs = '02 000b 6578616d706c652e636f6d 05 0003 010203 04 0000 ea 0001 ff'.replaceAll(' ', '');
  const parsed = parse(v2('21 11', addresses + tlvs), 'hex');
  assert.ok(parsed !== undefined && 'header' in parsed);
  const { header } = parsed;
  assert.deepEqual([header.authority, header.uniqueId], ['example.com', Buffer.from([1, 2, 3])]);
  assert.deepEqual(
    header.tlvs.map(({ type, value }) => [type, value.toString('hex')]),
    [
      [2, '6578616d706c652e636f6d'],
      [5, '010203'],
      [4, ''],
      [0xea, 'ff'],
    ],
  );
});

test('a checksum is checked', () => {
  // RFC 3720, B.4: 32 bytes of zeros, 32 of ones, and 0 to 31.
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
  assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
  assert.equal(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i))), 0x46dd794e);
  const withSum = (sum: string) => v2('21 11', `c0000201c6336401c73801bb030004${sum}`);
  const right = crc32c(Buffer.from(withSum('00000000'), 'hex'))
    .toString(16)
    .padStart(8, '0');
  assert.ok('header' in (parse(withSum(right), 'hex') ?? {}));
  assert.match((parse(withSum('12345678'), 'hex') as { message: string }).message, /CRC32c/);
  const short = v2('21 11', 'c0000201c6336401c73801bb030002abcd');
  assert.match((parse(short, 'hex') as { message: string }).message, /CRC32c of 2 bytes/);
});

test('what is no version 2', () => {
  for (const [head, body] of [
    ['11 11', 'c0000201c6336401c73801bb'],
    ['31 11', 'c0000201c6336401c73801bb'],
    ['22 11', 'c0000201c6336401c73801bb'],
    ['21 11', 'c0000201c6336401c73801'],
    ['21 21', 'c0000201c6336401c73801bb'],
    ['21 11', 'c0000201c6336401c73801bb02'],
    ['21 11', 'c0000201c6336401c73801bb0200'],
    ['21 11', 'c0000201c6336401c73801bb020002ff'],
  ] as const) {
    assert.equal((parse(v2(head, body), 'hex') as { reason?: string }).reason, 'PROXY_HEADER_BAD', `${head} ${body}`);
  }
  const declared = `${SIGNATURE}21110${(4096 - 15).toString(16)}`;
  assert.equal((parse(declared, 'hex') as { reason?: string }).reason, 'PROXY_HEADER_TOO_LARGE');
});

test('bytes that are no header, as soon as that is known', () => {
  for (const bytes of [
    'GET / HTTP/1.1\r\n',
    'PROXx',
    'PROXY',
    'P',
    '\r',
    '\r\n\r\n\0',
    '\r\n\r\nx',
    '\0',
    'proxy TCP4',
  ]) {
    const isOpen = ['PROXY', 'P', '\r', '\r\n\r\n\0'].includes(bytes);
    const parsed = parse(bytes) as { reason?: string } | undefined;
    assert.equal(parsed?.reason, isOpen ? undefined : 'PROXY_HEADER_MISSING', JSON.stringify(bytes));
  }
  assert.equal(parse(''), undefined);
});

test('a header that is cut anywhere needs more', () => {
  for (const whole of [
    Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.1 51000 443\r\n'),
    Buffer.from('PROXY UNKNOWN\r\n'),
    Buffer.from(v2('21 11', 'c0000201c6336401c73801bb020002ffff'), 'hex'),
    Buffer.from(v2('20 00'), 'hex'),
  ]) {
    for (let cut = 0; cut < whole.length; cut++)
      assert.equal(parseProxyHeader(whole.subarray(0, cut), 4096), undefined);
    const parsed = parseProxyHeader(Buffer.concat([whole, Buffer.from('rest')]), 4096);
    assert.ok(parsed !== undefined && 'header' in parsed);
    assert.equal(parsed.end, whole.length);
  }
});
