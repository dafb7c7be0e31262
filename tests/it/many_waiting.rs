//! The life of a sequence in which very many leads wait: disabling it costs what it costs with a few,
//! publishing it again bursts nothing, and an edit moves each lead by the rule.

use std::collections::BTreeMap;

use async_graphql::{Request, Variables};
use cadenza::domain::id::{SenderId, SequenceId};
use cadenza::store::sql::{self, Arguments};
use chrono::{DateTime, Duration, TimeZone, Utc};
use sea_orm::{ConnectionTrait, DbBackend};
use serde_json::{Value, json};

use crate::blockers::always;
use crate::harness::{Harness, both};
use crate::pains::{Receiver, node, turn};
use crate::publishing::edit;
use crate::sequences::{call, done, flow, published, sender};
use crate::statements::{noted, noted_up_to};
use crate::store::PlanLine;

const MANY: i64 = 100_000;
const FEW: i64 = 40;

/// Leads that wait at a step, each the only one of a person.
pub struct Waiting<'a> {
    pub step: &'a str,
    /// Their people are called so, with a number from 0.
    pub name: &'a str,
    pub count: i64,
    /// When the first is due; each is due a second after the one before.
    pub due: DateTime<Utc>,
    /// Whether they had a message before.
    pub follow_up: bool,
}

/// Enters leads by two statements, however many they are.
pub async fn wait(h: &Harness, sequence: &str, sender: &str, waiting: &Waiting<'_>) {
    let db = h.services.db.write();
    let id = match db.get_database_backend() {
        DbBackend::Postgres => "gen_random_uuid()",
        _ => "randomblob(16)",
    };
    let people = format!(
        "WITH RECURSIVE n (i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $3 - 1)
         INSERT INTO person (id, workspace_id, email, email_key, first_name, last_name, attributes,
             search_text, created_at, updated_at)
         SELECT {id}, $1, $2 || CAST(i AS TEXT) || '@example.org',
             $2 || CAST(i AS TEXT) || '@example.org', $2, CAST(i AS TEXT), '{{}}', '', 0, 0 FROM n"
    );
    let workspace = h.admin.workspace.uuid();
    let arguments = Arguments::new()
        .with(workspace)
        .with(waiting.name)
        .with(waiting.count);
    sql::execute(db, &people, arguments).await.expect("people");
    let sequence: SequenceId = sequence.parse().expect("an id");
    let sender: SenderId = sender.parse().expect("an id");
    let (turn, sent) = if waiting.follow_up { (0, 1) } else { (1, 0) };
    // It was the sender that wrote to them.
    let unbound = !waiting.follow_up;
    // The lead has its person's id: they are of different kinds.
    let leads = format!(
        "INSERT INTO lead (id, workspace_id, sequence_id, person_id, round, status, step_key, turn,
             sender_id, unbound, bucket, anchor_at, due_at, messages_sent, opens, clicks, replies, bounced,
             unsubscribed, enrolled_at, enrolled_by)
         SELECT id, workspace_id, $2, id, 1, 'ACTIVE', $3, {turn}, $4, {unbound}, CAST(last_name AS INTEGER), 0,
             $5 + CAST(last_name AS BIGINT) * 1000, {sent}, 0, 0, 0, false, false, 0, 'API'
         FROM person WHERE workspace_id = $1 AND first_name = $6"
    );
    let arguments = Arguments::new()
        .with(workspace)
        .with(sequence.uuid())
        .with(waiting.step)
        .with(sender.uuid())
        .with(waiting.due.timestamp_millis())
        .with(waiting.name);
    let made = sql::execute(db, &leads, arguments).await.expect("leads");
    assert_eq!(i64::try_from(made).ok(), Some(waiting.count));
}

/// How many leads of a sequence stand where: `STATUS step`.
async fn standing(h: &Harness, sequence: &str) -> BTreeMap<String, i64> {
    #[derive(sea_orm::FromQueryResult)]
    struct Row {
        place: String,
        leads: i64,
    }
    let sequence: SequenceId = sequence.parse().expect("an id");
    let statement = "SELECT status || ' ' || COALESCE(step_key, '') AS place, count(*) AS leads
        FROM lead WHERE sequence_id = $1 GROUP BY 1";
    let arguments = Arguments::new().with(sequence.uuid());
    let rows: Vec<Row> = sql::all(h.services.db.read(), statement, arguments)
        .await
        .expect("counts");
    rows.into_iter().map(|row| (row.place, row.leads)).collect()
}

/// A mutation of a sequence, and the statements that it takes.
async fn statements(h: &Harness, field: &str, input: &Value) -> (Value, Vec<String>) {
    let (schema, statements) = noted(h);
    let input_type = match field {
        "sequencePublish" => "SequencePublishInput",
        _ => "SequenceIdInput",
    };
    let document = format!(
        "mutation($input: {input_type}!) {{ {field}(input: $input) {{ sequence {{ status }}
            plan {{ staying moving stopping completing changes {{ stepKey change leadsThere movesTo }} }}
            userErrors {{ code message path }} }} }}"
    );
    let request = Request::new(document)
        .variables(Variables::from_json(json!({ "input": input })))
        .data(h.editor.clone());
    let answer = schema.execute(request).await;
    assert!(answer.is_ok(), "{answer:?}");
    let mut answer = answer.data.into_json().expect("JSON");
    let payload = answer[field].take();
    assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
    let taken = statements.lock().expect("not poisoned").clone();
    (payload, taken)
}

fn words(statement: &str) -> impl Iterator<Item = &str> {
    statement.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

both!(
    disabling_costs_the_same_with_a_hundred_thousand_waiting,
    |h: Harness| async move {
        let mut taken = Vec::new();
        for (name, count) in [("few", FEW), ("many", MANY)] {
            let (id, ada) = published(&h, &["a", "b"]).await;
            let due = h.clock.now();
            let waiting = Waiting {
                step: "a",
                name,
                count,
                due,
                follow_up: false,
            };
            wait(&h, &id, &ada, &waiting).await;
            let before = standing(&h, &id).await;
            let input = json!({ "id": id });
            let (_, disabling) = statements(&h, "sequenceDisable", &input).await;
            let asks = disabling
                .iter()
                .find(|text| words(text).any(|word| word == "lead"));
            assert_eq!(asks, None, "no lead is looked at");
            assert!(
                disabling
                    .iter()
                    .any(|text| text.starts_with("UPDATE sequence "))
            );
            let (payload, publishing) = statements(&h, "sequencePublish", &input).await;
            assert_eq!(payload["plan"]["staying"], count);
            let writes = publishing.iter().find(|text| {
                let mut words = words(text);
                text.contains("UPDATE lead")
                    || text.contains("DELETE FROM lead")
                    || words.any(|word| word == "INSERT") && text.contains("INTO lead ")
            });
            assert_eq!(writes, None, "no lead is written");
            assert_eq!(standing(&h, &id).await, before);
            taken.push((disabling.len(), publishing.len()));
        }
        assert_eq!(taken[0], taken[1], "as many statements as with a few");
    }
);

/// The statements about leads that a mutation of a sequence takes whose answer asks for no plan.
async fn of_leads(h: &Harness, field: &str, input: &Value) -> Vec<String> {
    let (schema, statements) = noted_up_to(h, usize::MAX);
    let input_type = match field {
        "sequencePublish" => "SequencePublishInput",
        _ => "SequenceIdInput",
    };
    let document = format!(
        "mutation($input: {input_type}!) {{ {field}(input: $input) {{ sequence {{ status }}
            problems {{ code }} userErrors {{ code message path }} }} }}"
    );
    let request = Request::new(document)
        .variables(Variables::from_json(json!({ "input": input })))
        .data(h.editor.clone());
    let answer = schema.execute(request).await;
    assert!(answer.is_ok(), "{answer:?}");
    let answer = answer.data.into_json().expect("JSON");
    assert_eq!(answer[field]["userErrors"], json!([]), "{answer:#}");
    let taken = statements.lock().expect("not poisoned").clone();
    let of_leads = |text: &String| words(text).any(|word| word == "lead");
    taken.into_iter().filter(of_leads).collect()
}

/// How SQLite finds the leads that a statement reads: the lines of its plan.
async fn ways(h: &Harness, statement: &str) -> Vec<String> {
    let explained = format!("EXPLAIN QUERY PLAN {statement}");
    let lines: Vec<PlanLine> = sql::all(h.services.db.read(), &explained, Arguments::new())
        .await
        .expect("a plan");
    lines.into_iter().map(|PlanLine(line)| line).collect()
}

/// Whether SQLite reads leads otherwise than at one step, by what holds them, or by their ids.
fn reads_what_waits(line: &str) -> bool {
    let of_leads = |how: &str| {
        [" lead", " l "]
            .map(|table| format!("{how}{table}"))
            .iter()
            .any(|begin| line.starts_with(begin))
    };
    let is_bounded = ["step_key=?", "hold=?", "(id=?)"]
        .iter()
        .any(|bound| line.contains(bound));
    of_leads("SCAN") || of_leads("SEARCH") && !is_bounded
}

/// What PostgreSQL has counted of leads so far.
#[derive(sea_orm::FromQueryResult)]
struct Counted {
    inserted: i64,
    updated: i64,
    read: i64,
}

/// The counts, once what is asked of them holds: sessions hand in theirs within seconds.
async fn counted(h: &Harness, what: &str, holds: impl Fn(&Counted) -> bool) -> Counted {
    let statement = "SELECT n_tup_ins AS inserted, n_tup_upd AS updated,
             CAST(seq_tup_read + COALESCE(idx_tup_fetch, 0) AS BIGINT) AS read
         FROM pg_stat_user_tables WHERE relname = 'lead'";
    let look = async || {
        let found: Option<Counted> = sql::one(h.services.db.read(), statement, Arguments::new())
            .await
            .expect("counts");
        found.filter(|found| holds(found))
    };
    crate::harness::until(what, look).await
}

both!(
    publishing_reads_no_lead_that_keeps_its_step_and_sender,
    |h: Harness| async move {
        let (id, ada) = published(&h, &["a", "b", "c", "d"]).await;
        let bob = sender(&h, "bob").await;
        for (step, count) in [("a", MANY), ("b", 3), ("c", 3)] {
            let waiting = Waiting {
                step,
                name: &format!("{step}-"),
                count,
                due: h.clock.now() + Duration::days(9),
                follow_up: false,
            };
            wait(&h, &id, &ada, &waiting).await;
        }
        let is_shared = h.services.db.is_shared();
        if is_shared {
            let analysed = h.services.db.write().execute_unprepared("ANALYZE lead");
            analysed.await.expect("statistics");
        }
        let input = json!({ "id": id });
        for field in ["sequenceDisable", "sequencePublish"] {
            let asked = of_leads(&h, field, &input).await;
            assert_eq!(
                asked, [""; 0],
                "{field} of what is as it was asks for no lead"
            );
        }
        let mut changed = flow(&["a", "c", "d"], &[&ada]);
        changed["steps"][0]["name"] = json!("A new name");
        changed["steps"][1]["action"]["email"]["senderIds"] = json!([bob]);
        let publish = edit(&h, &id, changed).await;
        let before = match is_shared {
            true => {
                counted(&h, "the leads", |found| found.inserted >= MANY + 6)
                    .await
                    .read
            }
            false => 0,
        };
        let asked = of_leads(&h, "sequencePublish", &publish).await;
        assert!(!asked.is_empty(), "those of b and c are moved");
        if is_shared {
            let after = counted(&h, "the moves", |found| found.updated >= 6).await;
            let read = after.read - before;
            assert!(read < 1_000, "{read} leads were read");
        } else {
            for statement in asked {
                let plan = ways(&h, &statement).await;
                assert!(
                    !plan.iter().any(|line| reads_what_waits(line)),
                    "{statement}: {plan:#?}"
                );
            }
        }
        let moved = standing(&h, &id).await;
        let expected = [("ACTIVE a", MANY), ("ACTIVE c", 6)];
        assert_eq!(
            moved,
            expected
                .map(|(place, count)| (place.to_owned(), count))
                .into()
        );
        let now_of = "SELECT count(*) AS n FROM lead WHERE sender_id = $1";
        let bob: SenderId = bob.parse().expect("an id");
        let now_of = sql::number(
            h.services.db.read(),
            now_of,
            Arguments::new().with(bob.uuid()),
        );
        assert_eq!(
            now_of.await.expect("a count"),
            6,
            "those of the step are bob's"
        );
    }
);

both!(
    a_plan_is_counted_before_anybody_has_to_wait_for_it,
    |h: Harness| async move {
        let (id, mut publish) = four(&h, "few", FEW).await;
        for dry_run in [true, false] {
            publish["dryRun"] = json!(dry_run);
            let (payload, taken) = statements(&h, "sequencePublish", &publish).await;
            assert_eq!(payload["plan"]["staying"], FEW / 2);
            let counts = |text: &String| text.contains("count(*)") && !text.contains("(SELECT 1");
            let of_leads = |text: &String| words(text).any(|word| word == "lead");
            let last = taken
                .iter()
                .rposition(|text| counts(text) && of_leads(text));
            // Each transaction of a mutation begins with its entry in the audit.
            let entered = |text: &String| text.contains("INSERT INTO audit_entry");
            let begun = taken.iter().position(entered);
            let last = last.expect("leads are counted");
            assert!(begun.is_some() || dry_run, "{taken:#?}");
            assert!(begun.is_none_or(|begun| last < begun), "{taken:#?}");
        }
        assert_eq!(standing(&h, &id).await.len(), 3);
    }
);

/// A sequence of four steps with as many leads at each, which is edited so that two of them are gone.
async fn four(h: &Harness, name: &str, all: i64) -> (String, Value) {
    let (id, ada) = published(h, &["a", "b", "c", "d"]).await;
    for step in ["a", "b", "c", "d"] {
        let waiting = Waiting {
            step,
            name: &format!("{name}-{step}-"),
            count: all / 4,
            due: h.clock.now() + Duration::days(9),
            follow_up: step != "a",
        };
        wait(h, &id, &ada, &waiting).await;
    }
    let mut changed = flow(&["a", "c", "new"], &[&ada]);
    changed["steps"][1]["wait"] = json!("P3D");
    let publish = edit(h, &id, changed).await;
    (id, publish)
}

/// Publishes by a policy what lost two steps, with few leads and with many; where they are afterwards,
/// in parts of four.
async fn moved_by(h: &Harness, policy: Value, plan: [i64; 4], places: &[(&str, i64)]) {
    let mut taken = Vec::new();
    for (name, all) in [("few", FEW), ("many", MANY)] {
        let (id, mut publish) = four(h, name, all).await;
        publish["onRemovedStep"] = policy.clone();
        publish["dryRun"] = json!(true);
        let before = standing(h, &id).await;
        let dry = call(h, "sequencePublish", publish.clone()).await["plan"].take();
        let part = |parts: i64| parts * all / 4;
        let [staying, moving, stopping, completing] = plan.map(part);
        let told = ["staying", "moving", "stopping", "completing"].map(|sum| dry[sum].as_i64());
        assert_eq!(
            told,
            [staying, moving, stopping, completing].map(Some),
            "{dry:#}"
        );
        assert_eq!(standing(h, &id).await, before, "a dry run moves nobody");
        publish["dryRun"] = json!(false);
        let (payload, publishing) = statements(h, "sequencePublish", &publish).await;
        assert_eq!(payload["plan"], dry, "what was told is done");
        let expected = places.iter();
        let expected = expected.map(|(place, parts)| ((*place).to_owned(), part(*parts)));
        assert_eq!(standing(h, &id).await, expected.collect());
        let of_leads = |text: &&String| words(text).any(|word| word == "lead");
        taken.push((publishing.iter().filter(of_leads).count(), publishing.len()));
    }
    let [(few_of_leads, few), (many_of_leads, many)] = taken.try_into().expect("two");
    assert_eq!(few_of_leads, many_of_leads, "sets, not one after the other");
    // An event for each, and what they were due for is given up, both by hundreds at a time.
    let chunks = usize::try_from(MANY / 2 / 500 * 3).expect("few");
    assert!(
        many - few <= chunks,
        "{few} statements for few, {many} for many"
    );
}

both!(many_go_to_the_next_step, |h: Harness| async move {
    let places = [("ACTIVE a", 1), ("ACTIVE c", 2), ("COMPLETED ", 1)];
    moved_by(&h, json!({ "next": true }), [2, 1, 0, 1], &places).await;
});

both!(many_go_where_the_map_says, |h: Harness| async move {
    let map = json!({ "map": [{ "from": "b", "to": "a" }, { "from": "d", "to": "new" }] });
    let places = [("ACTIVE a", 2), ("ACTIVE c", 1), ("ACTIVE new", 1)];
    moved_by(&h, map, [2, 2, 0, 0], &places).await;
});

both!(many_stop, |h: Harness| async move {
    let places = [
        ("ACTIVE a", 1),
        ("ACTIVE c", 1),
        ("STOPPED b", 1),
        ("STOPPED d", 1),
    ];
    moved_by(&h, json!({ "stop": true }), [2, 0, 2, 0], &places).await;
});

fn at(day: u32, hour: u32) -> DateTime<Utc> {
    let at = Utc.with_ymd_and_hms(2026, 3, day, hour, 0, 0);
    at.single().expect("an instant")
}

/// A sequence with these settings that was disabled while twenty follow-ups and twenty first messages
/// came to be due, and is published again in the evening of the tenth of March, a Tuesday.
async fn overdue(h: &Harness, settings: Value) -> (Receiver, String) {
    let (id, ada) = published(h, &["a", "b"]).await;
    done(h, "sequenceDisable", json!({ "id": id })).await;
    let update = json!({ "id": id, "settings": settings });
    done(h, "sequenceUpdate", update).await;
    // The first messages have waited for longer.
    for (step, name, due, follow_up) in [
        ("a", "first", at(3, 9), false),
        ("b", "follow", at(4, 9), true),
    ] {
        let waiting = Waiting {
            step,
            name,
            count: 20,
            due,
            follow_up,
        };
        wait(h, &id, &ada, &waiting).await;
    }
    h.clock.advance_to(at(10, 20));
    done(h, "sequencePublish", json!({ "id": id })).await;
    (Receiver::default(), ada)
}

pub fn mails(name: &str, step: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mail = |number| format!("{name}{number}@example.org Subject of {step}");
    numbers.map(mail).collect()
}

/// Everything that leaves now, at most so many for each claim.
pub async fn leaving(h: &Harness, receiver: &Receiver, room: usize) -> Vec<String> {
    let before = receiver.in_order().len();
    let engine = node(h, receiver).await;
    for _ in 0..100 {
        let claimed = turn(&engine, receiver, room).await;
        assert!(claimed <= room, "no more than there is room for");
        if claimed == 0 {
            break;
        }
    }
    receiver.in_order().split_off(before)
}

both!(
    what_is_overdue_when_it_is_published_again_keeps_windows_and_caps,
    |h: Harness| async move {
        let settings = json!({ "maxNewLeadsPerDay": 4, "maxSendsPerDay": 15 });
        let (receiver, _) = overdue(&h, settings).await;
        h.clock.advance_to(at(11, 9));
        let first = leaving(&h, &receiver, 50).await;
        assert_eq!(
            first,
            mails("follow", "b", 0..15),
            "follow-ups, in due order"
        );
        h.clock.advance_to(at(11, 16));
        assert_eq!(
            leaving(&h, &receiver, 50).await,
            [""; 0],
            "no more that day"
        );
        h.clock.advance_to(at(12, 9));
        let rest = [mails("follow", "b", 15..20), mails("first", "a", 0..4)].concat();
        assert_eq!(
            leaving(&h, &receiver, 50).await,
            rest,
            "then so many new ones"
        );
        h.clock.advance_to(at(13, 9));
        let more = leaving(&h, &receiver, 50).await;
        // Those of the day before are all due for their second message at the opening.
        let (mut second, new) = (more[..4].to_vec(), &more[4..]);
        second.sort();
        assert_eq!(second, mails("first", "b", 0..4));
        assert_eq!(new, mails("first", "a", 4..8));
    }
);

both!(
    what_is_overdue_when_it_is_published_again_keeps_the_pace,
    |h: Harness| async move {
        let (receiver, ada) = overdue(&h, always()).await;
        let pace = json!({ "id": ada, "minGap": "PT1M" });
        h.mutate(
            "senderUpdate",
            "SenderUpdateInput",
            pace,
            "sender { minGap }",
        )
        .await;
        let expected = [mails("follow", "b", 0..20), mails("first", "a", 0..20)].concat();
        for (minute, mail) in expected.iter().take(25).enumerate() {
            let sent = leaving(&h, &receiver, 50).await;
            assert_eq!(
                sent,
                std::slice::from_ref(mail),
                "minute {minute}: one, the next in order"
            );
            h.clock.advance_to(h.clock.now() + Duration::seconds(59));
            assert_eq!(
                leaving(&h, &receiver, 50).await,
                [""; 0],
                "nothing is caught up on"
            );
            h.clock.advance_to(h.clock.now() + Duration::seconds(1));
        }
    }
);

both!(
    without_caps_and_pace_what_is_overdue_leaves_in_order_as_there_is_room,
    |h: Harness| async move {
        let (receiver, _) = overdue(&h, json!({})).await;
        h.clock.advance_to(at(11, 9));
        // Publishing hands out nothing by itself: each claim takes what leaves at once.
        let sent = leaving(&h, &receiver, 3).await;
        let expected = [mails("follow", "b", 0..20), mails("first", "a", 0..20)].concat();
        assert_eq!(
            sent, expected,
            "each once, in due order, follow-ups before first messages"
        );
    }
);

both!(
    what_is_published_again_at_night_waits_for_the_morning,
    |h: Harness| async move {
        let (receiver, _) = overdue(&h, json!({ "maxSendsPerDay": 25 })).await;
        assert_eq!(leaving(&h, &receiver, 50).await, [""; 0], "not at night");
        h.clock.advance_to(at(11, 9) - Duration::milliseconds(1));
        assert_eq!(
            leaving(&h, &receiver, 50).await,
            [""; 0],
            "nor a moment too early"
        );
        h.clock.advance_to(at(11, 9));
        let sent = leaving(&h, &receiver, 50).await;
        assert_eq!(sent.len(), 25, "as many as the day allows");
        let expected = [mails("follow", "b", 0..20), mails("first", "a", 0..5)].concat();
        assert_eq!(
            sent, expected,
            "in due order, though all are due at the opening by now"
        );
    }
);
