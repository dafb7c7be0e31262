// GraphQL over HTTP, as the audits of graphql-http and the specification have it; and requests that a page
// elsewhere could make a browser send.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { serverAudits } from "graphql-http";
import { startWorld } from "./world.mjs";

describe("HTTP", { timeout: 300_000 }, () => {
  let world;
  before(async () => (world = await startWorld()));
  after(() => world?.stop());

  const send = (options) => fetch(world.http, { method: "POST", ...options, headers: { ...world.headers, ...options.headers } });
  const json = { "content-type": "application/json" };
  const touch = () => JSON.stringify({ query: `mutation { personUpdate(input: { id: "${world.person}", set: { company: "Evil" } }) { person { id } } }` });
  const company = async () => (await world.run("query ($id: ID!) { person(id: $id) { company } }", { id: world.person })).person.company;

  // The audits are made anew once the address is known; their names do not depend on it.
  for (const { id, name } of serverAudits({ url: "http://127.0.0.1:1" })) {
    it(`audit ${id}: ${name}`, async () => {
      const fetchFn = (url, options) => fetch(url, { ...options, headers: { ...options?.headers, ...world.headers } });
      const audit = serverAudits({ url: world.http, fetchFn }).find((audit) => audit.id === id);
      const result = await audit.fn();
      assert.equal(result.status, "ok", result.reason);
    });
  }

  it("refuses what a form elsewhere could send, and does nothing", async () => {
    const form = new FormData();
    form.set("operations", touch());
    form.set("map", "{}");
    const simple = { origin: "https://evil.example" };
    for (const options of [
      { headers: { ...simple, "content-type": "text/plain" }, body: touch() },
      { headers: { ...simple, "content-type": "application/x-www-form-urlencoded" }, body: `query=${encodeURIComponent("{ __typename }")}` },
      { headers: simple, body: Buffer.from(touch()) },
      { headers: simple, body: form },
    ]) {
      const answer = await send(options);
      assert.equal(answer.status, 415);
      assert.equal((await answer.json()).errors[0].extensions.code, "BAD_USER_INPUT");
    }
    const link = `${world.http}?query=${encodeURIComponent(JSON.parse(touch()).query)}`;
    const got = await fetch(link, { headers: world.headers });
    assert.equal(got.status, 405);
    assert.equal(got.headers.get("allow"), "POST");
    assert.notEqual(await company(), "Evil");
  });

  it("tells what is wrong with a body in GraphQL's shape, without inner words", async () => {
    for (const body of ["{", '"x"', "1", '{"query":1}', "{}", "null", "[]", '[{"query":1}]', '{"query":"{ a }","variables":[]}', '{"query":"{ a }","extensions":1}']) {
      const answer = await send({ headers: json, body });
      const text = await answer.text();
      assert.equal(answer.status, 400, body);
      assert.ok(answer.headers.get("x-request-id"), body);
      const [error] = JSON.parse(text).errors;
      assert.equal(error.extensions.code, "BAD_USER_INPUT", text);
      assert.equal(error.extensions.requestId, answer.headers.get("x-request-id"));
      assert.doesNotMatch(text, /serde|\.rs|expected|panicked|column/i);
    }
  });

  it("never fails by odd values", async () => {
    for (const value of ['"\\u0000"', '"\\ud800"', "1e400", "123456789012345678901234567890", "-0.0", '"\\uffff"']) {
      const answer = await send({ headers: json, body: `{"query":"query($a: String) { people(filter: {search: $a}) { totalCount } }","variables":{"a":${value}}}` });
      assert.ok(answer.status < 500, `${value}: ${answer.status}`);
    }
  });

  it("answers keys in the order of the document, and null where something failed", async () => {
    const query = `query ($id: ID!) { b: lead(id: $id) { person { email id } id } z: __typename people(first: 1) { nodes { firstName id email } totalCount } a: __typename }`;
    const text = await (await send({ headers: json, body: JSON.stringify({ query, variables: { id: world.lead } }) })).text();
    const keys = [...text.matchAll(/"(\w+)":/g)].map(([, key]) => key);
    assert.deepEqual(keys, ["data", "b", "person", "email", "id", "id", "z", "people", "nodes", "firstName", "id", "email", "totalCount", "a"]);
    const failed = await (await send({ headers: json, body: JSON.stringify({ query: "{ __typename leads(first: 1000) { nodes { id } } }" }) })).json();
    assert.equal(failed.data, null, "leads cannot be null, and nothing above it can");
    assert.deepEqual(failed.errors[0].path, ["leads"]);
  });
});
