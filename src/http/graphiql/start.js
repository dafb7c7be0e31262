const url = new URL("graphql", location.href);
const subscriptionUrl = new URL(url);
subscriptionUrl.protocol = url.protocol === "https:" ? "wss:" : "ws:";
// Over WebSocket the headers become the payload of connection_init.
const send = GraphiQL.createFetcher({ url: url.href, subscriptionUrl: subscriptionUrl.href });
const defaultHeaders = '{ "authorization": "Bearer YOUR_TOKEN" }';
const defaultQuery = `# Welcome to Cadenza. Put your token
# into Headers, below, for YOUR_TOKEN.
# To make one:
# cadenza token create \\
#   --workspace NAME --role admin
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
const noToken = {
  errors: [
    {
      message: `There is no token yet: put it into Headers, below, like ${defaultHeaders}. The documentation comes by itself then.`,
    },
  ],
};

// The token that is sent; none as long as it is YOUR_TOKEN or holds what no header may.
const tokenOf = (headers) => {
  const name = Object.keys(headers ?? {}).find((name) => name.toLowerCase() === "authorization");
  const token = name === undefined ? undefined : headers[name];
  const isSent = typeof token === "string" && /^[!-~][ -~]*$/.test(token) && !token.includes("YOUR_TOKEN");
  return isSent ? token : undefined;
};
// Without a token nothing can be answered, so nothing is asked. GraphiQL reads the schema again whenever it gets
// another fetcher, which is what a new token needs.
const fetcher = () => (request, options) => (tokenOf(options?.headers) ? send(request, options) : Promise.resolve(noToken));

const root = ReactDOM.createRoot(document.getElementById("graphiql"));
const show = () =>
  root.render(
    React.createElement(GraphiQL, {
      fetcher: fetcher(),
      defaultQuery,
      defaultHeaders,
      onEditHeaders,
      shouldPersistHeaders: true,
      defaultEditorToolsVisibility: "headers",
    }),
  );

// How long nobody types before what was typed is taken for a token, in milliseconds.
const TYPED_AFTER = 600;
let typing;
let shown;
function onEditHeaders(text) {
  clearTimeout(typing);
  typing = setTimeout(() => {
    let token;
    try {
      token = tokenOf(JSON.parse(text));
    } catch {
      // Half written: GraphiQL marks where.
    }
    if (token !== undefined && token !== shown) {
      shown = token;
      show();
    }
  }, TYPED_AFTER);
}
show();
