//! A sequence edited while it is disabled: where its leads go when it is published again.

use std::collections::BTreeMap;

use cadenza::domain::id::{LeadId, PersonId, SenderId, SequenceId, WorkerId};
use cadenza::domain::lead::{Happening, LeadState, LeadStatus, StopReason};
use cadenza::store::lead::{kept, status};
use cadenza::store::sql::{self, Arguments};
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::sequences::{call, done, flow, kinds, published, refusals, sender, step};

/// A lead as a test makes it.
struct Made<'a> {
    step: &'a str,
    status: &'a str,
    due_ms: Option<i64>,
    rest_ms: Option<i64>,
    hold: Option<&'a str>,
    worker: bool,
}

fn pending(step: &str) -> Made<'_> {
    Made {
        step,
        status: "PENDING",
        due_ms: Some(5_000),
        rest_ms: None,
        hold: None,
        worker: false,
    }
}

/// Enters a lead of a new person; its bucket is how many there were before.
async fn lead(h: &Harness, sequence: &str, sender: &str, bucket: i32, made: Made<'_>) -> LeadId {
    let now = h.clock.now();
    let person: PersonId = h.services.entropy.id(now);
    let id: LeadId = h.services.entropy.id(now);
    let worker: Option<WorkerId> = made.worker.then(|| h.services.entropy.id(now));
    let sequence: SequenceId = sequence.parse().expect("an id");
    let sender: SenderId = sender.parse().expect("an id");
    let db = h.services.db.write();
    let workspace = h.admin.workspace.uuid();
    sql::execute(
        db,
        "INSERT INTO person (id, workspace_id, attributes, search_text, created_at,
            updated_at) VALUES ($1, $2, $3, '', 0, 0)",
        Arguments::new()
            .with(person.uuid())
            .with(workspace)
            .with(json!({})),
    )
    .await
    .expect("a person");
    let arguments = Arguments::new()
        .with(id.uuid())
        .with(workspace)
        .with(sequence.uuid())
        .with(person.uuid())
        .with(kept(made.status.parse().expect("a status")))
        .with(made.step)
        .with(sender.uuid())
        .with(bucket)
        .with(made.due_ms)
        .with(made.rest_ms)
        .with(made.hold)
        .with(worker.map(WorkerId::uuid));
    sql::execute(
        db,
        "INSERT INTO lead (id, workspace_id, sequence_id, person_id, round, status,
            step_key, turn, sender_id, bucket, anchor_at, due_at, paused_rest_ms, hold, worker_id,
            messages_sent, opens, clicks, replies, bounced, unsubscribed, enrolled_at, enrolled_by)
        VALUES ($1, $2, $3, $4, 1, $5, $6, 1, $7, $8, 0, $9, $10, $11, $12, 0, 0, 0, 0, false,
            false, 0, 'API')",
        arguments,
    )
    .await
    .expect("a lead");
    id
}

async fn row(h: &Harness, id: LeadId) -> entity::lead::Model {
    let found = entity::lead::Entity::find_by_id(id.uuid())
        .one(h.services.db.read())
        .await;
    found.expect("readable").expect("there")
}

/// Disables the sequence, gives it this flow, and answers the input that publishes it.
pub async fn edit(h: &Harness, id: &str, flow: Value) -> Value {
    done(h, "sequenceDisable", json!({ "id": id })).await;
    done(h, "sequenceUpdate", json!({ "id": id, "flow": flow })).await;
    json!({ "id": id })
}

/// The events of leads: kind, step and detail of each lead.
async fn lead_events(h: &Harness) -> BTreeMap<LeadId, (String, Value, Value)> {
    let rows = entity::event::Entity::find()
        .all(h.services.db.read())
        .await
        .expect("readable");
    let of_lead = |row: entity::event::Model| {
        let lead = LeadId::from_uuid(row.lead_id?);
        Some((
            lead,
            (
                row.kind,
                json!(row.step_key),
                row.detail.unwrap_or_default(),
            ),
        ))
    };
    rows.into_iter().filter_map(of_lead).collect()
}

both!(
    leads_of_a_removed_step_go_to_the_next_one,
    |h: Harness| async move {
        let (id, ada) = published(&h, &["a", "b", "c", "d"]).await;
        let stays = lead(&h, &id, &ada, 0, pending("a")).await;
        let moves = lead(&h, &id, &ada, 1, pending("b")).await;
        let paused = lead(
            &h,
            &id,
            &ada,
            2,
            Made {
                status: "PAUSED",
                due_ms: None,
                rest_ms: Some(77),
                ..pending("b")
            },
        )
        .await;
        let lacks = lead(
            &h,
            &id,
            &ada,
            3,
            Made {
                due_ms: None,
                hold: Some("MISSING_MERGE_DATA"),
                ..pending("b")
            },
        )
        .await;
        let held = lead(
            &h,
            &id,
            &ada,
            4,
            Made {
                worker: true,
                status: "IN_PROGRESS",
                ..pending("b")
            },
        )
        .await;
        let unsure = lead(
            &h,
            &id,
            &ada,
            5,
            Made {
                status: "IN_PROGRESS",
                due_ms: None,
                hold: Some("UNCONFIRMED"),
                ..pending("b")
            },
        )
        .await;
        let ends = lead(&h, &id, &ada, 6, pending("d")).await;
        let over = lead(
            &h,
            &id,
            &ada,
            7,
            Made {
                status: "COMPLETED",
                due_ms: None,
                ..pending("b")
            },
        )
        .await;
        let mut publish = edit(&h, &id, flow(&["a", "c", "new"], &[&ada])).await;

        publish["dryRun"] = json!(true);
        let before = kinds(&h).await;
        let dry = call(&h, "sequencePublish", publish.clone()).await;
        assert_eq!(
            dry["plan"],
            json!({ "staying": 3, "moving": 3, "stopping": 0, "completing": 1,
        "changes": [
            { "stepKey": "a", "change": "REWIRED", "leadsThere": 1, "movesTo": null },
            { "stepKey": "c", "change": "REWIRED", "leadsThere": 0, "movesTo": null },
            { "stepKey": "new", "change": "ADDED", "leadsThere": 0, "movesTo": null },
            { "stepKey": "b", "change": "REMOVED", "leadsThere": 5, "movesTo": "c" },
            { "stepKey": "d", "change": "REMOVED", "leadsThere": 1, "movesTo": null },
        ] }),
            "{dry:#}"
        );
        assert_eq!(
            (&dry["sequence"]["status"], kinds(&h).await),
            (&json!("DISABLED"), before)
        );
        assert_eq!(row(&h, moves).await.step_key.as_deref(), Some("b"));

        publish["dryRun"] = json!(false);
        let told = call(&h, "sequencePublish", publish).await;
        assert_eq!(told["plan"], dry["plan"]);
        assert_eq!(told["sequence"]["publishedVersion"]["number"], 2);
        let at = async |id| {
            let row = row(&h, id).await;
            (
                status(&row).expect("a status").to_string(),
                row.step_key.unwrap_or_default(),
                row.due_at,
                row.paused_rest_ms,
                row.hold,
            )
        };
        let now = h.clock.now().timestamp_millis();
        let place = |status: &str, step: &str, due, rest, hold: Option<&str>| {
            (
                status.to_owned(),
                step.to_owned(),
                due,
                rest,
                hold.map(str::to_owned),
            )
        };
        assert_eq!(
            at(stays).await,
            place("PENDING", "a", Some(5_000), None, None)
        );
        assert_eq!(
            at(moves).await,
            place("PENDING", "c", Some(5_000), None, None)
        );
        assert_eq!(at(paused).await, place("PAUSED", "c", None, Some(77), None));
        assert_eq!(
            at(lacks).await,
            place("PENDING", "c", Some(now), None, None)
        );
        assert_eq!(
            at(held).await,
            place("IN_PROGRESS", "b", Some(5_000), None, None)
        );
        assert_eq!(
            at(unsure).await,
            place("IN_PROGRESS", "b", None, None, Some("UNCONFIRMED"))
        );
        assert_eq!(at(ends).await, place("COMPLETED", "", None, None, None));
        assert_eq!(at(over).await, place("COMPLETED", "b", None, None, None));
        let events = lead_events(&h).await;
        assert_eq!(events.keys().copied().collect::<Vec<_>>(), {
            let mut moved = vec![moves, paused, lacks, ends];
            moved.sort_unstable();
            moved
        });
        let detail = json!({ "from": "b", "reason": "STEP_REMOVED" });
        assert_eq!(events[&moves], ("LEAD_ADVANCED".into(), json!("c"), detail));
        assert_eq!(events[&ends].0, "LEAD_COMPLETED");
    }
);

both!(
    leads_of_a_removed_step_go_where_the_map_says,
    |h: Harness| async move {
        let (id, ada) = published(&h, &["a", "b", "c"]).await;
        let mapped = lead(&h, &id, &ada, 0, pending("b")).await;
        let unnamed = lead(&h, &id, &ada, 1, pending("a")).await;
        let mut publish = edit(&h, &id, flow(&["c", "z"], &[&ada])).await;
        let map = |moves: Value| json!({ "map": moves });
        publish["onRemovedStep"] = map(json!([{ "from": "b", "to": "nowhere" },
        { "from": "c", "to": "z" }, { "from": "never", "to": "z" }]));
        let refused = call(&h, "sequencePublish", publish.clone()).await;
        let paths: Vec<String> = refusals(&refused)
            .into_iter()
            .map(|(_, path)| path)
            .collect();
        assert_eq!(
            paths,
            [
                "onRemovedStep.map.0.to",
                "onRemovedStep.map.1.from",
                "onRemovedStep.map.2.from"
            ],
            "{refused:#}"
        );
        publish["onRemovedStep"] = json!({ "next": false });
        let refused = call(&h, "sequencePublish", publish.clone()).await;
        assert_eq!(
            refusals(&refused),
            [("INVALID".into(), "onRemovedStep.next".into())]
        );

        publish["onRemovedStep"] = map(json!([{ "from": "b", "to": "z" }]));
        let told = call(&h, "sequencePublish", publish.clone()).await;
        assert_eq!(
            (&told["userErrors"], &told["plan"]["moving"]),
            (&json!([]), &json!(2)),
            "{told:#}"
        );
        assert_eq!(row(&h, mapped).await.step_key.as_deref(), Some("z"));
        assert_eq!(row(&h, unnamed).await.step_key.as_deref(), Some("c"));
        // The same call once more has nothing to move and is no error.
        let again = call(&h, "sequencePublish", publish).await;
        assert_eq!(
            (&again["userErrors"], &again["plan"]["moving"]),
            (&json!([]), &json!(0))
        );
    }
);

both!(
    leads_of_a_removed_step_stop_where_that_is_asked,
    |h: Harness| async move {
        let (id, ada) = published(&h, &["a", "b"]).await;
        let stops = lead(&h, &id, &ada, 0, pending("b")).await;
        let stays = lead(&h, &id, &ada, 1, pending("a")).await;
        let mut publish = edit(&h, &id, flow(&["a"], &[&ada])).await;
        publish["onRemovedStep"] = json!({ "stop": true });
        let told = call(&h, "sequencePublish", publish).await;
        assert_eq!(
            (&told["plan"]["stopping"], &told["plan"]["staying"]),
            (&json!(1), &json!(1))
        );
        let stopped = row(&h, stops).await;
        assert_eq!(
            (stopped.status.as_str(), stopped.stop_reason.as_deref()),
            ("STOPPED", Some("STEP_REMOVED"))
        );
        assert_eq!(
            (stopped.due_at, stopped.step_key.as_deref()),
            (None, Some("b"))
        );
        assert_eq!(
            status(&row(&h, stays).await).ok(),
            Some(LeadStatus::Pending)
        );
        let events = lead_events(&h).await;
        assert_eq!(
            events[&stops],
            (
                "LEAD_STOPPED".into(),
                json!("b"),
                json!({ "reason": "STEP_REMOVED" })
            )
        );
        assert_eq!(events.len(), 1);
    }
);

both!(
    a_lead_keeps_its_sender_while_its_step_names_it,
    |h: Harness| async move {
        let (id, ada) = published(&h, &["a", "b"]).await;
        let (bob, eve) = (sender(&h, "bob").await, sender(&h, "eve").await);
        let mut leads = Vec::new();
        for bucket in 0..4 {
            leads.push(lead(&h, &id, &ada, bucket, pending("a")).await);
        }
        let keeps = lead(&h, &id, &ada, 0, pending("b")).await;
        let flow = json!({ "steps": [step("a", &[&bob, &eve]), step("b", &[&eve, &ada])] });
        let publish = edit(&h, &id, flow).await;
        done(&h, "sequencePublish", publish).await;
        let now_with = async |lead| {
            let sender = row(&h, lead).await.sender_id.expect("a sender");
            SenderId::from_uuid(sender).to_string()
        };
        for (bucket, lead) in leads.iter().enumerate() {
            let expected = if bucket % 2 == 0 { &bob } else { &eve };
            assert_eq!(&now_with(*lead).await, expected, "bucket {bucket}");
        }
        assert_eq!(now_with(keeps).await, ada);
        let lanes = entity::lane::Entity::find()
            .all(h.services.db.read())
            .await
            .expect("readable");
        let mut lanes: Vec<String> = lanes
            .into_iter()
            .map(|lane| SenderId::from_uuid(lane.sender_id).to_string())
            .collect();
        lanes.sort();
        let mut expected = [ada, bob, eve];
        expected.sort();
        assert_eq!(lanes, expected);
    }
);

both!(
    a_lane_stays_while_a_worker_holds_a_lead_of_it,
    |h: Harness| async move {
        let (id, ada) = published(&h, &["a"]).await;
        let bob = sender(&h, "bob").await;
        lead(
            &h,
            &id,
            &ada,
            0,
            Made {
                worker: true,
                status: "IN_PROGRESS",
                ..pending("a")
            },
        )
        .await;
        let publish = edit(&h, &id, flow(&["a"], &[&bob])).await;
        done(&h, "sequencePublish", publish.clone()).await;
        let count = async || {
            let statement = "SELECT count(*) AS n FROM lane";
            sql::number(h.services.db.read(), statement, Arguments::new())
                .await
                .expect("a number")
        };
        assert_eq!(count().await, 2, "what the worker gives back is found");
        sql::execute(
            h.services.db.write(),
            "UPDATE lead SET worker_id = NULL",
            Arguments::new(),
        )
        .await
        .expect("given back");
        done(&h, "sequenceDisable", publish.clone()).await;
        done(&h, "sequencePublish", publish).await;
        assert_eq!(count().await, 1);
    }
);

both!(
    a_lead_that_came_back_to_a_step_which_is_gone_keeps_its_lane,
    |h: Harness| async move {
        let (id, ada) = published(&h, &["a", "b"]).await;
        let bob = sender(&h, "bob").await;
        let sent = Made {
            worker: true,
            status: "IN_PROGRESS",
            ..pending("a")
        };
        lead(&h, &id, &ada, 0, sent).await;
        let publish = edit(&h, &id, flow(&["b"], &[&bob])).await;
        done(&h, "sequencePublish", publish.clone()).await;
        // It was not sent, and stands where it stood.
        let statement = "UPDATE lead SET worker_id = NULL";
        sql::execute(h.services.db.write(), statement, Arguments::new())
            .await
            .expect("given back");
        for _ in 0..2 {
            done(&h, "sequenceDisable", publish.clone()).await;
            done(&h, "sequencePublish", publish.clone()).await;
        }
        let statement = "SELECT count(*) AS n FROM lead WHERE status = 'ACTIVE' AND EXISTS (
            SELECT 1 FROM lane WHERE lane.sequence_id = lead.sequence_id
                AND lane.sender_id = lead.sender_id)";
        let found = sql::number(h.services.db.read(), statement, Arguments::new()).await;
        assert_eq!(found.expect("a number"), 1);
    }
);

both!(
    a_changed_text_lets_leads_go_on_that_missed_data_for_it,
    |h: Harness| async move {
        let (id, ada) = published(&h, &["a", "b"]).await;
        let lacking = |step| Made {
            due_ms: None,
            hold: Some("MISSING_MERGE_DATA"),
            ..pending(step)
        };
        let released = lead(&h, &id, &ada, 0, lacking("a")).await;
        let waits = lead(&h, &id, &ada, 1, lacking("b")).await;
        let mut new = flow(&["a", "b"], &[&ada]);
        new["steps"][0]["action"]["email"]["variants"][0]["text"] = json!("Another text");
        let publish = edit(&h, &id, new).await;
        let mut due = h.services.wake.on_due();
        done(&h, "sequencePublish", publish).await;
        assert!(due.has_changed().expect("a bell"), "the engine is woken");
        due.mark_unchanged();
        let released = row(&h, released).await;
        assert_eq!(
            (released.hold, released.due_at),
            (None, Some(h.clock.now().timestamp_millis()))
        );
        let waits = row(&h, waits).await;
        assert_eq!(
            (waits.hold.as_deref(), waits.due_at),
            (Some("MISSING_MERGE_DATA"), None)
        );
    }
);

both!(
    disabling_and_archiving_touch_no_lead,
    |h: Harness| async move {
        let (id, ada) = published(&h, &["a"]).await;
        let lead = lead(&h, &id, &ada, 0, pending("a")).await;
        let before = row(&h, lead).await;
        done(&h, "sequenceDisable", json!({ "id": id })).await;
        done(&h, "sequenceArchive", json!({ "id": id })).await;
        assert_eq!(row(&h, lead).await, before);
    }
);

/// Where a lead stands, for the lead machine.
fn state(row: &entity::lead::Model) -> LeadState {
    LeadState {
        status: status(row).expect("a status"),
        stop_reason: row
            .stop_reason
            .as_deref()
            .map(|text| text.parse().expect("a reason")),
        step_key: row.step_key.clone(),
        due_at: row.due_at.map(cadenza::clock::from_ms),
        hold: row
            .hold
            .as_deref()
            .map(|text| text.parse().expect("a hold")),
        paused_rest: row.paused_rest_ms.map(chrono::Duration::milliseconds),
        until: row.until_at.map(cadenza::clock::from_ms),
        quiet_until: row.quiet_until.map(cadenza::clock::from_ms),
    }
}

both!(
    the_statements_follow_the_lead_machine,
    |h: Harness| async move {
        for (name, policy, happening) in [
            (
                "stop",
                json!({ "stop": true }),
                Happening::Stop(StopReason::StepRemoved),
            ),
            (
                "complete",
                json!({ "next": true }),
                Happening::StepOver(None),
            ),
        ] {
            let (id, ada) = published(&h, &["a", "b"]).await;
            let mut leads = Vec::new();
            for (status, due_ms, rest_ms) in [
                ("PENDING", Some(5), None),
                ("PENDING", None, None),
                ("PAUSED", None, Some(9)),
                ("PAUSED", None, None),
            ] {
                for hold in [None, Some("MISSING_MERGE_DATA"), Some("RETRYING")] {
                    let made = Made {
                        step: "b",
                        status,
                        due_ms,
                        rest_ms,
                        hold,
                        worker: false,
                    };
                    let lead = lead(&h, &id, &ada, 0, made).await;
                    let quiet = "UPDATE lead SET quiet_until = 11 WHERE id = $1";
                    let of = Arguments::new().with(lead.uuid());
                    let told = sql::execute(h.services.db.write(), quiet, of).await;
                    told.expect("its contact is away");
                    leads.push((lead, state(&row(&h, lead).await)));
                }
            }
            let mut publish = edit(&h, &id, flow(&["a"], &[&ada])).await;
            publish["onRemovedStep"] = policy;
            done(&h, "sequencePublish", publish).await;
            for (lead, before) in leads {
                let expected = before
                    .apply(&happening, h.clock.now())
                    .expect("it takes it");
                assert_eq!(state(&row(&h, lead).await), expected, "{name}: {before:?}");
            }
        }
    }
);

both!(
    what_is_published_is_what_was_checked,
    |h: Harness| async move {
        let ada = sender(&h, "ada").await;
        for _ in 0..10 {
            let sound = flow(&["a"], &[&ada]);
            let made = done(&h, "sequenceCreate", json!({ "name": "n", "flow": sound })).await;
            let id = &made["id"];
            let broken = json!({ "id": id, "flow": { "steps": [] } });
            let (payload, _) = tokio::join!(
                call(&h, "sequencePublish", json!({ "id": id })),
                call(&h, "sequenceUpdate", broken),
            );
            if payload["sequence"]["status"] == "PUBLISHED" {
                let document = "query ($id: ID!) { sequence(id: $id) {
                    publishedVersion { flow { steps { key } } } } }";
                let found = h.data(document, json!({ "id": id })).await;
                let steps = &found["sequence"]["publishedVersion"]["flow"]["steps"];
                assert_eq!(steps, &json!([{ "key": "a" }]));
            } else {
                assert_eq!(refusals(&payload).len(), 1, "{payload:#}");
            }
        }
    }
);
