// Puts what the page at / is made of into dist/, from where the build takes it into the binary.
import { copyFileSync } from "node:fs";

const parts = {
  "graphiql.js": "graphiql/graphiql.min.js",
  "graphiql.css": "graphiql/graphiql.min.css",
  "react.js": "react/umd/react.production.min.js",
  "react-dom.js": "react-dom/umd/react-dom.production.min.js",
};
for (const [name, part] of Object.entries(parts)) {
  copyFileSync(new URL(`node_modules/${part}`, import.meta.url), new URL(`dist/${name}`, import.meta.url));
}
