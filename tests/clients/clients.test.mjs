// Real clients against the built binary, on each database: refused without a token, a sequence from
// its first sender to the last event, live events, and resuming by cursor after a lost connection.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { apolloErrorCodes, byConnectionInit, byHeader, connectionResult, openApollo, openEvents, openSocket, post } from "./clients.mjs";
import * as documents from "./documents.mjs";
import { databaseKinds, startServer } from "./server.mjs";
import { eventually } from "./streams.mjs";

const DAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
/** What happens to every lead of a sequence with one message. */
const STORY = ["LEAD_ENROLLED", "EXECUTION_STARTED", "EXECUTION_SENT", "LEAD_COMPLETED"];
const WRONG_TOKEN = "cdz_wrong";

for (const kind of databaseKinds()) {
  describe(`clients on ${kind}`, { timeout: 600_000 }, () => {
    let server;
    let apollo;
    let stopped;
    let serial = 0;

    const stop = () => (stopped ??= server.stop());

    before(async () => {
      server = await startServer(kind);
      apollo = openApollo(server, server.tokens.admin);
    });

    after(async () => {
      await apollo?.close();
      if (server) await stop();
    });

    // Runs a mutation that must be accepted; answers its payload.
    const change = async (mutation, field, input) => {
      const payload = (await apollo.mutate(mutation, { input }))[field];
      assert.deepEqual(payload.userErrors, [], `${field} is accepted`);
      return payload;
    };

    const createPeople = async (count) => {
      const people = [];
      for (let n = 0; n < count; n += 1) {
        serial += 1;
        const input = { email: `person${serial}@example.com`, firstName: `Zoë ${serial}`, attributes: { city: "Évora" } };
        people.push((await change(documents.PERSON_CREATE, "personCreate", input)).person);
      }
      return people;
    };

    // A published sequence of one message, sent at once on any day of the week.
    const publishSequence = async () => {
      serial += 1;
      const { sender } = await change(documents.SENDER_CREATE, "senderCreate", {
        name: `Ann ${serial}`,
        channel: "EMAIL",
        address: `ann${serial}@example.com`,
        minGap: "PT0S",
        transport: { outbox: { label: "client tests" } },
      });
      const { sequence } = await change(documents.SEQUENCE_CREATE, "sequenceCreate", {
        name: `Welcome ${serial}`,
        flow: {
          steps: [
            {
              key: "hello",
              wait: "PT0S",
              action: {
                email: {
                  senderIds: [sender.id],
                  variants: [{ subject: "Hello {{ first_name }}", text: "Good day from {{ sender.name }} to {{ attributes.city }}." }],
                },
              },
            },
          ],
        },
        settings: { timeZone: "UTC", windowClock: "SEQUENCE", sendWindows: DAYS.map((day) => ({ day, from: "00:00", to: "24:00" })) },
      });
      assert.equal(sequence.status, "DRAFT");
      const published = await change(documents.SEQUENCE_PUBLISH, "sequencePublish", { id: sequence.id });
      assert.deepEqual(published.problems.filter(({ severity }) => severity === "ERROR"), []);
      assert.deepEqual(published.sequence.status, "PUBLISHED");
      return sequence.id;
    };

    const enrol = async (sequenceId, people) =>
      (await change(documents.LEADS_ENROL, "leadsEnrol", { sequenceId, people: { ids: people.map(({ id }) => id) } })).operation;

    // The sequence's log after a cursor, read in small pages.
    const log = async (sequenceId, cursor = null) => {
      const entries = [];
      for (;;) {
        const { events } = await apollo.query(documents.EVENTS, { filter: { sequenceIds: [sequenceId] }, after: cursor, first: 7 });
        if (events.length === 0) return entries;
        entries.push(...events);
        cursor = events.at(-1).cursor;
      }
    };

    const cursorNow = async (sequenceId) => {
      const entries = await log(sequenceId);
      assert.ok(entries.some((entry) => entry.kind === "SEQUENCE_PUBLISHED"), "publishing is in the log");
      return entries.at(-1).cursor;
    };

    const cursors = (entries) => entries.map(({ cursor }) => cursor);
    const storyOf = (entries, person) =>
      entries.filter((entry) => entry.lead?.person.id === person.id && STORY.includes(entry.kind)).map((entry) => entry.kind);
    const completedFor = (person) => (entries) => entries.some((entry) => entry.kind === "LEAD_COMPLETED" && entry.lead.person.id === person.id);

    it("serves its health without a token", async () => {
      assert.equal((await fetch(server.health)).status, 200);
    });

    it("serves GraphiQL, all of it itself", async () => {
      const page = await fetch(server.page);
      assert.equal(page.status, 200);
      const html = await page.text();
      const parts = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1]).filter((part) => part !== "data:,");
      assert.deepEqual(parts.sort(), ["css", "js"].map((kind) => `graphiql/graphiql.${kind}`).concat(["graphiql/react-dom.js", "graphiql/react.js", "graphiql/start.js"]));
      for (const part of parts) {
        const answer = await fetch(new URL(part, server.page));
        assert.equal(answer.status, 200, part);
        assert.match(answer.headers.get("content-type"), part.endsWith(".css") ? /^text\/css/ : /^text\/javascript/);
        assert.ok((await answer.text()).length > 200, `${part} is there`);
      }
    });

    it("refuses HTTP without a token and with a wrong one", async () => {
      for (const token of [undefined, WRONG_TOKEN]) {
        for (const accept of ["application/json", "application/graphql-response+json", "text/event-stream"]) {
          const response = await post(server, { token, accept, query: documents.SEQUENCE, variables: { id: "seq_x" } });
          assert.equal(response.status, 401, accept);
          assert.match(response.headers.get("content-type"), /^application\/(graphql-response\+)?json/, accept);
          const body = await response.json();
          assert.deepEqual(body.errors.map(({ extensions }) => extensions.code), ["UNAUTHENTICATED"], accept);
          assert.ok(!("data" in body), "a refused request has no data entry");
        }
        const refused = openApollo(server, token);
        await assert.rejects(refused.query(documents.SEQUENCE, { id: "seq_x" }), (error) => {
          assert.deepEqual(apolloErrorCodes(error), ["UNAUTHENTICATED"]);
          return true;
        });
        await refused.close();
      }
    });

    it("refuses a WebSocket without a token and with a wrong one", async () => {
      for (const credentials of [{}, { connectionParams: {} }, byConnectionInit(""), byConnectionInit(WRONG_TOKEN)]) {
        const code = await connectionResult(server, credentials);
        assert.ok([4401, 4403].includes(code), `closed with ${code} for ${JSON.stringify(credentials)}`);
      }
      // The header comes before the upgrade, which a server may refuse too: the client then sees 1006.
      const code = await connectionResult(server, byHeader(WRONG_TOKEN));
      assert.ok([1006, 4401, 4403].includes(code), `closed with ${code}`);
    });

    it("takes the token in connection_init and in the header", async () => {
      assert.equal(await connectionResult(server, byConnectionInit(server.tokens.admin)), "connected");
      assert.equal(await connectionResult(server, byHeader(server.tokens.admin)), "connected");
    });

    it("lets a viewer read and not write", async () => {
      const viewer = openApollo(server, server.tokens.viewer);
      const sequenceId = await publishSequence();
      assert.equal((await viewer.query(documents.SEQUENCE, { id: sequenceId })).sequence.status, "PUBLISHED");
      await assert.rejects(viewer.mutate(documents.PERSON_CREATE, { input: { email: "viewer@example.com" } }), (error) => {
        assert.deepEqual(apolloErrorCodes(error), ["FORBIDDEN"]);
        return true;
      });
      await viewer.close();
    });

    it("runs a sequence from its sender to its leads through Apollo", async () => {
      const sequenceId = await publishSequence();
      const people = await createPeople(3);
      const operation = await enrol(sequenceId, people);
      assert.equal(operation.kind, "ENROL");
      const { sequence } = await eventually(
        "all leads completed",
        () => apollo.query(documents.SEQUENCE, { id: sequenceId }),
        ({ sequence: { leadCounts } }) => leadCounts.completed === people.length,
      );
      assert.equal(sequence.leadCounts.total, people.length);
      const { leads } = await apollo.query(documents.LEADS, { filter: { sequenceIds: [sequenceId] }, first: 10 });
      assert.equal(leads.totalCount, people.length);
      assert.equal(leads.pageInfo.hasNextPage, false);
      assert.deepEqual(new Set(leads.nodes.map(({ person }) => person.id)), new Set(people.map(({ id }) => id)));
      for (const lead of leads.nodes) {
        assert.equal(lead.status, "COMPLETED");
        assert.equal(lead.messagesSent, 1);
        const person = people.find(({ id }) => id === lead.person.id);
        const sent = lead.executions.nodes.map(({ stepKey, subject }) => ({ stepKey, subject }));
        assert.deepEqual(sent, [{ stepKey: "hello", subject: `Hello ${person.firstName}` }]);
        assert.ok(["SENT", "DELIVERED"].includes(lead.executions.nodes[0].status));
      }
    });

    const subscribers = {
      "graphql-ws, token in connection_init": () => openSocket(server, byConnectionInit(server.tokens.admin)),
      "graphql-ws, token in the header": () => openSocket(server, byHeader(server.tokens.admin)),
      "Apollo over a WebSocket": () => openApollo(server, server.tokens.admin),
    };

    for (const [name, open] of Object.entries(subscribers)) {
      it(`${name}: receives events live, and after a lost connection exactly those it missed`, async () => {
        const sequenceId = await publishSequence();
        const [early, live, missed, alsoMissed, late] = await createPeople(5);
        const begin = await cursorNow(sequenceId);
        const variables = (cursor) => ({ filter: { sequenceIds: [sequenceId] }, after: cursor });

        // The first lead shows that the subscription stands; what the second does comes live.
        const first = open();
        const before = first.subscribe(documents.EXECUTION_EVENTS, variables(begin), "executionEvents");
        await enrol(sequenceId, [early]);
        await before.until("the first lead's events", completedFor(early));
        await enrol(sequenceId, [live]);
        await before.until("the second lead's events", completedFor(live));
        first.cut();
        await before.over("the cut connection");
        const seenBefore = [...before.items];
        for (const person of [early, live]) assert.deepEqual(storyOf(seenBefore, person), STORY);

        // Two leads run to their end while nobody listens.
        await enrol(sequenceId, [missed, alsoMissed]);
        await eventually("the missed leads completed", () => log(sequenceId, begin), (entries) => [missed, alsoMissed].every((person) => completedFor(person)(entries)));

        // The last one runs while the log is being caught up with.
        const second = open();
        const resumed = second.subscribe(documents.EXECUTION_EVENTS, variables(seenBefore.at(-1).cursor), "executionEvents");
        await enrol(sequenceId, [late]);
        await resumed.until("the last lead's events", completedFor(late));
        const seenAfter = [...resumed.items];
        await second.close();
        for (const person of [missed, alsoMissed, late]) assert.deepEqual(storyOf(seenAfter, person), STORY);

        const seen = cursors([...seenBefore, ...seenAfter]);
        assert.equal(new Set(seen).size, seen.length, "no event is seen twice");
        const written = cursors(await log(sequenceId, begin));
        assert.deepEqual(seen, written.slice(0, seen.length), "the events seen are those of the log, all of them, in its order");
      });

      it(`${name}: follows a bulk operation to its end`, async () => {
        const sequenceId = await publishSequence();
        const people = await createPeople(4);
        const { id } = await enrol(sequenceId, people);
        const client = open();
        const stream = client.subscribe(documents.BULK_OPERATION, { id }, "bulkOperation");
        await stream.completed("the bulk operation's end");
        const { status, total, processed, succeeded, skipped, failed } = stream.items.at(-1);
        assert.deepEqual({ status, total, processed, succeeded, skipped, failed }, { status: "COMPLETED", total: 4, processed: 4, succeeded: 4, skipped: 0, failed: 0 });
        await client.close();
      });
    }

    it("streams server-sent events to fetch", async () => {
      const sequenceId = await publishSequence();
      const begin = await cursorNow(sequenceId);
      const [person] = await createPeople(1);
      const events = await openEvents(server, server.tokens.admin, documents.EXECUTION_EVENTS, { filter: { sequenceIds: [sequenceId] }, after: begin }, "executionEvents");
      assert.equal(events.response.status, 200);
      assert.match(events.response.headers.get("content-type"), /^text\/event-stream/);
      const operation = await enrol(sequenceId, [person]);
      await events.stream.until("the lead's events", completedFor(person));
      assert.deepEqual(storyOf(events.stream.items, person), STORY);
      events.close();

      const bulk = await openEvents(server, server.tokens.admin, documents.BULK_OPERATION, { id: operation.id }, "bulkOperation");
      await bulk.stream.completed("event: complete");
      assert.equal(bulk.stream.items.at(-1).status, "COMPLETED");
    });

    it("shows another workspace nothing", async () => {
      const sequenceId = await publishSequence();
      const begin = await cursorNow(sequenceId);
      const [person] = await createPeople(1);
      await enrol(sequenceId, [person]);
      await eventually("the lead completed", () => log(sequenceId, begin), completedFor(person));
      const stranger = openApollo(server, server.tokens.stranger);
      assert.equal((await stranger.query(documents.SEQUENCE, { id: sequenceId })).sequence, null);
      assert.deepEqual((await stranger.query(documents.LEADS, { filter: { sequenceIds: [sequenceId] } })).leads.nodes, []);
      assert.deepEqual((await stranger.query(documents.EVENTS, {})).events, []);
      await stranger.close();
    });

    // The last one: it takes the server away.
    it("ends on SIGTERM with its subscriptions closed", async () => {
      const sequenceId = await publishSequence();
      const begin = await cursorNow(sequenceId);
      const [person] = await createPeople(1);
      const socket = openSocket(server, byConnectionInit(server.tokens.admin));
      const stream = socket.subscribe(documents.EXECUTION_EVENTS, { filter: { sequenceIds: [sequenceId] }, after: begin }, "executionEvents");
      await enrol(sequenceId, [person]);
      await stream.until("the lead's events", completedFor(person));
      const ended = stop();
      await stream.over("the subscription's end");
      assert.deepEqual(await ended, { code: 0, signal: null });
      await eventually("the socket's close", () => socket.closeCode(), (code) => code !== undefined);
      assert.notEqual(socket.closeCode(), 1006, "the socket is closed with a close frame");
      await socket.close();
    });
  });
}
