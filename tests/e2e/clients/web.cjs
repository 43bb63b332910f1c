// OpenFeature's SDK and OFREP provider for pages: all flags at once, changes by polling or by a stream.
'use strict';

// What a browser has and Node has not.
globalThis.EventSource = require('eventsource').EventSource;

const assert = require('node:assert/strict');
const { OpenFeature, ProviderEvents } = require('@openfeature/web-sdk');
const { OFREPWebProvider } = require('@openfeature/ofrep-web-provider');
const { base, key, run, until, set, fill } = require('./cases.cjs');

let count = 0;

/** A client, with all requests that its provider sends and their answers. */
async function client(context, options = {}) {
  const domain = `domain-${(count += 1)}`;
  const sent = [];
  const fetchImplementation = async (request, init) => {
    const one = { url: request.url, known: request.headers.get('if-none-match'), at: Date.now() };
    sent.push(one);
    const answer = await fetch(request, init);
    Object.assign(one, { status: answer.status, etag: answer.headers.get('etag'), retry: answer.headers.get('retry-after') });
    one.answeredAt = Date.now();
    return answer;
  };
  const headers = [['X-API-Key', key]];
  const settings = { baseUrl: base, headers, cacheMode: 'disabled', fetchImplementation, ...options };
  const flags = OpenFeature.getClient(domain);
  const ready = OpenFeature.setProviderAndWait(domain, new OFREPWebProvider(settings), context);
  return { flags, sent, domain, ready };
}

async function ready(context, options) {
  const made = await client(context, options);
  await made.ready;
  return made;
}

function like(details, expected) {
  assert.deepEqual(Object.fromEntries(Object.keys(expected).map((name) => [name, details[name]])), expected);
}

const quiet = { changeDetection: 'none' };

run({
  'every type': async () => {
    const { flags, sent } = await ready({ targetingKey: 'ann' }, quiet);
    like(flags.getBooleanDetails('bool', false), { value: true, variant: 'on', reason: 'STATIC' });
    like(flags.getStringDetails('text', ''), { value: 'hello', variant: 'one', reason: 'STATIC' });
    like(flags.getNumberDetails('whole', 0), { value: 42, variant: 'one', reason: 'STATIC' });
    like(flags.getNumberDetails('float', 0), { value: 5.0, variant: 'one', reason: 'STATIC' });
    like(flags.getObjectDetails('object', {}), { value: { rows: [1, 2] }, variant: 'one', reason: 'STATIC' });
    assert.equal(sent.length, 1);
  },
  'the default variant': async () => {
    const { flags } = await ready({ targetingKey: 'eve', email: 'eve@evil.example' }, quiet);
    like(flags.getBooleanDetails('staff', true), { value: false, variant: 'off', reason: 'DEFAULT', errorCode: undefined });
  },
  'a rule': async () => {
    const { flags } = await ready({ targetingKey: 'ann', email: 'ann@acme.example' }, quiet);
    const details = flags.getBooleanDetails('staff', false);
    like(details, { value: true, variant: 'on', reason: 'TARGETING_MATCH' });
    like(details.flagMetadata, { owner: 'ann', flagSetId: 'web', 'tenon.source': 'definition' });
  },
  'fractional': async () => {
    const { flags } = await ready({ targetingKey: 'jane@company.com', user: { name: 'queen' } }, quiet);
    like(flags.getStringDetails('fractional-flag', ''), { value: 'spades', reason: 'TARGETING_MATCH' });
    like(flags.getStringDetails('fractional-flag-shorthand', ''), { value: 'tails', reason: 'TARGETING_MATCH' });
  },
  'a disabled flag is the default': async () => {
    const { flags } = await ready({ targetingKey: 'ann' }, quiet);
    like(flags.getBooleanDetails('killed', true), { value: true, reason: 'DISABLED', errorCode: undefined });
    like(flags.getStringDetails('open', 'mine'), { value: 'mine', reason: 'DEFAULT', errorCode: undefined });
  },
  'an unknown flag is the default': async () => {
    const { flags } = await ready({ targetingKey: 'ann' }, quiet);
    like(flags.getStringDetails('nope', 'mine'), { value: 'mine', errorCode: 'FLAG_NOT_FOUND' });
  },
  'another type is the default': async () => {
    const { flags } = await ready({ targetingKey: 'ann' }, quiet);
    like(flags.getBooleanDetails('text', true), { value: true, errorCode: 'TYPE_MISMATCH' });
  },
  'a missing targeting key': async () => {
    const { flags } = await ready({}, quiet);
    like(flags.getStringDetails('fractional-flag-shorthand', ''), { value: 'tails', reason: 'DEFAULT' });
  },
  'a broken rule is the default, and disturbs no other flag': async () => {
    const { flags } = await ready({ targetingKey: 'ann' }, quiet);
    like(flags.getBooleanDetails('broken', true), { value: true, errorCode: 'GENERAL' });
    assert.equal(flags.getBooleanValue('bool', false), true);
  },
  'odd keys': async () => {
    const { flags } = await ready({ targetingKey: 'ann' }, quiet);
    for (const odd of ['a/b', 'a b', 'ä:b+c', 'a/b/']) {
      like(flags.getStringDetails(odd, ''), { value: odd, errorCode: undefined });
    }
  },
  'a wrong key is fatal': async () => {
    const { flags, ready } = await client({}, { headers: [['X-API-Key', `${key}x`]] });
    await assert.rejects(ready, (error) => error.code === 'PROVIDER_FATAL' && error.cause?.response?.status === 401);
    assert.equal(flags.providerStatus, 'FATAL');
    assert.equal(flags.getBooleanValue('bool', false), false);
  },
  'another context': async () => {
    const { flags, sent, domain } = await ready({ targetingKey: 'eve' }, quiet);
    assert.equal(flags.getBooleanValue('staff', true), false);
    await OpenFeature.setContext(domain, { targetingKey: 'eve', email: 'ann@acme.example' });
    assert.equal(flags.getBooleanValue('staff', false), true);
    // The tag of the other context was sent, and was not taken for this one's.
    like(sent[1], { known: sent[0].etag, status: 200 });
    assert.notEqual(sent[1].etag, sent[0].etag);
  },
  'polling, until something is different': async () => {
    await set({ 'set-by-web': 'one' });
    const { flags, sent } = await ready({ targetingKey: 'ann' }, { changeDetection: 'polling', pollInterval: 20 });
    const unchanged = await until('a 304 comes', () => sent.find((one) => one.status === 304));
    like(unchanged, { known: sent[0].etag, etag: sent[0].etag });
    assert.equal(flags.getStringValue('set-by-web', ''), 'one');
    await set({ 'set-by-web': 'two' });
    await until('the change is seen', () => flags.getStringValue('set-by-web', '') === 'two');
  },
  'a stream, and no polling': async () => {
    await set({ 'set-by-web': 'one' });
    const { flags, sent } = await ready({ targetingKey: 'ann' });
    const changed = [];
    flags.addHandler(ProviderEvents.ConfigurationChanged, (event) => changed.push(...event.flagsChanged));
    await set({ 'set-by-web': 'two' });
    await until('the change is told', () => flags.getStringValue('set-by-web', '') === 'two');
    await until('the event comes', () => changed.includes('set-by-web'));
    assert.equal(new Set(changed).size, 1, `${changed}`);
    assert.equal(sent.length, 2);
    const asked = new URL(sent[1].url).searchParams;
    assert.match(asked.get('flagConfigEtag'), /^\d+-[0-9a-f]{16}-[0-9a-f]{16}$/);
    assert.match(asked.get('flagConfigLastModified'), /^\d{10}$/);
    // And once more, on the same stream.
    await set({ 'set-by-web': 'three' });
    await until('the next change is told', () => flags.getStringValue('set-by-web', '') === 'three');
  },
  'a stream below a path that names the tenant': async () => {
    await set({ 'set-by-web': 'one' });
    const { flags } = await ready({ targetingKey: 'ann' }, { baseUrl: `${base}/t/acme` });
    await set({ 'set-by-web': 'two' });
    await until('the change is told', () => flags.getStringValue('set-by-web', '') === 'two');
  },
  'a change between the answer and the stream is not missed': async () => {
    await set({ 'set-by-web': 'one' });
    // The stream is opened while the change is made, before or after it.
    const made = await client({ targetingKey: 'ann' });
    const [, ] = await Promise.all([made.ready, set({ 'set-by-web': 'two' })]);
    await until('the change is told', () => made.flags.getStringValue('set-by-web', '') === 'two');
  },
  'too many requests': async () => {
    const { flags, sent } = await ready({ targetingKey: 'ann' }, { changeDetection: 'polling', pollInterval: 20 });
    const release = await fill();
    const refused = await until('it is refused', () => sent.find((one) => one.status === 429));
    release();
    const next = await until('it asks again', () => sent[sent.indexOf(refused) + 1]);
    assert(next.at >= refused.at + Number(refused.retry) * 1000, 'not before it was told to');
    await until('it is served again', () => next.status === 304 || next.status === 200);
    assert.equal(flags.getBooleanValue('bool', false), true);
  },
}, () => OpenFeature.clearProviders());
