// What the page at / does before GraphiQL takes over, run without a browser: what it is opened with, and what it asks
// with a token and without.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { createContext, runInContext } from "node:vm";

const SCRIPT = readFileSync(new URL("../../src/http/graphiql/start.js", import.meta.url), "utf8");
/** How many characters of a line the editor shows where the window is 1400 pixels wide; it was measured. */
const EDITOR_WIDTH = 56;

/** Runs the page's script; answers what GraphiQL was given each time, and what was asked of the server. */
function open() {
  const shown = [];
  const asked = [];
  const send = async (request, options) => {
    new Headers(options.headers);
    asked.push(request);
    return { data: {} };
  };
  const page = {
    URL,
    location: { href: "http://127.0.0.1:8080/" },
    document: { getElementById: () => ({}) },
    GraphiQL: { createFetcher: () => send },
    React: { createElement: (_, given) => given },
    ReactDOM: { createRoot: () => ({ render: (given) => shown.push(given) }) },
    setTimeout,
    clearTimeout,
  };
  runInContext(SCRIPT, createContext(page));
  return { shown, asked };
}

describe("the page at /", () => {
  it("opens without an error, and says where the token goes", async () => {
    const { shown, asked } = open();
    const [{ defaultHeaders, defaultQuery, fetcher }] = shown;
    const headers = JSON.parse(defaultHeaders);
    new Headers(headers);
    for (const line of defaultQuery.split("\n")) assert.ok(line.length <= EDITOR_WIDTH, line);
    // What an earlier visit left, too.
    for (const left of [headers, { authorization: "Bearer cdz_…" }, {}, undefined, { authorization: null }]) {
      const answer = await fetcher({ query: "{ a }" }, { headers: left });
      assert.match(answer.errors[0].message, /Headers, below/, JSON.stringify(left));
    }
    assert.deepEqual(asked, []);
    await fetcher({ query: "{ a }" }, { headers: { Authorization: "Bearer cdz_1" } });
    assert.deepEqual(asked, [{ query: "{ a }" }]);
  });

  it("reads the schema again once there is a token, and once for each", (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { shown } = open();
    const [first] = shown;
    const edit = (text) => {
      first.onEditHeaders(text);
      t.mock.timers.tick(10_000);
    };
    edit('{ "authorization": "Bearer ');
    edit(first.defaultHeaders);
    assert.equal(shown.length, 1, "no token yet");
    for (const token of ["cdz_1", "cdz_1", "cdz_2"]) edit(JSON.stringify({ authorization: `Bearer ${token}` }));
    assert.equal(shown.length, 3);
    assert.equal(new Set(shown.map(({ fetcher }) => fetcher)).size, 3, "each time another fetcher");
  });
});
