// OpenFeature's SDK and OFREP provider for servers: one request for each flag.
'use strict';

const assert = require('node:assert/strict');
const { OpenFeature } = require('@openfeature/server-sdk');
const { OFREPProvider } = require('@openfeature/ofrep-provider');
const { base, key, run, until, set, fill } = require('./cases.cjs');

let count = 0;

async function client(options = {}) {
  const domain = `domain-${(count += 1)}`;
  const provider = new OFREPProvider({ baseUrl: base, headers: [['X-API-Key', key]], ...options });
  await OpenFeature.setProviderAndWait(domain, provider);
  return OpenFeature.getClient(domain);
}

function like(details, expected) {
  assert.deepEqual(Object.fromEntries(Object.keys(expected).map((name) => [name, details[name]])), expected);
}

run({
  'every type': async () => {
    const flags = await client();
    like(await flags.getBooleanDetails('bool', false), { value: true, variant: 'on', reason: 'STATIC' });
    like(await flags.getStringDetails('text', ''), { value: 'hello', variant: 'one', reason: 'STATIC' });
    like(await flags.getNumberDetails('whole', 0), { value: 42, variant: 'one', reason: 'STATIC' });
    like(await flags.getNumberDetails('float', 0), { value: 5.0, variant: 'one', reason: 'STATIC' });
    like(await flags.getObjectDetails('object', {}), { value: { rows: [1, 2] }, variant: 'one', reason: 'STATIC' });
  },
  'the default variant': async () => {
    const details = await (await client()).getBooleanDetails('staff', true, { targetingKey: 'eve', email: 'eve@evil.example' });
    like(details, { value: false, variant: 'off', reason: 'DEFAULT', errorCode: undefined });
  },
  'a rule': async () => {
    const details = await (await client()).getBooleanDetails('staff', false, { targetingKey: 'ann', email: 'ann@acme.example' });
    like(details, { value: true, variant: 'on', reason: 'TARGETING_MATCH' });
    like(details.flagMetadata, { owner: 'ann', flagSetId: 'web', 'tenon.source': 'definition' });
  },
  'fractional': async () => {
    const flags = await client();
    for (const [name, suit] of [['jack', 'hearts'], ['queen', 'spades'], ['ten', 'clubs'], ['nine', 'diamonds']]) {
      const details = await flags.getStringDetails('fractional-flag', '', { user: { name } });
      like(details, { value: suit, reason: 'TARGETING_MATCH' });
    }
    for (const [targetingKey, side] of [['jon@company.com', 'heads'], ['jane@company.com', 'tails']]) {
      assert.equal(await flags.getStringValue('fractional-flag-shorthand', '', { targetingKey }), side);
    }
  },
  'a disabled flag is the default': async () => {
    // This provider takes no answer without a value.
    const details = await (await client()).getBooleanDetails('killed', true);
    like(details, { value: true, reason: 'ERROR', errorCode: 'GENERAL' });
  },
  'an unknown flag is the default': async () => {
    like(await (await client()).getStringDetails('nope', 'mine'), { value: 'mine', errorCode: 'FLAG_NOT_FOUND' });
  },
  'another type is the default': async () => {
    like(await (await client()).getBooleanDetails('text', true), { value: true, errorCode: 'TYPE_MISMATCH' });
  },
  'a missing targeting key': async () => {
    like(await (await client()).getStringDetails('fractional-flag-shorthand', ''), { value: 'tails', reason: 'DEFAULT' });
  },
  'a broken rule is the default': async () => {
    like(await (await client()).getBooleanDetails('broken', true), { value: true, errorCode: 'GENERAL' });
  },
  'a wrong key is the default': async () => {
    const flags = await client({ headers: [['X-API-Key', `${key}x`]] });
    const details = await flags.getBooleanDetails('bool', false);
    like(details, { value: false, reason: 'ERROR', errorCode: 'GENERAL' });
  },
  'a key as bearer token': async () => {
    const flags = await client({ headers: [], headersFactory: () => [['Authorization', `Bearer ${key}`]] });
    assert.equal(await flags.getBooleanValue('bool', false), true);
  },
  'a tenant named by path': async () => {
    assert.equal(await (await client({ baseUrl: `${base}/t/acme` })).getBooleanValue('bool', false), true);
  },
  'odd keys': async () => {
    const flags = await client();
    for (const odd of ['a/b', 'a b', 'ä:b+c', 'a/b/']) {
      like(await flags.getStringDetails(odd, ''), { value: odd, errorCode: undefined });
    }
  },
  'a change is seen by the next question': async () => {
    const flags = await client();
    await set({ 'set-by-server': 'one' });
    assert.equal(await flags.getStringValue('set-by-server', ''), 'one');
    await set({ 'set-by-server': 'two' });
    like(await flags.getStringDetails('set-by-server', ''), { value: 'two', variant: 'tenant', reason: 'STATIC' });
    await set({ 'set-by-server': null });
  },
  'too many requests': async () => {
    const flags = await client();
    const release = await fill();
    like(await flags.getBooleanDetails('bool', false), { value: false, errorCode: 'GENERAL' });
    release();
    const paused = await flags.getBooleanDetails('bool', false);
    assert.match(paused.errorMessage, /paused due to TooManyRequests/);
    await until('it asks again', () => flags.getBooleanValue('bool', false));
  },
}, () => OpenFeature.clearProviders());
