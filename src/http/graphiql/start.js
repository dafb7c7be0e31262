const url = new URL("graphql", location.href);
const subscriptionUrl = new URL(url);
subscriptionUrl.protocol = url.protocol === "https:" ? "wss:" : "ws:";
// Over WebSocket the headers become the payload of connection_init.
const fetcher = GraphiQL.createFetcher({ url: url.href, subscriptionUrl: subscriptionUrl.href });
const defaultQuery = `# Welcome to Cadenza. Put your token into the Headers below.
# cadenza token create --workspace NAME --role admin makes one.
#
# Follow everything that happens, live:
subscription Live {
  executionEvents {
    cursor
    at
    kind
    stepKey
  }
}
`;
ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher,
    defaultQuery,
    defaultHeaders: '{ "authorization": "Bearer cdz_…" }',
    shouldPersistHeaders: true,
    defaultEditorToolsVisibility: "headers",
  }),
);
