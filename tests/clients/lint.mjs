// The schema and the documents under the rules of graphql-eslint and graphql-schema-linter. Whatever these find is a
// fault unless it is passed over here.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import plugin from "@graphql-eslint/eslint-plugin";
import { ESLint } from "eslint";
import { parse, visit } from "graphql";
import linter from "graphql-schema-linter";

// The plugin keeps the first schema that it sees for as long as the process lives, unless it is told that it is
// being tested. There is more than one schema here.
process.env.NODE_ENV = "test";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** Where documents stand that are sent, and those that people are shown. */
export const DOCUMENTS = "tests/clients/documents.mjs";
export const EXAMPLES = ["README.md", "docs/api.md"];

/** Reads a file of the repository. */
export const read = (path) => readFile(`${ROOT}${path}`, "utf8");

/**
 * What is asked and we do otherwise: by rule, what its findings look like, each as "place: message". The reasons
 * stand in docs/decisions/0009-what-audits-ask-and-we-do-not.md by the names of the rules. A test holds the two
 * together, and refuses what fits no finding any more.
 */
export const PASSED_OVER = {
  "description-style": [/^/],
  alphabetize: [/^/],
  "type-fields-sorted-alphabetically": [/^/],
  "input-object-fields-sorted-alphabetically": [/^/],
  "enum-values-sorted-alphabetically": [/^/],
  "strict-id-in-types": [
    /^\w+(Connection|Edge|Payload): /,
    /^PageInfo: /,
    // What happened, and what was wrong.
    /^(AuditEntry|Blocker|BulkOutcome|BulkOutcomeCount|ExecutionError|ExecutionEvent|FlowProblem): /,
    /^(Suppression|SuppressionProblem|TokenUse|UserError|WorkflowRun): /,
    // Counts and plans.
    /^(Engagement|FieldChange|FlowChange|Funnel|LeadCounts|MessageCounts|PublishPlan|StepChange|VersionChanges|VariantComparison|\w+Analytics): /,
    // What would be.
    /^(EnrolmentPreview|FlowPreview|Forecast|ForecastDay|LeadsSelected|PeopleSelected|PreviewAnswer|PreviewEntry|PreviewPath|SenderCount): /,
    // Parts of a sequence or of a sender.
    /^(EmailVariant|Flow|MessageVariant|SendWindow|SequenceSettings|Step): /,
    /^(Condition|Email|End|Message|Split|Task|Update|Webhook)Action: /,
    /^(AttributeMatch|Predicate|SplitBranch): /,
    /^(DnsRecord|Inbox|OauthGrant|OutboxTransport|Reply|SenderCheck|SenderFinding|SmtpTransport|TwilioTransport|WarmUp): /,
  ],
  "relay-edge-types": [
    /^(AuditEntry|BulkOutcome|Suppression|TokenUse|WorkflowRun)Edge: Edge type's field `node` must implement `Node` interface\.$/,
    /: A list type should only wrap an edge type\.$/,
  ],
  "require-field-of-type-query-in-mutation-result": [/^/],
  "require-nullable-result-in-root": [/"\w+Payload" in type "Mutation"$/, /"\w+Connection" in type "Query"$/, /^Query\.(currentToken|workspace): /],
  "require-description": [/^@(include|skip|specifiedBy)\(\w+:\): /],
  "no-root-type": [/^(Mutation|Subscription): /],
  "require-selections": [/^(README|docs\/api)\.md:\d+: /],
  "unique-operation-name": [/^(README|docs\/api)\.md:\d+: /],
};

/** The names of all rules that there are. */
export const RULES = new Set([
  ...Object.keys(plugin.rules),
  ...new linter.configuration.Configuration().getAllRules().map(({ name }) => name.replace(/(?<!^)(?=[A-Z])/g, "-").toLowerCase()),
]);

const SCHEMA_RULES = {
  ...plugin.configs["flat/schema-all"].rules,
  ...plugin.configs["flat/schema-relay"].rules,
  "@graphql-eslint/require-description": ["error", {
    types: true,
    DirectiveDefinition: true,
    EnumValueDefinition: true,
    FieldDefinition: true,
    InputValueDefinition: true,
  }],
};
const DOCUMENT_RULES = plugin.configs["flat/operations-recommended"].rules;

/** One finding; `text` is what the patterns above see. */
const finding = (rule, place, message) => ({ rule, place, text: `${place}: ${message.replaceAll("\n", " ")}` });

const eslintFor = (schema, rules, documents) =>
  new ESLint({
    cwd: ROOT,
    overrideConfigFile: true,
    overrideConfig: [
      { files: ["**/*.mjs"], processor: plugin.processor },
      {
        files: ["**/*.graphql"],
        plugins: { "@graphql-eslint": plugin },
        languageOptions: { parser: plugin.parser, parserOptions: { graphQLConfig: { schema, documents } } },
        linterOptions: { noInlineConfig: true },
        rules,
      },
    ],
  });

async function eslintFindings(eslint, text, filePath, placeOf) {
  const [{ messages }] = await eslint.lintText(text, { filePath: `${ROOT}${filePath}` });
  return messages.map(({ ruleId, line, column, message }) => finding(ruleId?.replace("@graphql-eslint/", "") ?? "eslint", placeOf(line, column), message));
}

/** Every definition of a schema from outside to inside: `Type.field(argument:)` and where it is in the text. */
export function definitions(schema) {
  const found = [];
  const around = [];
  const name = ({ kind, name: { value } }) => {
    const outer = around.at(-1);
    if (!outer) return kind === "DirectiveDefinition" ? `@${value}` : value;
    const isArgument = kind === "InputValueDefinition" && outer.kind !== "InputObjectTypeDefinition";
    return isArgument ? `${outer.place}(${value}:)` : `${outer.place}.${value}`;
  };
  const isNamed = (node) => node.kind.endsWith("Definition") && node.name;
  visit(parse(schema), {
    enter(node) {
      if (!isNamed(node)) return;
      const definition = { kind: node.kind, place: name(node), start: node.loc.start, end: node.loc.end };
      found.push(definition);
      around.push(definition);
    },
    leave(node) {
      if (isNamed(node)) around.pop();
    },
  });
  return found;
}

/** What the rules find in a schema, the passed over included. */
export async function schemaFindings(schema) {
  const defined = definitions(schema);
  const starts = [0];
  for (const line of schema.split("\n")) starts.push(starts.at(-1) + line.length + 1);
  const placeOf = (line, column) => {
    const at = starts[line - 1] + column - 1;
    return defined.findLast(({ start, end }) => start <= at && at < end)?.place ?? "the schema";
  };
  const configuration = new linter.configuration.Configuration();
  const errors = linter.validator.validateSchemaDefinition({ definition: schema }, configuration.getAllRules(), configuration);
  return [
    ...await eslintFindings(eslintFor(schema, SCHEMA_RULES), schema, "schema.graphql", placeOf),
    ...errors.map(({ ruleName, message, locations: [{ line, column }] }) => finding(ruleName, placeOf(line, column), message)),
  ];
}

/** The blocks of GraphQL in a text of Markdown, each on the lines on which it stands there. */
export const blocks = (markdown) =>
  [...markdown.matchAll(/(?<=^```graphql\n).*?(?=^```$)/gms)].map(({ 0: block, index }) => markdown.slice(0, index).replace(/[^\n]+/g, "") + block);

/** What the rules find in documents: in a file of JavaScript, or in the blocks of one of Markdown. */
export async function documentFindings(schema, path, text) {
  const eslint = eslintFor(schema, DOCUMENT_RULES, [`${ROOT}${DOCUMENTS}`]);
  const placeOf = (line) => `${path}:${line}`;
  const files = path.endsWith(".md") ? blocks(text).map((block, index) => [block, `${path}/${index}.graphql`]) : [[text, path]];
  const findings = await Promise.all(files.map(([block, file]) => eslintFindings(eslint, block, file, placeOf)));
  return findings.flat();
}

/** The findings that are faults, as texts. */
export const faults = (findings) =>
  findings
    .filter(({ rule, text }) => !(PASSED_OVER[rule] ?? []).some((pattern) => pattern.test(text)))
    .map(({ rule, text }) => `${text} (${rule})`);
