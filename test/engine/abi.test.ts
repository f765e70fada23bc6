/** abi.ts and native/abi.h are two halves of one thing: what one says, the other has to say. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import * as abi from '#src/engine/abi.ts';

const header = readFileSync('native/abi.h', 'utf8');

/** `NAME = 1u << 5` or `NAME = 26` of an enum. */
function constant(name: string): number {
  const [, text] = new RegExp(`\\b${name} = ([^,}/]+)`).exec(header) ?? [];
  assert.ok(text !== undefined, `${name} stands in abi.h`);
  const [value, shift = '0'] = text.replaceAll('u', '').split('<<');
  return Number(value) << Number(shift);
}

/** The members of a struct in order. */
function members(struct: string): string[] {
  const [, body] = new RegExp(`struct ${struct} \\{([^}]+)\\}`).exec(header) ?? [];
  assert.ok(body !== undefined, `struct ${struct} stands in abi.h`);
  const declarations = body.replace(/\/\*.*?\*\//gs, '').split(';');
  return declarations.flatMap((line) => line.trim().replace(/^\w+ /, '').split(/,\s*/)).filter((name) => name !== '');
}

test('opcodes are the same on both sides', () => {
  for (const [name, value] of Object.entries(abi.OP)) assert.equal(constant(`OP_${name}`), value, name);
});

test('flags are the same on both sides', () => {
  assert.equal(constant('SQE_BUFFER_SELECT'), abi.SQE_F.BUFFER_SELECT);
  assert.equal(constant('ACCEPT_MULTISHOT'), abi.ACCEPT_MULTISHOT);
  assert.equal(constant('RECV_MULTISHOT'), abi.RECV_MULTISHOT);
  assert.equal(constant('CQE_F_BUFFER'), abi.CQE_F.BUFFER);
  assert.equal(constant('CQE_F_MORE'), abi.CQE_F.MORE);
  assert.equal(constant('CQE_BUFFER_SHIFT'), abi.CQE_BUFFER_SHIFT);
  assert.equal(constant('SQ_CQ_OVERFLOW'), abi.SQ_CQ_OVERFLOW);
  assert.equal(constant('ENTER_GETEVENTS'), abi.ENTER_GETEVENTS);
  assert.equal(constant('FEATURE_RECV_LIMIT'), abi.FEATURE_RECV_LIMIT);
});

test('user_data is laid out the same on both sides', () => {
  assert.match(header, new RegExp(`USER_SLOT_MASK = 0x${abi.USER_SLOT_MASK.toString(16)}\\b`));
  assert.equal(constant('USER_OP_SHIFT'), abi.USER_OP_SHIFT);
  assert.equal(constant('USER_OP_ACCEPT'), abi.USER_OP.ACCEPT);
  assert.equal(constant('MAX_SLOTS'), abi.MAX_SLOTS);
  assert.ok(abi.MAX_SLOTS <= abi.USER_SLOT_MASK + 1);
});

test('a ring reports its layout in the order in which it is read', () => {
  const camelCase = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
  assert.deepEqual(members('layout').map(camelCase), [...abi.LAYOUT]);
});

test('the words of the control memory stand in the same places', () => {
  const words = members('control').flatMap((name) => {
    const [, base, count] = /^(\w+)(?:\[(\w+)\])?$/.exec(name) ?? [];
    return count === undefined || base === 'slot_fd' ? [base] : new Array(Number(count)).fill(base);
  });
  assert.equal(words.indexOf('wants_flush'), abi.CONTROL.WANTS_FLUSH);
  assert.equal(words.indexOf('slots_used'), abi.CONTROL.SLOTS_USED);
  assert.equal(words.indexOf('is_draining'), abi.CONTROL.IS_DRAINING);
  assert.equal(words.indexOf('slot_fd'), abi.CONTROL.SLOT_FD);
});
