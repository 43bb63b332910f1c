// What both JavaScript clients use: cases one after the other, and the other side of the host.
'use strict';

const assert = require('node:assert/strict');
const net = require('node:net');

const { TENON_BASE: base, TENON_KEY: key, TENON_ADMIN: admin, TENON_ADMIN_TOKEN: token } = process.env;
const LONG = 30_000;

/** Runs all cases, `after` each of them, and tells of it; the last line says how many there were. */
async function run(cases, after) {
  let passed = 0;
  for (const [name, run] of Object.entries(cases)) {
    try {
      await run();
      passed += 1;
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`not ok ${name}: ${String(error.stack ?? error).replaceAll('\n', ' | ')}`);
    }
    await after();
  }
  console.log(`${Object.keys(cases).length} run, ${passed} passed`);
  // Providers keep timers and connections.
  process.exit(0);
}

/** Waits until something holds. */
async function until(what, holds) {
  const deadline = Date.now() + LONG;
  for (;;) {
    const found = await holds();
    if (found) return found;
    assert(Date.now() < deadline, `waited in vain: ${what}`);
    await new Promise((go) => setTimeout(go, 10));
  }
}

/** Sets flags of the tenant, as an operator. */
async function set(flags) {
  const answer = await fetch(`${admin}/admin/v1/tenants/acme/flags`, {
    method: 'PATCH',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(flags),
  });
  assert.equal(answer.status, 200, await answer.text());
}

/** How many requests of the tenant may be coming in at once: eight for each that is answered. */
const AT_ONCE = 8 * 4;

/** As many requests as the host lets in for the tenant, which stay inside; gives what lets them go. */
async function fill() {
  const { hostname, port } = new URL(base);
  const held = new Set();
  let released = false;
  const hold = () => {
    const socket = net.connect(Number(port), hostname);
    held.add(socket);
    socket.on('error', () => {});
    // An answer is a refusal: somebody else was inside at that moment.
    socket.on('data', () => {
      held.delete(socket);
      socket.destroy();
      if (!released) hold();
    });
    // A request whose body is still to come.
    socket.write(`POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nhost: x\r\nx-api-key: ${key}\r\ncontent-length: 2\r\n\r\n`);
  };
  for (let count = 0; count < AT_ONCE; count += 1) hold();
  await until('no other is let in', async () => {
    const answer = await fetch(`${base}/ofrep/v1/evaluate/flags/bool`, { method: 'POST', headers: { 'x-api-key': key } });
    await answer.arrayBuffer();
    return answer.status === 429;
  });
  return () => {
    released = true;
    held.forEach((socket) => socket.destroy());
  };
}

module.exports = { base, key, run, until, set, fill };
