// A server with something in it: a published sequence, sixty people, and a bulk operation that is over.
import assert from "node:assert/strict";
import { post } from "./clients.mjs";
import * as documents from "./documents.mjs";
import { startServer } from "./server.mjs";
import { eventually } from "./streams.mjs";

const DAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];

/** Starts a server, on SQLite if nothing else is said, and fills it; `finite` and `endless` are subscriptions that deliver at once. */
export async function startWorld(kind = "sqlite") {
  const server = await startServer(kind);
  const token = server.tokens.admin;
  const run = async (query, variables) => {
    const body = await (await post(server, { token, query, variables })).json();
    assert.ok(!body.errors, JSON.stringify(body.errors));
    return body.data;
  };
  try {
    const change = async (document, field, input) => {
      const payload = (await run(document, { input }))[field];
      assert.deepEqual(payload.userErrors, [], field);
      return payload;
    };
    const { sender } = await change(documents.SENDER_CREATE, "senderCreate", {
      name: "Ann", channel: "EMAIL", address: "ann@example.com", minGap: "PT0S", transport: { outbox: { label: "tests" } },
    });
    const { sequence } = await change(documents.SEQUENCE_CREATE, "sequenceCreate", {
      name: "Welcome",
      flow: { steps: [{ key: "hello", action: { email: { senderIds: [sender.id], variants: [{ subject: "Hi", text: "Hello" }] } } }] },
      settings: { timeZone: "UTC", windowClock: "SEQUENCE", sendWindows: DAYS.map((day) => ({ day, from: "00:00", to: "24:00" })) },
    });
    await change(documents.SEQUENCE_PUBLISH, "sequencePublish", { id: sequence.id });
    const csv = ["email,first_name", ...Array.from({ length: 60 }, (_, n) => `person${n}@example.com,Ann`)].join("\n");
    const imported = await run(
      "mutation ($input: PeopleImportInput!) { peopleImport(input: $input) { operation { id } userErrors { message } } }",
      { input: { csv } },
    );
    const operation = imported.peopleImport.operation.id;
    await eventually(
      "the import is over",
      () => run("query ($id: ID!) { bulkOperation(id: $id) { status } }", { id: operation }),
      ({ bulkOperation }) => bulkOperation.status === "COMPLETED",
    );
    await change(documents.LEADS_ENROL, "leadsEnrol", { sequenceId: sequence.id, people: { filter: { has: ["EMAIL"] } } });
    const { leads } = await eventually(
      "the leads are there",
      () => run("{ leads(first: 60) { nodes { id person { id } } } }"),
      ({ leads: { nodes } }) => nodes.length === 60,
    );
    return {
      ...server,
      token,
      run,
      operation,
      lead: leads.nodes[0].id,
      person: leads.nodes[0].person.id,
      finite: `subscription { bulkOperation(id: "${operation}") { id status } }`,
      endless: 'subscription { executionEvents(after: "evt_0000000000000000") { cursor kind } }',
      headers: { authorization: `Bearer ${token}` },
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}
