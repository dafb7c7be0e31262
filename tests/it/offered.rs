//! Messages of a sender that is not free, which others of their step may send: they are found by a short
//! read, however many wait beside them.

use cadenza::domain::flow::Channel;
use cadenza::domain::id::{LeadId, SenderId, SequenceId};
use cadenza::store::claim::{self, Source, Turn};
use cadenza::store::sql::{self, Arguments};
use chrono::Duration;
use sea_orm::ConnectionTrait;

use crate::harness::{Harness, both};
use crate::many_waiting::{Waiting, wait};
use crate::sequences::published;
use crate::store::PlanLine;

/// How many wait beside those that are offered.
const BESIDE: i64 = 20_000;

/// How the database reads what a sender is offered of another one's lane, line by line.
async fn plan(h: &Harness, source: Source<'_>, sequence: SequenceId, turn: Turn) -> Vec<String> {
    let db = h.services.db.write();
    let (statement, arguments) =
        claim::due_statement(db, source, sequence, turn, h.clock.now(), 64);
    let explain = if h.services.db.is_shared() {
        // What is read is counted, and not only guessed.
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF)"
    } else {
        "EXPLAIN QUERY PLAN"
    };
    let lines: Vec<PlanLine> = sql::all(db, &format!("{explain} {statement}"), arguments)
        .await
        .expect("a plan");
    lines.into_iter().map(|PlanLine(line)| line).collect()
}

async fn execute(h: &Harness, statement: &str) {
    let db = h.services.db.write();
    db.execute_unprepared(statement).await.expect(statement);
}

async fn found(h: &Harness, source: Source<'_>, sequence: SequenceId, turn: Turn) -> Vec<LeadId> {
    let db = h.services.db.write();
    let due = claim::due(db, source, sequence, turn, h.clock.now(), 64).await;
    let due = due.expect("reads").into_iter();
    due.map(|due| due.lead.lead_id()).collect()
}

both!(
    what_is_offered_is_read_past_all_that_is_not,
    |h: Harness| async move {
        let (id, ada) = published(&h, &["a", "b", "c"]).await;
        let sequence: SequenceId = id.parse().expect("an id");
        let sender: SenderId = ada.parse().expect("an id");
        for follow_up in [false, true] {
            // Those at another step have waited longest.
            for (step, count, hours) in [("a", BESIDE, 50), ("b", 70, 20), ("c", 5, 21)] {
                let waiting = Waiting {
                    step,
                    name: &format!("{step}{follow_up}"),
                    count,
                    due: h.clock.now() - Duration::hours(hours),
                    follow_up,
                };
                wait(&h, &id, &ada, &waiting).await;
            }
            // Those that the sender has written to have waited longest of all.
            let waiting = Waiting {
                step: "b",
                name: &format!("known{follow_up}"),
                count: BESIDE,
                due: h.clock.now() - Duration::hours(99),
                follow_up,
            };
            wait(&h, &id, &ada, &waiting).await;
        }
        execute(
            &h,
            "UPDATE lead SET unbound = person_id NOT IN
                 (SELECT id FROM person WHERE first_name LIKE 'known%')",
        )
        .await;
        execute(&h, "ANALYZE").await;
        for (turn, number) in [(Turn::FollowUp, 0), (Turn::First, 1)] {
            let source = Source::Colleague(sender, Channel::Email, &["b", "c"]);
            let plan = plan(&h, source, sequence, turn).await;
            let reads: Vec<&String> = plan
                .iter()
                .filter(|line| line.contains("lead_unbound"))
                .collect();
            assert_eq!(reads.len(), 2, "one read for each step: {plan:#?}");
            if h.services.db.is_shared() {
                let is_walked = |line: &String| {
                    line.contains("Removed by Filter") || line.contains("Seq Scan on lead")
                };
                assert!(!plan.iter().any(is_walked), "{plan:#?}");
                let by_step = |line: &&String| {
                    line.contains("Index Cond: ((sender_id") && line.contains("step_key")
                };
                assert_eq!(plan.iter().filter(by_step).count(), 2, "{plan:#?}");
            } else {
                for read in reads {
                    let by_all = "(sender_id=? AND sequence_id=? AND turn=? AND step_key=? AND due_at>? AND due_at<?)";
                    assert!(read.contains(by_all), "{plan:#?}");
                }
                let sorts = plan
                    .iter()
                    .filter(|line| line.contains("TEMP B-TREE FOR ORDER BY"));
                assert!(sorts.count() <= 2, "only of what was read: {plan:#?}");
                assert!(
                    !plan
                        .iter()
                        .any(|line| line.starts_with("SCAN d") || line.starts_with("SCAN lead")),
                    "{plan:#?}"
                );
            }
            let offered = found(&h, source, sequence, turn).await;
            let expected = sql::ids(
                h.services.db.read(),
                "SELECT id FROM lead WHERE step_key IN ('b', 'c') AND unbound AND turn = $1
                 ORDER BY due_at, id LIMIT 64",
                Arguments::new().with(number),
            );
            let expected: Vec<LeadId> = (expected.await.expect("ids").into_iter())
                .map(LeadId::from_uuid)
                .collect();
            assert_eq!(offered, expected, "the longest due of all steps");
            // The sender's own way.
            let source = Source::Sender(sender, Channel::Email);
            let plan = self::plan(&h, source, sequence, turn).await;
            let by_due = |line: &String| line.contains("lead_due");
            assert!(plan.iter().any(by_due), "{plan:#?}");
            let sorts = plan
                .iter()
                .filter(|line| line.contains("TEMP B-TREE FOR ORDER BY"));
            assert!(sorts.count() <= 1, "{plan:#?}");
        }
        let none = Source::Colleague(sender, Channel::Email, &[]);
        assert_eq!(found(&h, none, sequence, Turn::First).await, []);
    }
);
