//! Every example, run to its end for people of many places on a clock that jumps from one due time to
//! the next: what was carried out, how it ended and when is what a naive reckoning says.

use std::collections::BTreeMap;

use cadenza::channel::dispatch::Channel;
use cadenza::cli::sequence::{Definition, Wish, prepare};
use cadenza::engine::LaneId;
use cadenza::engine::record::Ending;
use chrono::Duration;
use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::naive::{Ended, Person, Walk};
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

/// What became of a lead: its executions, the branches it took, and its status.
type Seen = (Vec<Ended>, BTreeMap<String, usize>, String);

fn people() -> Vec<Person> {
    let mut lines = PEOPLE.lines();
    let columns: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let person = |line: &'static str| {
        let cells = columns.iter().copied().zip(line.split(','));
        let fields: BTreeMap<_, _> = cells.filter(|(_, text)| !text.is_empty()).collect();
        Person {
            name: fields["last_name"].to_owned(),
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
    assert_eq!(answer["operation"]["succeeded"], people().len());
    h.clock.advance_to(h.clock.now() + Duration::minutes(1));
}

/// Does whatever is due now, and every task as soon as it is given; answers when there is more.
async fn serve(h: &Harness, receiver: &Receiver) -> Option<chrono::DateTime<chrono::Utc>> {
    let engine = node(h, receiver).await;
    loop {
        let claim = engine.claim(200, &|_: LaneId| 200).await.expect("claims");
        let mut ended = Vec::new();
        for claimed in claim.messages {
            let prepared = receiver.prepare(&claimed.letter).expect("composes");
            let sent = receiver
                .send(&claimed.route, prepared, &CancellationToken::new())
                .await;
            ended.push((claimed, Ending::Dispatched(sent.outcome, sent.kept)));
        }
        engine.record(&ended).await.expect("records");
        let done = complete_tasks(h).await;
        if ended.is_empty() && !claim.progressed && done == 0 {
            return claim.next_at;
        }
    }
}

async fn complete_tasks(h: &Harness) -> u64 {
    let now = h.clock.now().timestamp_millis();
    let tasks =
        format!("UPDATE task SET status = 'COMPLETED', completed_at = {now} WHERE status = 'OPEN'");
    let leads = format!("UPDATE lead SET due_at = {now} WHERE hold = 'AWAITING_TASK'");
    let db = h.services.db.write();
    let done = db.execute_unprepared(&tasks).await.expect("tasks end");
    if done.rows_affected() > 0 {
        db.execute_unprepared(&leads).await.expect("leads go on");
    }
    done.rows_affected()
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
        found.insert(name, (Vec::new(), BTreeMap::new(), text(&lead["status"])));
    }
    let executions = &data["sequence"]["executions"];
    let nodes = executions["nodes"].as_array().expect("executions");
    assert_eq!(executions["totalCount"], nodes.len());
    for node in nodes {
        let lead = found.get_mut(&text(&node["lead"]["person"]["lastName"]));
        let (ended, branches, _) = lead.expect("a lead");
        let key = text(&node["stepKey"]);
        if let (true, Ok(branch)) = (node["channel"].is_null(), text(&node["variant"]).parse()) {
            branches.insert(key.clone(), branch);
        }
        if node["channel"] == "EMAIL" {
            assert_eq!(node["scheduledAt"], node["finishedAt"], "{node}");
        }
        let at: Timestamp = text(&node["finishedAt"]).parse().expect("it has ended");
        ended.push((key, text(&node["status"]), at));
    }
    found
}

fn check(
    example: &str,
    definition: &Definition,
    enrolled: Timestamp,
    person: &Person,
    seen: Option<&Seen>,
) {
    let nothing = Seen::default();
    let (ended, branches, status) = seen.unwrap_or(&nothing);
    let walk = Walk {
        settings: &definition.settings,
        steps: steps(definition),
        person,
        sender_zone: SENDER_ZONE,
        branches: branches.clone(),
    };
    assert_eq!(walk.reaches(), seen.is_some(), "{example}, {}", person.name);
    if seen.is_none() {
        return;
    }
    let (expected, completes) = walk.run(enrolled);
    // Several steps may end in one instant: the order of the flow tells which came first.
    let order = |key: &str| steps(definition).iter().position(|step| step["key"] == key);
    let mut ended: Vec<Ended> = ended
        .iter()
        .filter(|(key, ..)| !is_end(definition, key))
        .cloned()
        .collect();
    ended.sort_by_key(|(key, _, at)| (*at, order(key)));
    let mut expected = expected;
    expected.sort_by_key(|(key, _, at)| (*at, order(key)));
    if !completes {
        // The step that stops a lead is over, too.
        assert_eq!(status, "STOPPED", "{example}, {}", person.name);
        let more = ended.len().checked_sub(expected.len());
        assert!(matches!(more, Some(0 | 1)), "{example}, {}", person.name);
        ended.truncate(expected.len());
    } else {
        assert_eq!(status, "COMPLETED", "{example}, {}", person.name);
    }
    assert_eq!(
        ended, expected,
        "{example}, {} of {:?}",
        person.name, person.fields
    );
}

fn is_end(definition: &Definition, key: &str) -> bool {
    let mut ends = steps(definition).iter();
    ends.any(|step| step["key"] == key && step["action"].get("end").is_some())
}

both!(
    every_example_runs_as_a_naive_reckoning_says,
    |h: Harness| async move {
        let examples = examples();
        make_senders(&h, &examples).await;
        import(&h).await;
        let mut ids = Vec::new();
        for (name, definition) in &examples {
            let prepared = prepare(&h, &h.services.zones, definition).await;
            let wish = Wish {
                publish: true,
                ..Wish::default()
            };
            let prepared = prepared.expect("prepared");
            let (id, _) = prepared.carry_out(&h, wish).await.expect("published");
            let input = json!({ "sequenceId": id.to_string(),
                "people": { "filter": { "search": "sample" } } });
            let select = "operation { status }";
            let answer = h
                .mutate("leadsEnrol", "LeadsEnrolInput", input, select)
                .await;
            assert_eq!(answer["operation"]["status"], "COMPLETED", "{name}");
            ids.push(id.to_string());
        }
        let enrolled = h.clock.now().timestamp_millis();
        let enrolled = Timestamp::from_millisecond(enrolled).expect("an instant");
        let receiver = Receiver::default();
        let mut jumps = 0;
        while let Some(at) = serve(&h, &receiver).await {
            assert!(at > h.clock.now(), "nothing is left that is due");
            h.clock.advance_to(at);
            jumps += 1;
            assert!(jumps < 5_000, "it ends");
        }
        let mut count = 0;
        for ((name, definition), id) in examples.iter().zip(&ids) {
            let seen = observed(&h, id).await;
            count += seen.values().map(|(ended, ..)| ended.len()).sum::<usize>();
            for person in people() {
                check(name, definition, enrolled, &person, seen.get(&person.name));
            }
        }
        assert!(count > 600, "{count} executions");
    }
);
