// `make soak`: ten minutes of honest clients with hostile ones among them. Fails where an honest client sees an
// error, an event is missed or comes twice, or the server's memory grows. CADENZA_SOAK_SECONDS says how long,
// CADENZA_SOAK_DATABASE on which database: sqlite or postgres.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { post } from "./clients.mjs";
import { HARM } from "./hostile.mjs";
import { startWorld } from "./world.mjs";

const SECONDS = Number(process.env.CADENZA_SOAK_SECONDS ?? 600);
const FOLLOWERS = 20;
const world = await startWorld(process.env.CADENZA_SOAK_DATABASE);
const until = performance.now() + SECONDS * 1_000;
const goesOn = () => performance.now() < until;
const faults = [];
const latencies = [];
const hostile = {};

const memory = async () => Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${world.pid}/status`, "utf8"))[1]);
const random = (list) => list[Math.floor(Math.random() * list.length)];

const leads = (await world.run("{ leads(first: 50) { nodes { id } } }")).leads.nodes.map(({ id }) => id);
const honest = [
  () => ["{ leads(first: 50) { nodes { id status person { email } sequence { name } currentStep { key } } } }"],
  () => ["{ people(first: 20) { totalCount nodes { email } } }"],
  () => ["mutation ($i: PersonUpdateInput!) { personUpdate(input: $i) { userErrors { code } } }", { i: { id: world.person, set: { company: `C${Math.random()}` } } }],
  () => ["mutation ($i: LeadsBulkInput!) { leadsPause(input: $i) { userErrors { code } } }", { i: { leads: { ids: [random(leads)] } } }],
  () => ["mutation ($i: LeadsBulkInput!) { leadsResume(input: $i) { userErrors { code } } }", { i: { leads: { ids: [random(leads)] } } }],
];

async function honestWorker() {
  while (goesOn()) {
    const [query, variables] = random(honest)();
    const began = performance.now();
    try {
      const answer = await post(world, { token: world.token, query, variables });
      const body = await answer.json();
      if (answer.status !== 200 || body.errors) faults.push(JSON.stringify(body).slice(0, 300));
    } catch (error) {
      faults.push(String(error.cause ?? error));
    }
    latencies.push(performance.now() - began);
    await pause(40);
  }
}

// Something happens all the time, so that there is something to follow.
async function eventMaker() {
  const { id } = (await world.run("{ sequences(first: 1) { nodes { id } } }")).sequences.nodes[0];
  while (goesOn()) {
    for (const [field, input] of [["sequenceDisable", "SequenceIdInput"], ["sequencePublish", "SequencePublishInput"]]) {
      const payload = (await world.run(`mutation ($i: ${input}!) { ${field}(input: $i) { userErrors { message } } }`, { i: { id } }))[field];
      if (payload.userErrors.length > 0) faults.push(JSON.stringify(payload.userErrors));
    }
    await pause(200);
  }
}

// Each follower checks that the numbers of its events have no gap and no repeat, however often it comes and goes.
function follower(n) {
  let seen = 0;
  let client;
  let current = 0;
  const follow = () => {
    // What the client before still hears, this one hears again.
    const own = (current += 1);
    client = createClient({ url: world.ws, webSocketImpl: WebSocket, retryAttempts: 0, connectionParams: { authorization: `Bearer ${world.token}` } });
    const after = `evt_${seen.toString(16).padStart(16, "0")}`;
    client.subscribe({ query: "subscription ($after: EventCursor) { executionEvents(after: $after) { cursor } }", variables: { after } }, {
      next: ({ data, errors }) => {
        if (own !== current) return;
        const number = Number.parseInt(data?.executionEvents.cursor.slice(4), 16);
        if (errors || number !== seen + 1) faults.push(`follower ${n}: ${number} after ${seen}: ${JSON.stringify(errors)}`);
        seen = number;
      },
      error: (error) => faults.push(`follower ${n}: ${error.message ?? JSON.stringify(error.reason ?? error)}`),
      complete: () => {},
    });
  };
  follow();
  const again = setInterval(() => {
    if (n % 2 === 0) client.dispose();
    if (n % 2 === 0) follow();
  }, 5_000 + n * 300);
  return { seen: () => seen, stop: () => (clearInterval(again), client.dispose()) };
}

async function hostileWorker() {
  while (goesOn()) {
    const kind = random(Object.keys(HARM));
    hostile[kind] = (hostile[kind] ?? 0) + 1;
    await HARM[kind](world).catch(() => {});
    await pause(50);
  }
}

const followers = Array.from({ length: FOLLOWERS }, (_, n) => follower(n));
const workers = [eventMaker(), ...Array.from({ length: 4 }, honestWorker), ...Array.from({ length: 4 }, hostileWorker)];
const samples = [];
while (goesOn()) {
  await pause(Math.min(10_000, SECONDS * 100));
  samples.push(await memory());
}
await Promise.all(workers);
// What is still on its way arrives.
for (let n = 0; n < 100 && new Set(followers.map(({ seen }) => seen())).size > 1; n += 1) await pause(100);
const last = followers.map(({ seen }) => seen());
followers.forEach(({ stop }) => stop());
latencies.sort((a, b) => a - b);
const warm = samples.slice(Math.floor(samples.length / 3));
const [early, late] = [Math.max(...warm.slice(0, Math.ceil(warm.length / 3))), Math.max(...warm.slice(-Math.ceil(warm.length / 3)))];
console.log(`${SECONDS} s: ${latencies.length} honest requests, p50 ${latencies[latencies.length >> 1].toFixed(1)} ms, p99 ${latencies[Math.floor(latencies.length * 0.99)].toFixed(1)} ms; hostile ones ${JSON.stringify(hostile)}`);
console.log(`events seen by followers: ${Math.min(...last)} to ${Math.max(...last)}; memory after a third ${early} kB, at the end ${late} kB; faults ${faults.length}`);
const end = await world.stop();
assert.deepEqual(faults.slice(0, 10), []);
assert.equal(new Set(last).size, 1, "all have seen the same");
assert.ok(last[0] > 240 + SECONDS, "events came all the time");
assert.ok(late < early * 1.15 + 10_000, `memory grew from ${early} to ${late} kB`);
assert.equal(end.code, 0);
