// The schema and the documents keep to the rules that others have made for them, and what does not is found.
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { parse, print, visit } from "graphql";
import { blocks, definitions, documentFindings, DOCUMENTS, EXAMPLES, faults, PASSED_OVER, read, RULES, schemaFindings } from "./lint.mjs";

const REASONS = "docs/decisions/0009-what-audits-ask-and-we-do-not.md";

/** What a text is with one passage of it written otherwise. */
function changed(text, from, to) {
  assert.equal(text.split(from).length, 2, `"${from}" stands there once`);
  return text.replace(from, () => to);
}

const places = (findings, rule) => findings.filter((finding) => rule.test(finding.rule)).map(({ place }) => place);

describe("linters", { timeout: 120_000 }, () => {
  let schema;
  let inSchema;
  let inDocuments;
  before(async () => {
    schema = await read("schema.graphql");
    inSchema = await schemaFindings(schema);
    const findings = [DOCUMENTS, ...EXAMPLES].map(async (path) => documentFindings(schema, path, await read(path)));
    inDocuments = (await Promise.all(findings)).flat();
  });

  it("the schema has no faults", () => {
    assert.deepEqual(faults(inSchema), []);
  });

  it("the documents and the examples have no faults", async () => {
    for (const path of EXAMPLES) {
      const text = await read(path);
      assert.equal(blocks(text).length, text.split("```graphql").length - 1, `the examples of ${path}`);
      assert.notEqual(blocks(text).length, 0, path);
    }
    assert.deepEqual(faults(inDocuments), []);
  });

  it("what is passed over is still found, and its reason is written down", async () => {
    for (const [rule, patterns] of Object.entries(PASSED_OVER)) {
      for (const pattern of patterns) {
        const fits = [...inSchema, ...inDocuments].some((finding) => finding.rule === rule && pattern.test(finding.text));
        assert.ok(fits, `${rule} finds nothing like ${pattern}: it need not be passed over`);
      }
    }
    const asked = [...(await read(REASONS)).matchAll(/^\|(.*?)\|/gm)].flatMap(([, cell]) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name));
    assert.deepEqual(asked.filter((name) => RULES.has(name)).sort(), Object.keys(PASSED_OVER).sort());
  });

  it("each definition without a description is found", async () => {
    const bare = print(visit(parse(schema), { enter: (node) => (node.description ? { ...node, description: undefined } : undefined) }));
    const findings = await schemaFindings(bare);
    const all = definitions(bare).map(({ place }) => place);
    assert.equal(all.length, definitions(schema).length);
    assert.deepEqual(places(findings, /^require-description$/).sort(), all.toSorted());
    // The other linter does not look at directives.
    assert.deepEqual(places(findings, /^.*-have-descriptions$/).sort(), all.filter((place) => !place.startsWith("@")).sort());
    assert.ok(faults(findings).length > all.length);
  });

  const cases = [
    ["a field in snake case", (text) => changed(text, "  lastUsedAt: ", "  last_used_at: "), "ApiToken.last_used_at", ["naming-convention", "fields-are-camel-cased"]],
    ["a value in lower case", (text) => changed(text, "  WHATSAPP\n", "  Whatsapp\n"), "Channel.Whatsapp", ["naming-convention", "enum-values-all-caps"]],
    ["a type that nothing uses", (text) => `${text}"Alone."\nscalar Lonely\n`, "Lonely", ["no-unreachable-types", "defined-types-are-used"]],
    ["a thing without an id", (text) => `${text}"A thing."\ntype Thing {\n  "Itself."\n  self: Thing\n}\n`, "Thing", ["strict-id-in-types"]],
    ["a connection without pageInfo", (text) => text.replace(/(type LeadConnection [^}]*)  pageInfo: PageInfo!/, "$1  pages: PageInfo!"), "LeadConnection", ["relay-connection-types", "relay-connection-types-spec"]],
    ["a page that may not know its end", (text) => changed(text, "hasNextPage: Boolean!", "hasNextPage: Boolean"), "PageInfo.hasNextPage", ["relay-page-info-spec"]],
    ["a field that is deprecated without a reason", (text) => changed(text, "  hint: String!", "  hint: String! @deprecated"), "ApiToken.hint", ["require-deprecation-reason", "deprecations-have-a-reason"]],
    ["a mutation whose argument is no input", (text) => changed(text, "    input: PersonUpdateInput!", "    person: PersonUpdateInput!"), "Mutation.personUpdate(person:)", ["input-name"]],
    ["a field that begins with its type's name", (text) => changed(text, "  hint: String!", "  apiTokenHint: String!"), "ApiToken.apiTokenHint", ["no-typename-prefix"]],
  ];
  for (const [what, edit, place, rules] of cases) {
    it(`of a schema, ${what} is found`, async () => {
      const findings = await schemaFindings(edit(schema));
      const found = rules.filter((rule) => findings.some((finding) => finding.rule === rule && finding.place === place && faults([finding]).length === 1));
      assert.deepEqual(found, rules, faults(findings).join("\n"));
    });
  }

  it("of documents, what is wrong is found on its line", async () => {
    const javascript = "export const WRONG = /* GraphQL */ `\n  query GetLead($id: ID!, $first: Int) {\n    lead(id: $id) { id nothing }\n  }`;\n";
    const found = (findings) => findings.map(({ rule, place }) => `${place} ${rule}`).sort();
    assert.deepEqual(found(await documentFindings(schema, DOCUMENTS, javascript)), [
      `${DOCUMENTS}:2 naming-convention`,
      `${DOCUMENTS}:2 no-unused-variables`,
      `${DOCUMENTS}:3 fields-on-correct-type`,
    ]);
    const markdown = "# Examples\n\n```graphql\n{ senders { id name } }\n```\n\nText.\n\n```graphql\nquery Lead {\n  lead { id }\n}\n```\n";
    assert.deepEqual(found(await documentFindings(schema, "README.md", markdown)), ["README.md:11 provided-required-arguments", "README.md:4 no-anonymous-operations"]);
  });
});
