// The clients that people use, each wired to a server in the way its own pages describe.
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, ServerError } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { parse } from "graphql";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { within } from "./server.mjs";
import { Stream } from "./streams.mjs";

const CONNECT_BOUND_MS = 20_000;

/** Ways of showing a token when a WebSocket opens. */
export const byConnectionInit = (token) => ({ connectionParams: { authorization: `Bearer ${token}` } });
export const byHeader = (token) => ({
  webSocketImpl: class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { headers: { authorization: `Bearer ${token}` } });
    }
  },
});

// Without the client's own reconnection: it repeats the first variables, so resuming is the caller's.
function socketClient(server, credentials, on) {
  return createClient({
    url: server.ws,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    onNonLazyError: () => {},
    ...credentials,
    on,
  });
}

/** Opens a connection by graphql-ws; answers "connected", or the code it was closed with. */
export async function connectionResult(server, credentials) {
  let client;
  const result = new Promise((done) => {
    client = socketClient(server, { ...credentials, lazy: false }, {
      connected: () => done("connected"),
      closed: (event) => done(event.code),
    });
  });
  try {
    return await within(CONNECT_BOUND_MS, "the server's answer to connection_init", result);
  } finally {
    await client.dispose();
  }
}

/** A graphql-ws client whose socket can be cut. */
export function openSocket(server, credentials) {
  let socket;
  let closeCode;
  const client = socketClient(server, credentials, {
    opened: (opened) => (socket = opened),
    closed: (event) => (closeCode = event.code),
  });
  return {
    client,
    closeCode: () => closeCode,
    /** Cuts the connection as a lost network does: no close frame, no complete. */
    cut: () => socket.terminate(),
    close: () => client.dispose(),
    subscribe(query, variables, field) {
      const stream = new Stream();
      client.subscribe({ query, variables }, {
        next: ({ data, errors }) => (errors ? stream.end(new Error(JSON.stringify(errors))) : stream.push(data[field])),
        error: (error) => stream.end(error ?? new Error("the subscription failed")),
        complete: () => stream.end(),
      });
      return stream;
    },
  };
}

/** Apollo Client: queries and mutations over HTTP, subscriptions over a WebSocket. */
export function openApollo(server, token, credentials = token ? byConnectionInit(token) : {}) {
  const socket = openSocket(server, credentials);
  const http = new HttpLink({ uri: server.http, headers: token ? { authorization: `Bearer ${token}` } : {} });
  const link = ApolloLink.split(({ operationType }) => operationType === "subscription", new GraphQLWsLink(socket.client), http);
  const apollo = new ApolloClient({
    link,
    cache: new InMemoryCache(),
    defaultOptions: { query: { fetchPolicy: "no-cache" }, mutate: { fetchPolicy: "no-cache" } },
  });
  return {
    cut: socket.cut,
    async close() {
      apollo.stop();
      await socket.close();
    },
    query: async (query, variables) => (await apollo.query({ query: parse(query), variables })).data,
    mutate: async (mutation, variables) => (await apollo.mutate({ mutation: parse(mutation), variables })).data,
    subscribe(query, variables, field) {
      const stream = new Stream();
      apollo.subscribe({ query: parse(query), variables, fetchPolicy: "no-cache" }).subscribe({
        next: ({ data, error }) => (error ? stream.end(error) : stream.push(data[field])),
        error: (error) => stream.end(error ?? new Error("the subscription failed")),
        complete: () => stream.end(),
      });
      return stream;
    },
  };
}

/** The `extensions.code`s of a refusal as Apollo reports it. */
export function apolloErrorCodes(error) {
  const errors = CombinedGraphQLErrors.is(error) ? error.errors : ServerError.is(error) ? JSON.parse(error.bodyText).errors : null;
  if (!errors) throw new Error("not an answer of the server", { cause: error });
  return errors.map(({ extensions }) => extensions?.code);
}

/** Posts a request with fetch alone. */
export function post(server, { token, accept = "application/json", query, variables, signal }) {
  const headers = { "content-type": "application/json", accept };
  if (token) headers.authorization = `Bearer ${token}`;
  return fetch(server.http, { method: "POST", headers, body: JSON.stringify({ query, variables }), signal });
}

/** A subscription over server-sent events, read by fetch: the stream ends at `event: complete`. */
export async function openEvents(server, token, query, variables, field) {
  const abort = new AbortController();
  const response = await post(server, { token, accept: "text/event-stream", query, variables, signal: abort.signal });
  const stream = new Stream();
  const read = async () => {
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of response.body) {
      text += decoder.decode(chunk, { stream: true });
      const blocks = text.split(/\r?\n\r?\n/);
      text = blocks.pop();
      for (const block of blocks) {
        const lines = block.split(/\r?\n/).filter((line) => line && !line.startsWith(":"));
        if (lines.length === 0) continue;
        const value = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trimStart()).join("\n");
        if (value("event") === "complete") return stream.end();
        if (value("event") !== "next") throw new Error(`unknown event in ${JSON.stringify(block)}`);
        const { data, errors } = JSON.parse(value("data"));
        if (errors) throw new Error(JSON.stringify(errors));
        stream.push(data[field]);
      }
    }
    throw new Error("the response ended without `event: complete`");
  };
  if (response.ok) read().catch((error) => stream.end(error));
  return { response, stream, close: () => abort.abort() };
}
