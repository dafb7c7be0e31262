//! Every example, run to its end for people of many places on a clock that jumps from one due time to
//! the next, while contacts open, click and answer, tasks are done and people are completed: what was
//! carried out, how it ended and when is what a naive reckoning says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cadenza::app::engagement::{self, Engagement};
use cadenza::channel::dispatch::Channel;
use cadenza::cli::sequence::{Definition, Wish, prepare};
use cadenza::domain::id::{ExecutionId, LeadId};
use cadenza::engine::record::Ending;
use cadenza::engine::{Claimed, Engine, LaneId};
use chrono::{DateTime, Duration, Utc};
use jiff::{Span, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::fates::{self, Deed};
use super::naive::{End, Ended, Person, Walk};
use super::{SENDER_ZONE, examples, make_senders, steps};
use crate::harness::{Harness, both};
use crate::pains::{Receiver, node};

/// The people of the test, as they are imported. What follows the country is attributes.
const PEOPLE: &str = "\
last_name,email,phone,linkedin_url,first_name,company,time_zone,country,seats,plan,renews_on,whatsapp,partner_tier,invoice,amount,due_on,paid
Sample00,a@example.org,+351910000011,https://www.linkedin.com/in/a,Ana,Azul,Europe/Lisbon,PT,80,,1 May,yes,gold-1,17,9 EUR,1 March,true
Sample01,b@example.org,+351910000012,,Ben,Brick,America/New_York,US,3,partner,,,silver,18,8 EUR,1 March,
Sample02,c@example.org,,,Chloé,,Europe/Paris,,,,,,,,,,
Sample03,d@example.org,+351910000014,,,Dorf,Europe/Berlin,AT,50,,,yes,,19,7 EUR,,
Sample04,,+351910000015,,Eve,Eden,Asia/Kolkata,IN,,,,yes,,20,6 EUR,1 March,
Sample05,f@example.org,,https://www.linkedin.com/in/f,Finn,,,,,enterprise,2 May,,gold,21,5 EUR,1 March,
Sample06,g@example.org,+351910000017,,Gil,Gold,Pacific/Auckland,NZ,,,,,,,,,
Sample07,h@example.org,+351910000018,,Hal,Haus,America/Sao_Paulo,BR,49,free,,yes,,22,4 EUR,1 March,false
Sample08,i@example.org,,,,,,GB,,,,,gold,,,,
Sample09,j@example.org,+351910000020,,Joe,Jade,Australia/Lord_Howe,AU,,,,,,23,3 EUR,1 March,
Sample10,,+351910000021,https://www.linkedin.com/in/k,Kim,,America/Los_Angeles,,100,,,yes,,,,,
Sample11,l@example.org,+351910000022,,Léa,Lune,Europe/London,FR,,,3 May,,,24,2 EUR,1 March,true
";

/// What became of a lead: its executions, the branches it took, the variants it got, and its status.
#[derive(Default)]
struct Seen {
    ended: Vec<Ended>,
    branches: BTreeMap<String, usize>,
    variants: BTreeMap<String, String>,
    status: String,
}

/// What somebody does at an instant.
enum Act {
    Engages(LeadId, ExecutionId, Engagement),
    Works(String, &'static str),
    Completes(String, Value),
}

fn people(enrolled: Timestamp) -> Vec<Person> {
    let mut lines = PEOPLE.lines();
    let columns: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let person = |line: &'static str| {
        let cells = columns.iter().copied().zip(line.split(','));
        let fields: BTreeMap<_, _> = cells.filter(|(_, text)| !text.is_empty()).collect();
        let name = fields["last_name"].to_owned();
        let completions = fates::of_person(&name, |field| fields.contains_key(field));
        let later = completions.into_iter().map(|completion| {
            let value = match &completion.value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let at = enrolled + Span::new().milliseconds(completion.after);
            (completion.field, value, at)
        });
        Person {
            name,
            later: later.collect(),
            fields,
        }
    };
    lines.map(person).collect()
}

async fn import(h: &Harness) {
    let answer = h
        .mutate(
            "peopleImport",
            "PeopleImportInput",
            json!({ "csv": PEOPLE }),
            "operation { succeeded failed }",
        )
        .await;
    assert_eq!(answer["operation"]["succeeded"], PEOPLE.lines().count() - 1);
    h.clock.advance_to(h.clock.now() + Duration::minutes(1));
}

/// The run of all examples: who everybody is, and what they will do.
struct Run<'a> {
    h: &'a Harness,
    engine: Engine,
    receiver: Receiver,
    /// Whose a lead is, and of which example.
    leads: HashMap<String, (String, String)>,
    /// The steps of the examples that are tasks which end by themselves.
    timeouts: BTreeSet<(String, String)>,
    /// The tasks that somebody has looked at.
    seen_tasks: BTreeSet<String>,
    /// What is done when, in milliseconds.
    acts: BTreeMap<i64, Vec<Act>>,
    /// How much of each kind was done.
    done: BTreeMap<&'static str, usize>,
}

impl Run<'_> {
    fn plan(&mut self, after: i64, act: Act) {
        let at = self.h.clock.now().timestamp_millis() + after;
        self.acts.entry(at).or_default().push(act);
    }

    /// Does whatever is due now; answers when there is more.
    async fn serve(&mut self) -> Option<DateTime<Utc>> {
        self.engine.prolong().await.expect("it is there still");
        loop {
            let claim = self
                .engine
                .claim(200, &|_: LaneId| 200)
                .await
                .expect("claims");
            let mut ended = Vec::new();
            for claimed in claim.messages {
                let prepared = self
                    .receiver
                    .prepare(&claimed.route, &claimed.letter)
                    .expect("composes");
                let sent = self
                    .receiver
                    .send(&claimed.route, prepared, &CancellationToken::new())
                    .await;
                if claimed.sender.is_some() {
                    self.expect_deeds(&claimed);
                }
                ended.push((claimed, Ending::Dispatched(sent.outcome, sent.kept)));
            }
            self.engine.record(&ended).await.expect("records");
            if claim.progressed {
                self.expect_work().await;
            }
            if ended.is_empty() && !claim.progressed {
                return claim.next_at;
            }
        }
    }

    /// What the contact will do with a message that has just left.
    fn expect_deeds(&mut self, claimed: &Claimed) {
        let lead = claimed.lead.lead_id();
        let (example, person) = self.leads[&lead.to_string()].clone();
        for (deed, after) in fates::of_message(&example, &person, &claimed.step_key) {
            let engagement = match deed {
                Deed::Opened => Engagement::Opened,
                Deed::Clicked => Engagement::Clicked,
                Deed::Replied => Engagement::Replied,
            };
            self.plan(after, Act::Engages(lead, claimed.execution_id, engagement));
        }
    }

    /// What becomes of the tasks that have just been given.
    async fn expect_work(&mut self) {
        let query = "{ tasks(status: [OPEN], first: 250) { nodes { id stepKey lead { id } } } }";
        let data = self.h.data(query, json!({})).await;
        for task in data["tasks"]["nodes"].as_array().expect("tasks") {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let (id, step) = (text(&task["id"]), text(&task["stepKey"]));
            if !self.seen_tasks.insert(id.clone()) {
                continue;
            }
            let (example, person) = self.leads[&text(&task["lead"]["id"])].clone();
            let has_timeout = self.timeouts.contains(&(example.clone(), step.clone()));
            if let Some((done, after)) = fates::of_task(&example, &person, &step, has_timeout) {
                let outcome = match done {
                    fates::Done::Completed => "COMPLETED",
                    fates::Done::Skipped => "SKIPPED",
                };
                self.plan(after, Act::Works(id, outcome));
            }
        }
    }

    /// Does what is to be done by now.
    async fn act(&mut self) {
        let now = self.h.clock.now();
        let later = self.acts.split_off(&(now.timestamp_millis() + 1));
        for act in std::mem::replace(&mut self.acts, later)
            .into_values()
            .flatten()
        {
            let kind = match act {
                Act::Engages(lead, execution, engagement) => {
                    let (services, workspace) = (&self.h.services, self.h.admin.workspace);
                    engagement::record(services, workspace, lead, Some(execution), engagement, now)
                        .await
                        .expect("recorded");
                    match engagement {
                        Engagement::Opened => "opened",
                        Engagement::Clicked => "clicked",
                        Engagement::Replied | Engagement::AutoReplied { .. } => "replied",
                    }
                }
                Act::Works(id, outcome) => self.work(&id, outcome).await,
                Act::Completes(id, attributes) => {
                    let input = json!({ "id": id, "set": { "attributes": attributes } });
                    let select = "person { id }";
                    self.h
                        .mutate("personUpdate", "PersonUpdateInput", input, select)
                        .await;
                    "completed a person"
                }
            };
            *self.done.entry(kind).or_default() += 1;
        }
    }

    /// Does a task, or decides against it; one that was given up meanwhile is none any more.
    async fn work(&self, id: &str, outcome: &'static str) -> &'static str {
        let input = json!({ "id": id, "outcome": outcome });
        let select = "task { status }";
        let answer = self
            .h
            .try_mutate("taskComplete", "TaskCompleteInput", input, select)
            .await;
        if answer["userErrors"] == json!([]) {
            assert_eq!(answer["task"]["status"], outcome);
            return outcome;
        }
        assert_eq!(answer["userErrors"][0]["code"], "WRONG_STATE", "{answer}");
        let message = answer["userErrors"][0]["message"].to_string();
        assert!(message.contains("EXPIRED"), "{message}");
        "came too late"
    }

    /// Goes from one due time to the next until nothing is left to do.
    async fn finish(&mut self) {
        let mut jumps = 0;
        loop {
            let due = self.serve().await;
            let act = self.acts.keys().next().copied();
            let act = act.and_then(DateTime::from_timestamp_millis);
            let Some(next) = due.into_iter().chain(act).min() else {
                return;
            };
            assert!(next > self.h.clock.now(), "nothing is left that is due");
            self.h.clock.advance_to(next);
            self.act().await;
            jumps += 1;
            assert!(jumps < 10_000, "it ends");
        }
    }
}

/// What became of the leads of a sequence, by the person's name: the executions in the order in which
/// they ended, the branches taken, and the status.
async fn observed(h: &Harness, id: &str) -> BTreeMap<String, Seen> {
    let query = "query ($id: ID!) { sequence(id: $id) {
        leads(first: 50) { nodes { status person { lastName } } }
        executions(first: 250) { totalCount nodes { stepKey status variant channel scheduledAt finishedAt
          lead { person { lastName } } } } } }";
    let data = h.data(query, json!({ "id": id })).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = BTreeMap::new();
    for lead in data["sequence"]["leads"]["nodes"]
        .as_array()
        .expect("leads")
    {
        let name = text(&lead["person"]["lastName"]);
        let status = text(&lead["status"]);
        let seen = Seen {
            status,
            ..Seen::default()
        };
        found.insert(name, seen);
    }
    let executions = &data["sequence"]["executions"];
    let nodes = executions["nodes"].as_array().expect("executions");
    assert_eq!(executions["totalCount"], nodes.len());
    for node in nodes {
        let lead = found.get_mut(&text(&node["lead"]["person"]["lastName"]));
        let lead = lead.expect("a lead");
        let key = text(&node["stepKey"]);
        let variant = text(&node["variant"]);
        if let (true, Ok(branch)) = (node["channel"].is_null(), variant.parse()) {
            lead.branches.insert(key.clone(), branch);
        } else if !variant.is_empty() {
            lead.variants.insert(key.clone(), variant);
        }
        // What a lead lacks data for is not over.
        if node["finishedAt"].is_null() {
            assert_eq!(node["status"], "SCHEDULED", "{node}");
            assert_ne!(lead.status, "COMPLETED", "{node}");
            continue;
        }
        let at: Timestamp = text(&node["finishedAt"]).parse().expect("it has ended");
        lead.ended.push((key, text(&node["status"]), at));
    }
    found
}

/// Compares what became of a lead with the reckoning; answers what it came to.
fn check(
    example: &str,
    definition: &Definition,
    enrolled: Timestamp,
    person: &Person,
    seen: Option<&Seen>,
) -> Option<End> {
    let nothing = Seen::default();
    let found = seen.unwrap_or(&nothing);
    let walk = Walk {
        example,
        settings: &definition.settings,
        steps: steps(definition),
        person,
        sender_zone: SENDER_ZONE,
        branches: found.branches.clone(),
    };
    assert_eq!(walk.reaches(), seen.is_some(), "{example}, {}", person.name);
    seen?;
    let (mut expected, end) = walk.run(enrolled);
    // Several steps may end in one instant: the order of the flow tells which came first.
    let order = |key: &str| steps(definition).iter().position(|step| step["key"] == key);
    let ended = found.ended.iter();
    let ended = ended.filter(|(key, ..)| !is_end(definition, key));
    let mut ended: Vec<Ended> = ended.cloned().collect();
    ended.sort_by_key(|(key, _, at)| (*at, order(key)));
    expected.sort_by_key(|(key, _, at)| (*at, order(key)));
    let status = found.status.as_str();
    let fits = match end {
        End::Completed => status == "COMPLETED",
        End::Stopped => status == "STOPPED",
        End::Held => matches!(status, "PENDING" | "IN_PROGRESS"),
    };
    if end == End::Stopped {
        // The step in which a lead stops is over, too.
        let more = ended.len().checked_sub(expected.len());
        assert!(
            matches!(more, Some(0 | 1)),
            "{example}, {}: {ended:?}, {expected:?}",
            person.name
        );
        ended.truncate(expected.len());
    }
    assert_eq!(
        ended, expected,
        "{example}, {} of {:?}",
        person.name, person.fields
    );
    assert!(fits, "{example}, {}: {status}, {end:?}", person.name);
    Some(end)
}

/// How often each of several ways was taken, and its weight: the variants of a message, the branches of
/// a split.
type Shares = BTreeMap<String, (u64, u64)>;

/// The ways that a step has, none of them taken yet.
fn ways(step: &Value) -> Shares {
    let (kind, action) = step["action"]
        .as_object()
        .and_then(|action| action.iter().next())
        .expect("an action");
    let list = if kind == "split" {
        &action["branches"]
    } else {
        &action["variants"]
    };
    let list = list.as_array().into_iter().flatten().enumerate();
    list.filter(|(_, way)| way["enabled"] != false)
        .map(|(index, way)| {
            let named = way["key"].as_str().map(str::to_owned);
            let name = named.unwrap_or_else(|| match kind.as_str() {
                "split" => index.to_string(),
                _ => char::from(b'a' + u8::try_from(index).expect("few")).to_string(),
            });
            (name, (0, way["weight"].as_u64().unwrap_or(1)))
        })
        .filter(|(_, (_, weight))| *weight > 0)
        .collect()
}

/// Every way that was taken is one that the file has, switched on; and all in all they were taken
/// according to their weights.
fn check_shares(all: &[((String, String), Shares)]) {
    let (mut distance, mut freedom, mut taken) = (0.0, 0.0, 0);
    for (_, shares) in all.iter().filter(|(_, shares)| shares.len() > 1) {
        let total: u64 = shares.values().map(|(count, _)| count).sum();
        let weights: u64 = shares.values().map(|(_, weight)| weight).sum();
        if total == 0 {
            continue;
        }
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let real = |number: u64| number as f64;
        for (count, weight) in shares.values() {
            let expected = real(total) * real(*weight) / real(weights);
            distance += (real(*count) - expected).powi(2) / expected;
            freedom += 1.0;
        }
        freedom -= 1.0;
        taken += total;
    }
    assert!(taken >= 25, "{taken} choices were made");
    // Chi-square has this mean and twice it as the variance: three deviations beyond is too far.
    let most = freedom + 3.0 * f64::sqrt(2.0 * freedom);
    assert!(distance < most, "{distance} of at most {most}: {all:?}");
}

fn is_end(definition: &Definition, key: &str) -> bool {
    let mut ends = steps(definition).iter();
    ends.any(|step| step["key"] == key && step["action"].get("end").is_some())
}

/// Publishes every example and enrols everybody; answers the ids of the sequences.
async fn begin(run: &mut Run<'_>, examples: &[(String, Definition)]) -> Vec<String> {
    let mut ids = Vec::new();
    for (name, definition) in examples {
        let h = run.h;
        let prepared = prepare(h, &h.services.zones, definition).await;
        let wish = Wish {
            publish: true,
            ..Wish::default()
        };
        let prepared = prepared.expect("prepared");
        let (id, _) = prepared.carry_out(h, wish).await.expect("published");
        let id = id.to_string();
        let input = json!({ "sequenceId": id, "people": { "filter": { "search": "sample" } } });
        let select = "operation { status }";
        let answer = h
            .mutate("leadsEnrol", "LeadsEnrolInput", input, select)
            .await;
        assert_eq!(answer["operation"]["status"], "COMPLETED", "{name}");
        let query = "query ($id: ID!) { sequence(id: $id) {
            leads(first: 50) { nodes { id person { lastName } } } } }";
        let data = h.data(query, json!({ "id": id })).await;
        let leads = data["sequence"]["leads"]["nodes"].as_array();
        for lead in leads.expect("leads") {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let whose = (name.clone(), text(&lead["person"]["lastName"]));
            run.leads.insert(text(&lead["id"]), whose);
        }
        for step in steps(definition) {
            if step["action"]["task"]["timeout"].is_string() {
                let key = step["key"].as_str().expect("a key").to_owned();
                run.timeouts.insert((name.clone(), key));
            }
        }
        ids.push(id);
    }
    ids
}

/// What will be written into people.
async fn expect_completions(run: &mut Run<'_>, people: &[Person]) {
    let query = "{ people(first: 50) { nodes { id lastName } } }";
    let data = run.h.data(query, json!({})).await;
    for found in data["people"]["nodes"].as_array().expect("people") {
        let person = people
            .iter()
            .find(|person| found["lastName"] == *person.name);
        let person = person.expect("one of the people");
        let knows = |field: &str| person.fields.contains_key(field);
        for completion in fates::of_person(&person.name, knows) {
            let id = found["id"].as_str().expect("an id").to_owned();
            let attributes = json!({ completion.field: completion.value });
            run.plan(completion.after, Act::Completes(id, attributes));
        }
    }
}

both!(
    every_example_runs_as_a_naive_reckoning_says,
    |h: Harness| async move {
        let examples = examples();
        make_senders(&h, &examples).await;
        import(&h).await;
        let receiver = Receiver::default();
        let mut run = Run {
            h: &h,
            engine: node(&h, &receiver).await,
            receiver,
            leads: HashMap::new(),
            timeouts: BTreeSet::new(),
            seen_tasks: BTreeSet::new(),
            acts: BTreeMap::new(),
            done: BTreeMap::new(),
        };
        let ids = begin(&mut run, &examples).await;
        let enrolled = h.clock.now().timestamp_millis();
        let enrolled = Timestamp::from_millisecond(enrolled).expect("an instant");
        let people = people(enrolled);
        expect_completions(&mut run, &people).await;
        run.finish().await;

        let (mut count, mut ends, mut shares) = (0, BTreeMap::new(), Vec::new());
        // The ways out of conditions that were taken.
        let mut answers = BTreeMap::new();
        for ((name, definition), id) in examples.iter().zip(&ids) {
            let seen = observed(&h, id).await;
            for person in &people {
                let end = check(name, definition, enrolled, person, seen.get(&person.name));
                *ends.entry(end.map(|end| format!("{end:?}"))).or_insert(0) += 1;
            }
            for step in steps(definition) {
                let key = step["key"].as_str().expect("a key");
                let mut ways = ways(step);
                for seen in seen.values() {
                    if ways.is_empty() {
                        continue;
                    }
                    let branch = seen.branches.get(key).map(ToString::to_string);
                    if let Some(way) = branch.or_else(|| seen.variants.get(key).cloned()) {
                        let taken = ways.get_mut(&way);
                        taken.unwrap_or_else(|| panic!("{name}, {key}: {way}")).0 += 1;
                    }
                }
                let asks = step["action"]["condition"]["predicate"].to_string();
                for (_, status, _) in seen
                    .values()
                    .flat_map(|seen| &seen.ended)
                    .filter(|(of, ..)| of == key)
                {
                    count += 1;
                    for question in ["opened", "clicked", "replied", "attribute", "has"] {
                        if asks.contains(&format!("\"{question}\"")) {
                            *answers.entry((question, status.clone())).or_insert(0) += 1;
                        }
                    }
                }
                shares.push(((name.clone(), key.to_owned()), ways));
            }
        }
        check_shares(&shares);
        assert!(count > 600, "{count} executions");
        // Every question was answered both ways, and everything was done and came about.
        for question in ["opened", "clicked", "replied", "attribute", "has"] {
            for status in ["SENT", "SKIPPED"] {
                let met = answers.get(&(question, status.to_owned())).copied();
                assert!(met.unwrap_or(0) > 0, "{question} {status}: {answers:?}");
            }
        }
        for kind in [
            "opened",
            "clicked",
            "replied",
            "COMPLETED",
            "SKIPPED",
            "completed a person",
        ] {
            let done = run.done.get(kind).copied();
            assert!(done.unwrap_or(0) >= 5, "{kind}: {:?}", run.done);
        }
        for end in ["Completed", "Stopped", "Held"] {
            let met = ends.get(&Some(end.to_owned())).copied();
            assert!(met.unwrap_or(0) > 0, "{end}: {ends:?}");
        }
    }
);
