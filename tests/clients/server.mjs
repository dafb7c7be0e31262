// Starts the built binary on a database of its own, and stops it again. It never skips: what is
// missing is an error.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";

const BINARY = process.env.CADENZA_BIN
  ? resolve(process.env.CADENZA_BIN)
  : fileURLToPath(new URL("../../target/debug/cadenza", import.meta.url));
const START_BOUND_MS = 60_000;
const STOP_BOUND_MS = 30_000;

/** The databases to test on: CADENZA_TEST_DATABASES, by default both. */
export function databaseKinds() {
  const named = (process.env.CADENZA_TEST_DATABASES ?? "sqlite,postgres").split(/[\s,]+/).filter(Boolean);
  const unknown = named.filter((kind) => !["sqlite", "postgres"].includes(kind));
  if (named.length === 0 || unknown.length > 0) {
    throw new Error(`CADENZA_TEST_DATABASES names "${unknown.join(", ")}": give sqlite, postgres or both, with a comma between`);
  }
  return named;
}

/** Resolves or rejects as `promise` does, or rejects naming `what` after `ms`. */
export function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${typeof what === "function" ? what() : what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function freshDatabase(kind) {
  if (kind === "sqlite") {
    const folder = await mkdtemp(join(tmpdir(), "cadenza-clients-"));
    return {
      url: `sqlite://${folder}/x.db`,
      remove: () => rm(folder, { recursive: true, force: true }),
    };
  }
  const server = process.env.TEST_POSTGRES_URL;
  if (!server) {
    throw new Error("TEST_POSTGRES_URL is not set: run the tests by `make test`, or under `.ci/with-postgres`");
  }
  const name = `cadenza_clients_${randomBytes(6).toString("hex")}`;
  const statement = async (sql) => {
    const client = new pg.Client({ connectionString: server });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  };
  await statement(`CREATE DATABASE ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, remove: () => statement(`DROP DATABASE ${name} WITH (FORCE)`) };
}

// A developer's own CADENZA_… settings must not decide what is tested.
function environment() {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("CADENZA_"));
  return { ...Object.fromEntries(own), NO_COLOR: "1" };
}

function launch(args) {
  const child = spawn(BINARY, args, { env: environment(), stdio: ["ignore", "pipe", "pipe"] });
  const said = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => (said.out += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (said.err += text));
  // `close` comes after both pipes are read to their end.
  const ended = new Promise((done, failed) => {
    child.once("error", failed);
    child.once("close", (code, signal) => done({ code, signal }));
  });
  return { child, said, ended };
}

/** A running server with a fresh database; `stop` ends it and answers how it ended. */
export async function startServer(kind) {
  if (!existsSync(BINARY)) {
    throw new Error(`there is no ${BINARY}: run \`cargo build\` first, or set CADENZA_BIN`);
  }
  const database = await freshDatabase(kind);
  let serve;

  const stop = async () => {
    try {
      if (!serve) return { code: 0, signal: null };
      serve.child.kill("SIGTERM");
      return await within(STOP_BOUND_MS, () => `the server's end after SIGTERM\n${serve.said.err}`, serve.ended);
    } finally {
      serve?.child.kill("SIGKILL");
      await database.remove();
    }
  };

  /** Runs `cadenza token create`; everything it prints on standard output is the token. */
  const createToken = async (workspace, role) => {
    const made = launch(["token", "create", "--workspace", workspace, "--role", role, "--database", database.url]);
    const { code } = await within(START_BOUND_MS, () => `token create\n${made.said.err}`, made.ended);
    if (code !== 0) throw new Error(`token create ended with ${code}:\n${made.said.err}`);
    if (!/^\S+\n$/.test(made.said.out)) {
      throw new Error(`token create must print the token alone on standard output, and printed ${JSON.stringify(made.said.out)}`);
    }
    return made.said.out.trim();
  };

  try {
    // Before the server starts: an embedded database takes one process at a time.
    const tokens = {
      admin: await createToken("demo", "admin"),
      viewer: await createToken("demo", "viewer"),
      stranger: await createToken("elsewhere", "admin"),
    };
    serve = launch(["serve", "--listen", "127.0.0.1:0", "--database", database.url]);
    const address = () => `${serve.said.out}\n${serve.said.err}`.match(/listening on (http:\/\/127\.0\.0\.1:\d+)\b/)?.[1];
    const listening = new Promise((done, failed) => {
      const look = () => address() && done(address());
      serve.child.stdout.on("data", look);
      serve.child.stderr.on("data", look);
      serve.ended.then(({ code, signal }) => failed(new Error(`the server ended with ${code ?? signal} while starting:\n${serve.said.err}`)), failed);
    });
    const origin = await within(START_BOUND_MS, () => `the line "listening on http://127.0.0.1:PORT"\n${serve.said.out}\n${serve.said.err}`, listening);
    return {
      kind,
      pid: serve.child.pid,
      tokens,
      http: `${origin}/graphql`,
      ws: `${origin.replace("http:", "ws:")}/graphql`,
      page: `${origin}/`,
      health: `${origin}/healthz`,
      log: () => serve.said.err,
      stop,
    };
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}
