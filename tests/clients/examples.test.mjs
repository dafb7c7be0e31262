// The examples of examples/scripts and examples/typescript, against the built binary: what a new user would try.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { databaseKinds } from "./server.mjs";
import { startWorld } from "./world.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const ENROL = here("../../examples/scripts/enrol.py");
const CONTACTS = here("../../examples/scripts/contacts.csv");
const SHOWN = "query Shown($search: String!) { people(filter: { search: $search }, first: 10) { totalCount nodes { attributes leads(first: 5) { nodes { status } } } } }";

/** Runs a program to its end; answers what it said and its exit code. */
const run = (program, args, options) =>
  new Promise((done) => {
    execFile(program, args, { timeout: 120_000, ...options }, (error, out, err) => done({ code: error ? (error.code ?? error.signal) : 0, out, err }));
  });

for (const kind of databaseKinds()) {
  describe(`examples on ${kind}`, { timeout: 300_000 }, () => {
    let world;
    let folder;
    before(async () => {
      world = await startWorld(kind);
      folder = await mkdtemp(join(tmpdir(), "cadenza-examples-"));
    });
    after(async () => {
      await world?.stop();
      await rm(folder, { recursive: true, force: true });
    });

    const environment = (token) => ({
      ...process.env,
      CADENZA_URL: world.http.replace(/\/graphql$/, ""),
      CADENZA_TOKEN: token ?? world.tokens.admin,
    });
    const enrol = (file, { sequence = "Welcome", token, more = [] } = {}) =>
      run("python3", [ENROL, file, "--sequence", sequence, "--every", "0.05", ...more], { env: environment(token) });

    it("enrol.py enrols an export of a CRM, shows its outcomes by code, and does nothing twice", async () => {
      const first = await enrol(CONTACTS);
      assert.equal(first.code, 0, first.out + first.err);
      assert.match(first.out, /^import: completed, 3 of 3$/m);
      assert.match(first.out, /^enrol: completed, 3 of 3$/m);
      assert.match(first.out, /^ {2}DONE +3$/m);
      const shown = (await world.run(SHOWN, { search: "ana.sousa" })).people;
      assert.equal(shown.totalCount, 1);
      assert.equal(shown.nodes[0].attributes.crm_export, "contacts");
      assert.equal(shown.nodes[0].leads.nodes.length, 1);
      const again = await enrol(CONTACTS);
      assert.equal(again.code, 0, again.err);
      assert.equal(again.out, first.out.replace(/^import: (queued|running).*\n|^enrol: (queued|running).*\n/gm, ""), "the same operations");
      const other = await enrol(CONTACTS, { more: ["--name", "another export"] });
      assert.equal(other.code, 0, other.err);
      assert.match(other.out, /^ {2}ALREADY_ENROLLED +3 {2}\S+: /m);
    });

    it("enrol.py ends with 1 where a line cannot be imported, and enrols the others", async () => {
      const file = join(folder, "broken.csv");
      await writeFile(file, "\ufeffE-Mail;First name\nnobody;Nobody\ndora@example.org;Dora\n");
      const { code, out, err } = await enrol(file);
      assert.equal(code, 1, out + err);
      assert.match(out, /^ {2}INVALID +1 {2}\S+.*: /m);
      assert.match(err, /^import: 1 could not be done$/m);
      assert.equal((await world.run(SHOWN, { search: "dora@example.org" })).people.nodes[0].leads.nodes.length, 1);
    });

    it("enrol.py ends with 2 and says why where nothing can be done", async () => {
      const cases = [
        [await enrol(CONTACTS, { token: "cdz_wrong" }), /valid token/],
        [await enrol(CONTACTS, { token: world.tokens.viewer }), /role EDITOR/],
        [await enrol(CONTACTS, { sequence: "Nowhere" }), /0 sequences are called Nowhere/],
        [await enrol(join(folder, "none.csv")), /cannot be read/],
        [await run("python3", [ENROL, CONTACTS, "--sequence", "x"], { env: { ...environment(), CADENZA_TOKEN: "" } }), /CADENZA_TOKEN/],
      ];
      for (const [{ code, out, err }, why] of cases) {
        assert.equal(code, 2, out + err);
        assert.match(err, why);
        assert.doesNotMatch(err, /Traceback/);
      }
    });

    it("the TypeScript client is generated from the schema, built, and draws the funnel", async () => {
      const root = join(folder, "repository");
      const project = join(root, "examples/typescript");
      await cp(here("../../examples/typescript"), project, { recursive: true, filter: (path) => !/node_modules|dist|generated\.ts/.test(path) });
      await cp(here("../../schema.graphql"), join(root, "schema.graphql"));
      await symlink(here("node_modules"), join(project, "node_modules"));
      const tool = async (name, ...args) => {
        const { code, out, err } = await run(join(project, "node_modules/.bin", name), args, { cwd: project });
        assert.equal(code, 0, `${name}: ${out}${err}`);
      };
      await tool("graphql-codegen", "--config", "codegen.yml");
      await tool("tsc");
      const funnel = (args, token) => run("node", ["dist/funnel.js", ...args], { cwd: project, env: environment(token) });
      const { code, out, err } = await funnel(["Welcome"]);
      assert.equal(code, 0, err);
      assert.match(out, /^Welcome \(published\), \d+ leads$/m);
      assert.match(out, /^contacted +█+·* +\d+ +\d+\.\d %$/m);
      assert.match(out, /^hello +\d+ +\d+ +\d+$/m);
      const leads = out.split("\n").filter((line) => /^person\d+@example\.com +Ann +/.test(line));
      assert.equal(leads.length, 60, "all leads, over several pages");
      for (const [args, token, why] of [[["Welcome"], "cdz_wrong", /valid token/], [["Nowhere"], undefined, /0 sequences/], [[], undefined, /name or the id/]]) {
        const refused = await funnel(args, token);
        assert.equal(refused.code, 1);
        assert.match(refused.err, why);
      }
    });

    it("asks in package.json for what is tested", async () => {
      const read = async (path) => JSON.parse(await readFile(here(path), "utf8"));
      const wanted = (await read("../../examples/typescript/package.json")).devDependencies;
      const { packages } = await read("package-lock.json");
      for (const [name, version] of Object.entries(wanted)) assert.equal(packages[`node_modules/${name}`]?.version, version, name);
    });
  });
}
