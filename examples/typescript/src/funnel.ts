// Lists the leads of a sequence and draws its funnel:
//
//     CADENZA_TOKEN=cdz_… npm start -- "Welcome"
import { type Ask, client, Trouble } from "./client.js";
import { FunnelDocument, type FunnelQuery, LeadsDocument, type LeadsQuery, SequencesDocument } from "./generated.js";

const WIDTH = 40;

interface Page<Node> {
  nodes: Node[];
  pageInfo: { hasNextPage: boolean; endCursor?: string | null };
}

type Sequence = NonNullable<FunnelQuery["sequence"]>;
type Lead = LeadsQuery["leads"]["nodes"][number];

/** Everything of a list, page after page. */
async function* all<Node>(page: (after: string | null) => Promise<Page<Node>>): AsyncGenerator<Node> {
  let after: string | null = null;
  do {
    const { nodes, pageInfo }: Page<Node> = await page(after);
    yield* nodes;
    after = pageInfo.hasNextPage ? (pageInfo.endCursor ?? null) : null;
  } while (after !== null);
}

async function sequenceId(ask: Ask, wanted: string): Promise<string> {
  if (wanted.startsWith("seq_")) return wanted;
  const named: string[] = [];
  const sequences = all(async (after) => (await ask(SequencesDocument, { after })).sequences);
  for await (const { id, name } of sequences) if (name === wanted) named.push(id);
  const [one, another] = named;
  if (!one || another) throw new Trouble(`${named.length} sequences are called ${wanted}: give the id of one`);
  return one;
}

function bar(label: string, count: number, of: number): string {
  const share = of === 0 ? 0 : count / of;
  const drawn = "█".repeat(Math.round(share * WIDTH)).padEnd(WIDTH, "·");
  return `${label.padEnd(14)}${drawn} ${String(count).padStart(7)}  ${(share * 100).toFixed(1).padStart(5)} %`;
}

function draw({ name, status, leadCounts, analytics }: Sequence): string {
  const { funnel, byStep } = analytics;
  const widths = Math.max(...byStep.map(({ stepKey }) => stepKey.length), 4) + 2;
  return [
    `${name} (${status.toLowerCase()}), ${leadCounts.total} leads`,
    "",
    bar("contacted", funnel.contacted, leadCounts.total),
    bar("opened", funnel.opened, leadCounts.total),
    bar("interactions", funnel.interactions, leadCounts.total),
    bar("answered", funnel.answered, leadCounts.total),
    bar("interrupted", funnel.interrupted, leadCounts.total),
    "",
    `${"step".padEnd(widths)}${"waiting".padStart(9)}${"contacted".padStart(11)}${"answered".padStart(10)}`,
    ...byStep.map(
      (step) =>
        `${step.stepKey.padEnd(widths)}${String(step.waiting).padStart(9)}` +
        `${String(step.funnel.contacted).padStart(11)}${String(step.funnel.answered).padStart(10)}`,
    ),
  ].join("\n");
}

function told({ status, messagesSent, person, currentStep }: Lead): string {
  const name = [person.firstName, person.lastName].filter(Boolean).join(" ");
  return `${(person.email ?? person.id).padEnd(32)} ${name.padEnd(20)} ${status.padEnd(12)} ${String(messagesSent).padStart(3)} sent  ${currentStep?.key ?? "-"}`;
}

async function main(): Promise<void> {
  const wanted = process.argv[2];
  const token = process.env["CADENZA_TOKEN"];
  if (!wanted || !token) throw new Trouble("give the name or the id of a sequence, and set CADENZA_TOKEN");
  const ask = client(process.env["CADENZA_URL"] ?? "http://127.0.0.1:8080", token);
  const id = await sequenceId(ask, wanted);
  const { sequence } = await ask(FunnelDocument, { id });
  if (!sequence) throw new Trouble(`there is no sequence ${wanted}`);
  console.log(`${draw(sequence)}\n`);
  const leads = all(async (after) => (await ask(LeadsDocument, { sequence: id, after })).leads);
  for await (const lead of leads) console.log(told(lead));
}

main().catch((error: unknown) => {
  console.error(`error: ${error instanceof Trouble ? error.message : String(error)}`);
  process.exitCode = 1;
});
