// Clients that mean harm, one kind each: what becomes of them is their own affair, and nobody else's.
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import WebSocket from "ws";
import { post } from "./clients.mjs";

const random = (list) => list[Math.floor(Math.random() * list.length)];
const everything = 'subscription { executionEvents(after: "evt_0000000000000000") { cursor kind lead { person { email } } } }';

const documents = [
  () => `{ ...F0 } ${Array.from({ length: 28 }, (_, n) => `fragment F${n} on Query { ${n < 27 ? `...F${n + 1} ...F${n + 1}` : "__typename"} }`).join(" ")}`,
  () => `{ __typename(x: ${"[".repeat(20_000)}) }`,
  () => `{ ${Array.from({ length: 1_000 }, (_, n) => `a${n}: __typename`).join(" ")} }`,
  () => "{ leads(first: 250) { nodes { executions(first: 250) { nodes { lead { executions(first: 250) { nodes { id } } } } } } } }",
  () => "{ leads(first: 250) { nodes { id person { email leads(first: 20) { nodes { id sequence { name } } } } } } }",
  () => `{ ${"nope ".repeat(5_000)} }`,
  () => "query Q { people(filter: { search: \"%_%\" }) { totalCount } }".repeat(2),
];

/** The kinds of harm; each answers once the client is gone. `world` is the server, and how to get in. */
export const HARM = {
  async document(world) {
    await (await post(world, { token: world.tokens.viewer, query: random(documents)() })).text();
  },

  async batch(world) {
    const body = JSON.stringify(Array.from({ length: 5_000 }, () => ({ query: "{ __typename }" })));
    const headers = { authorization: `Bearer ${world.token}`, "content-type": "application/json" };
    await (await fetch(world.http, { method: "POST", headers, body })).text();
  },

  garbage: (world) => raw(world, `POST /graphql HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n${"\u0000{".repeat(5_000)}`),
  nonsense: (world) => raw(world, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is no HTTP\r\n\r\n"),

  /** Headers, or a body, a byte at a time; the client gives up before the server does. */
  dribble: (world) =>
    new Promise((done) => {
      const { hostname, port } = new URL(world.http);
      const head = `POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${world.token}\r\nContent-Type: application/json\r\n`;
      const text = random([head, `${head}Content-Length: 9000\r\n\r\n{"query":"`]);
      const socket = connect(port, hostname, () => socket.write(text));
      const drop = setInterval(() => socket.write("x"), 100);
      const end = setTimeout(() => socket.destroy(), 2_000);
      socket.on("data", () => {}).on("error", () => {}).on("close", () => (clearInterval(drop), clearTimeout(end), done()));
    }),

  async wrongSocket(world) {
    await new Promise((done) => {
      const socket = new WebSocket(world.ws, "graphql-transport-ws");
      const bad = ["{", "[]", '{"type":"subscribe","id":"1","payload":{"query":"{a}"}}', JSON.stringify({ type: "connection_init", payload: { authorization: "Bearer cdz_wrong" } })];
      socket.on("open", () => socket.send(random(bad))).on("close", done).on("error", done);
    });
  },

  /** Follows everything from the beginning fifty times, and reads nothing. */
  async deafSocket(world) {
    const socket = new WebSocket(world.ws, "graphql-transport-ws");
    await new Promise((done) => socket.on("open", done).on("error", done));
    socket.send(JSON.stringify({ type: "connection_init", payload: { authorization: `Bearer ${world.tokens.viewer}` } }));
    for (let n = 0; n < 50; n += 1) {
      socket.send(JSON.stringify({ id: `${n}`, type: "subscribe", payload: { query: everything } }));
    }
    socket._socket?.pause();
    await pause(300);
    socket.terminate();
  },

  /** The same by server-sent events. */
  async deafStream(world) {
    const gone = new AbortController();
    const headers = { authorization: `Bearer ${world.tokens.viewer}`, accept: "text/event-stream" };
    const answer = fetch(`${world.http}?query=${encodeURIComponent(everything)}`, { headers, signal: gone.signal });
    await answer.catch(() => {});
    await pause(300);
    gone.abort();
  },
};

/** Sends bytes and waits until the server hangs up. */
function raw(world, text) {
  const { hostname, port } = new URL(world.http);
  return new Promise((done) => {
    const socket = connect(port, hostname, () => socket.end(text));
    socket.on("data", () => {}).on("close", done).on("error", done);
  });
}
