// Other people's clients and tools, each as its own pages say: what they send is understood, and what they get is
// what they wait for.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile, mkdir, access } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { ApolloClient, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { BatchHttpLink } from "@apollo/client/link/batch-http";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { generate } from "@graphql-codegen/cli";
import { cacheExchange, Client, fetchExchange } from "@urql/core";
import { buildClientSchema, buildSchema, getIntrospectionQuery, isScalarType, isSpecifiedScalarType, lexicographicSortSchema, printSchema, validateSchema } from "graphql";
import { GraphQLClient } from "graphql-request";
import { createClient } from "graphql-sse";
import { within } from "./server.mjs";
import { startWorld } from "./world.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const SCHEMA = here("../../schema.graphql");
const QUERY = "query People { people(first: 2) { totalCount nodes { id email } } }";

/** What a subscription of a client delivers until it completes. */
const all = (what, subscribe) =>
  within(20_000, what, new Promise((done, failed) => {
    const items = [];
    subscribe({ next: (item) => items.push(item), error: failed, complete: () => done(items) });
  }));

describe("clients of the field", { timeout: 300_000 }, () => {
  let world;
  let folder;
  before(async () => {
    world = await startWorld();
    folder = await mkdtemp(join(tmpdir(), "cadenza-libraries-"));
  });
  after(async () => {
    await world?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const apollo = (link) => new ApolloClient({ cache: new InMemoryCache(), link });

  it("Apollo: persisted queries are registered once and then sent by their hash, by POST and GET", async () => {
    const sha256 = (text) => createHash("sha256").update(text).digest("hex");
    for (const [name, useGETForHashedQueries] of [["Posted", false], ["Got", true]]) {
      let requests = 0;
      const counted = (url, options) => {
        requests += 1;
        return fetch(url, options);
      };
      const ask = async () => {
        const link = new PersistedQueryLink({ sha256, useGETForHashedQueries });
        const client = apollo(link.concat(new HttpLink({ uri: world.http, headers: world.headers, fetch: counted })));
        const { data } = await client.query({ query: gql(QUERY.replace("People", name)) });
        assert.equal(data.people.totalCount, 60);
      };
      await ask();
      const first = requests;
      await ask();
      assert.equal(first, 2, "asked by hash, then sent");
      assert.equal(requests - first, 1, "known by its hash");
    }
  });

  it("Apollo: several queries in a batch", async () => {
    let requests = 0;
    const counted = (url, options) => {
      requests += 1;
      return fetch(url, options);
    };
    const client = apollo(new BatchHttpLink({ uri: world.http, headers: world.headers, fetch: counted, batchMax: 10, batchInterval: 20 }));
    const answers = await Promise.all([1, 2, 3].map((first) => client.query({ query: gql(`query B${first} { people(first: ${first}) { nodes { id } } }`) })));
    assert.deepEqual(answers.map(({ data }) => data.people.nodes.length), [1, 2, 3]);
    assert.equal(requests, 1);
  });

  it("Apollo: a subscription over multipart HTTP", async () => {
    const client = apollo(new HttpLink({ uri: world.http, headers: world.headers }));
    const items = await all("the subscription's end", (observer) => client.subscribe({ query: gql(world.finite) }).subscribe(observer));
    assert.deepEqual(items.map(({ data }) => data.bulkOperation.status), ["COMPLETED"]);
    client.stop();
  });

  it("graphql-sse: a subscription and a query", async () => {
    const client = createClient({ url: world.http, headers: world.headers, retryAttempts: 0 });
    const items = await all("the subscription's end", (sink) => client.subscribe({ query: world.finite }, sink));
    assert.deepEqual(items.map(({ data }) => data.bulkOperation.status), ["COMPLETED"]);
    const [answer] = await all("the query's end", (sink) => client.subscribe({ query: QUERY }, sink));
    assert.equal(answer.data.people.totalCount, 60);
    client.dispose();
  });

  it("EventSource's GET gets events", async () => {
    const answer = await fetch(`${world.http}?query=${encodeURIComponent(world.finite)}`, { headers: { ...world.headers, accept: "text/event-stream" } });
    const events = [...(await answer.text()).matchAll(/^event: ?(\w+)/gm)].map(([, name]) => name);
    assert.deepEqual(events, ["next", "complete"]);
  });

  it("urql: by POST, by GET, and a subscription by fetch", async () => {
    for (const preferGetMethod of [false, "force"]) {
      const client = new Client({ url: world.http, preferGetMethod, fetchOptions: { headers: world.headers }, exchanges: [cacheExchange, fetchExchange] });
      const { data, error } = await client.query(QUERY, {}).toPromise();
      assert.ok(!error, String(error));
      assert.equal(data.people.totalCount, 60);
    }
    const client = new Client({ url: world.http, preferGetMethod: false, fetchSubscriptions: true, fetchOptions: { headers: world.headers }, exchanges: [fetchExchange] });
    const result = await within(20_000, "a result", new Promise((done) => client.subscription(world.finite, {}).subscribe(done)));
    assert.ok(!result.error, String(result.error));
    assert.equal(result.data.bulkOperation.status, "COMPLETED");
  });

  it("graphql-request", async () => {
    const client = new GraphQLClient(world.http, { headers: world.headers });
    assert.equal((await client.request(QUERY)).people.nodes.length, 2);
  });

  it("the schema that introspection tells is valid, and is schema.graphql", async () => {
    const query = getIntrospectionQuery({ descriptions: true, specifiedByUrl: true, directiveIsRepeatable: true, schemaDescription: true, inputValueDeprecation: true, oneOf: true });
    const live = buildClientSchema(await world.run(query));
    assert.deepEqual(validateSchema(live), []);
    const written = (schema) => {
      // Of the schema as a whole the library tells a description by introspection only.
      schema.description = undefined;
      return printSchema(lexicographicSortSchema(schema));
    };
    assert.equal(written(live), written(buildSchema(await readFile(SCHEMA, "utf8"))));
  });

  it("no library's introspection is refused", async () => {
    const names = ["descriptions", "specifiedByUrl", "directiveIsRepeatable", "schemaDescription", "inputValueDeprecation", "oneOf"];
    const combinations = Array.from({ length: 2 ** names.length }, (_, bits) => Object.fromEntries(names.map((name, n) => [name, (bits & (1 << n)) !== 0])));
    // graphql-js asks for nine levels of types, and did for seven when Apollo's tools (Rover; the generators for Swift and
    // Kotlin), GraphiQL, Relay's and graphql-codegen's loaders took over its text; the first ones asked for three.
    for (const typeDepth of [3, 7, 9]) {
      for (const options of combinations) {
        const query = getIntrospectionQuery({ ...options, typeDepth });
        const schema = buildClientSchema(await world.run(query));
        assert.equal(schema.getQueryType().name, "Query", JSON.stringify({ ...options, typeDepth }));
      }
    }
    // Some give the operation no name or another one, and some ask for less of the roots.
    const whole = getIntrospectionQuery();
    for (const query of [whole.replace("query IntrospectionQuery", ""), whole.replace("IntrospectionQuery", "GraphIntrospectQuery"), whole.replaceAll("{ name kind }", "{ name }")]) {
      buildClientSchema(await world.run(query));
    }
    // Apollo's generator for Kotlin first asks what introspection itself can say.
    const kinds = ["__Schema", "__Type", "__Directive", "__Field", "__InputValue"];
    const able = await world.run(`{ ${kinds.map((kind, n) => `t${n}: __type(name: "${kind}") { ...F }`).join(" ")} } fragment F on __Type { fields { name args { name } } }`);
    assert.ok(Object.values(able).every(({ fields }) => fields.length > 0));
    // What a library asks for only of servers that are known to have it is no valid document, and still not too much.
    const query = getIntrospectionQuery({ experimentalDirectiveDeprecation: true });
    const answer = await fetch(world.http, { method: "POST", headers: { ...world.headers, "content-type": "application/json" }, body: JSON.stringify({ query }) });
    assert.equal((await answer.json()).errors[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");
  });

  it("codegen and its loader read the schema from the server", async () => {
    const written = join(folder, "loaded.ts");
    await generate({ schema: [{ [world.http]: { headers: world.headers } }], silent: true, errorsOnly: true, generates: { [written]: { plugins: ["typescript"] } } }, true);
    assert.match(await readFile(written, "utf8"), /export type Lead = /);
  });

  it("the Relay compiler takes a connection", async () => {
    await mkdir(join(folder, "src"));
    await writeFile(join(folder, "package.json"), "{}");
    await writeFile(join(folder, "schema.graphql"), await readFile(SCHEMA, "utf8"));
    await writeFile(join(folder, "relay.config.json"), JSON.stringify({ src: "./src", schema: "./schema.graphql", language: "javascript" }));
    await writeFile(join(folder, "src/Leads.js"), 'import { graphql } from "relay-runtime";\nexport const leads = graphql`query LeadsQuery { leads(first: 3) @connection(key: "Leads_leads") { edges { node { id person { email } } } } }`;\n');
    execFileSync(here("node_modules/.bin/relay-compiler"), [join(folder, "relay.config.json")], { cwd: folder, stdio: "pipe", timeout: 60_000 });
    await access(join(folder, "src/__generated__/LeadsQuery.graphql.js"));
  });

  it("codegen writes types that TypeScript takes in its strictest mode", async () => {
    const operations = join(folder, "operations.graphql");
    await writeFile(operations, [QUERY, "subscription Events($after: EventCursor) { executionEvents(after: $after) { cursor kind lead { id status } } }",
      "mutation Enrol($input: LeadsEnrolInput!) { leadsEnrol(input: $input) { operation { id status } userErrors { code message path } } }"].join("\n"));
    const [types, documents] = [join(folder, "types.ts"), join(folder, "documents.ts")];
    const custom = Object.values(buildSchema(await readFile(SCHEMA, "utf8")).getTypeMap()).filter((type) => isScalarType(type) && !isSpecifiedScalarType(type));
    const scalars = Object.fromEntries(custom.map(({ name }) => [name, name === "JSON" ? "unknown" : "string"]));
    const config = { strictScalars: true, scalars };
    await generate({
      schema: SCHEMA,
      documents: operations,
      silent: true,
      errorsOnly: true,
      generates: { [types]: { plugins: ["typescript"], config }, [documents]: { plugins: ["typescript-operations"], config } },
    }, true);
    execFileSync(here("node_modules/.bin/tsc"), ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--moduleResolution", "nodenext", types, documents], { stdio: "pipe", timeout: 120_000 });
  });
});
