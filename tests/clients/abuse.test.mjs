// Requests that mean harm: each is refused with a code and in bounded time, the server answers everybody else
// meanwhile, and its memory stays what it was.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import WebSocket from "ws";
import { within } from "./server.mjs";
import { startWorld } from "./world.mjs";

const REFUSED_WITHIN_MS = 3_000;
const bomb = (count, width) =>
  `{ ...F0 } ${Array.from({ length: count }, (_, n) => `fragment F${n} on Query { ${n + 1 < count ? `...F${n + 1} `.repeat(width) : "__typename"} }`).join(" ")}`;
const nested = (open, close, depth) => open.repeat(depth) + close.repeat(depth);

describe("abuse", { timeout: 300_000 }, () => {
  let world;
  before(async () => (world = await startWorld()));
  after(() => world?.stop());

  const ask = async (body) => {
    const began = performance.now();
    const answer = await fetch(world.http, {
      method: "POST",
      headers: { ...world.headers, "content-type": "application/json", accept: "application/graphql-response+json" },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
    const text = await answer.text();
    return { status: answer.status, text, ms: performance.now() - began };
  };
  const answersOthers = async () => {
    const { status, ms } = await ask({ query: "{ people(first: 1) { totalCount } }" });
    assert.equal(status, 200);
    assert.ok(ms < 1_000, `a plain query took ${ms} ms`);
  };
  const memory = async () => Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${world.pid}/status`, "utf8"))[1]);

  const lead = () => `lead(id: "${world.lead}")`;
  const touch = (n) => `a${n}: personUpdate(input: { id: "${world.person}", set: { company: "x" } }) { person { id } }`;
  const refused = {
    "1,000 aliases": () => `{ ${Array.from({ length: 1_000 }, (_, n) => `a${n}: __typename`).join(" ")} }`,
    "200 mutations": () => `mutation { ${Array.from({ length: 200 }, (_, n) => touch(n)).join(" ")} }`,
    "1,000 directives on a field": () => `{ __typename ${"@skip(if: false) ".repeat(1_000)} }`,
    "1,000 directives on a fragment": () => `{ ...F ${"@include(if: true) ".repeat(1_000)} } fragment F on Query { __typename }`,
    "a list 2,048 deep": () => `{ __typename(x: ${nested("[", "]", 2_048)}) }`,
    "a list 20,000 deep": () => `{ __typename(x: ${nested("[", "]", 20_000)}) }`,
    "an object 2,048 deep": () => `{ __typename(x: ${nested("{a:", "}", 2_048)}) }`,
    "a type 2,048 deep": () => `query ($a: ${"[".repeat(2_048)}Int${"]".repeat(2_048)}) { __typename }`,
    "a selection 30 deep": () => `{ ${lead()} { ${"person { leads { nodes { ".repeat(10)} id ${"} } }".repeat(10)} } }`,
    "a selection 5,000 deep": () => nested("{ a ", "}", 5_000),
    "a depth behind fragments": () => `{ ${lead()} { ...F0 } } ${Array.from({ length: 40 }, (_, n) => `fragment F${n} on Lead { person { leads { nodes { ${n < 39 ? `...F${n + 1}` : "id"} } } } }`).join(" ")}`,
    "a fragment that holds itself": () => "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    "a circle nobody uses": () => "{ __typename } fragment A on Query { ...B } fragment B on Query { ...A }",
    "fragments 2^18": () => bomb(18, 2),
    "fragments 2^28": () => bomb(28, 2),
    "fragments one in the other 4,000 times": () => bomb(4_000, 1),
    "100,000 rows": () => "{ leads(first: 100000) { nodes { id } } }",
    "pages of pages of pages": () => "{ leads(first: 100) { nodes { executions(first: 100) { nodes { lead { executions(first: 100) { nodes { id } } } } } } } }",
    "the schema in circles": () => `{ __schema { types { ${"fields { type { ".repeat(6)} name ${"} }".repeat(6)} } } }`,
    "400,000 tokens": () => `{ ${"a ".repeat(400_000)} }`,
    "5,000 unknown fields": () => `{ ${Array.from({ length: 5_000 }, (_, n) => `nope${n}`).join(" ")} }`,
  };
  for (const [name, document] of Object.entries(refused)) {
    it(`refuses ${name}`, async () => {
      const { status, text, ms } = await ask({ query: document() });
      const { data, errors } = JSON.parse(text);
      assert.ok(!data, text.slice(0, 200));
      assert.ok(["QUERY_TOO_COMPLEX", "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT"].includes(errors[0].extensions.code), text.slice(0, 200));
      assert.ok(status === 400 || status === 200, `${status}`);
      assert.ok(errors.length <= 20 && text.length < 100_000, `${errors.length} errors, ${text.length} bytes`);
      assert.ok(ms < REFUSED_WITHIN_MS, `${ms} ms`);
      await answersOthers();
    });
  }

  it("refuses variables that are 10,000 deep, and batches that are too long", async () => {
    const deep = `{"query":"{ __typename }","variables":{"a":${nested("[", "]", 10_000)}}}`;
    const batch = JSON.stringify(Array.from({ length: 1_000 }, () => ({ query: "{ __typename }" })));
    for (const body of [deep, batch]) {
      assert.equal((await ask(body)).status, 400);
      await answersOthers();
    }
  });

  it("refuses a message of 20 MB on a socket, and the 101st operation", async () => {
    const open = async () => {
      const socket = new WebSocket(world.ws, "graphql-transport-ws");
      const heard = [];
      const closed = new Promise((done) => socket.once("close", (code) => done(code)));
      const message = (holds) => within(20_000, "a message", new Promise((done) => {
        const look = (data) => {
          const said = JSON.parse(data);
          heard.push(said);
          if (holds(said)) done(said);
        };
        socket.on("message", look);
      }));
      socket.on("error", () => {});
      await new Promise((done) => socket.once("open", done));
      const acknowledged = message(({ type }) => type === "connection_ack");
      socket.send(JSON.stringify({ type: "connection_init", payload: { authorization: `Bearer ${world.token}` } }));
      await acknowledged;
      return { socket, closed, message };
    };
    const large = await open();
    large.socket.send(JSON.stringify({ id: "1", type: "subscribe", payload: { query: `{ __typename } #${"x".repeat(20e6)}` } }));
    await within(20_000, "the socket's end", large.closed);
    const many = await open();
    const limited = many.message(({ type, payload }) => type === "error" && payload[0].extensions.code === "RATE_LIMITED");
    for (let n = 0; n < 200; n += 1) {
      many.socket.send(JSON.stringify({ id: `s${n}`, type: "subscribe", payload: { query: "subscription { executionEvents { cursor } }" } }));
    }
    await limited;
    many.socket.terminate();
    await answersOthers();
  });

  it("cuts a body that never ends", async () => {
    const { hostname, port } = new URL(world.http);
    const cut = new Promise((done) => {
      const socket = connect(port, hostname, () =>
        socket.write(`POST /graphql HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: Bearer ${world.token}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"query"`));
      socket.on("data", () => {});
      socket.on("close", done);
      socket.on("error", done);
    });
    await within(35_000, "the end of the connection", cut);
  });

  it("keeps its memory", async () => {
    const storm = async () => {
      for (const document of Object.values(refused)) await ask({ query: document() });
    };
    await storm();
    const before = await memory();
    for (let round = 0; round < 5; round += 1) await storm();
    const grown = (await memory()) - before;
    assert.ok(grown < 20_000, `${grown} kB more`);
  });
});
