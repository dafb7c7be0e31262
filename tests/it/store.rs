//! What the store promises beyond a single statement's answer: what two transactions at once make of
//! each other, lists of any length, and plans that do not depend on how many rows are written.

use std::collections::HashMap;
use std::time::Duration;

use cadenza::domain::id::{LeadId, SequenceId, VersionId};
use cadenza::store::claim::{self, PersonRow};
use cadenza::store::sql::{self, Arguments};
use cadenza::store::{Db, Reader, enrolment, execution};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, QueryResult, Value};
use serde_json::json;
use uuid::Uuid;

use crate::harness::{Harness, Kind, both};
use crate::sequences::published;

async fn change(connection: &impl ConnectionTrait, statement: &str, arguments: Arguments) {
    let changed = sql::execute(connection, statement, arguments).await;
    assert_eq!(changed.expect(statement), 1, "{statement}");
}

/// Returns when a statement waits for a lock. Where only one transaction writes at a time, nothing can
/// be seen to wait.
async fn somebody_waits(db: &Db) {
    while db.is_shared() {
        let statement = "SELECT count(*) AS n FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waiting = sql::number(db.read(), statement, Arguments::new()).await;
        if waiting.expect("a number") > 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

both!(
    an_enrolment_that_waits_for_publishing_goes_on_by_the_new_version,
    |h: Harness| async move {
        let (id, _) = published(&h, &["a"]).await;
        let sequence: SequenceId = id.parse().expect("an id");
        let db = h.services.db.clone();
        let version: VersionId = h.services.entropy.id(h.clock.now());
        let publishing = db.begin().await.expect("begins");
        change(
            &publishing,
            "INSERT INTO sequence_version (id, workspace_id, sequence_id, number, flow, settings,
                 published_at, published_by)
             SELECT $1, workspace_id, sequence_id, number + 1, flow, settings, published_at,
                 published_by
             FROM sequence_version WHERE sequence_id = $2",
            Arguments::new().with(version.uuid()).with(sequence.uuid()),
        )
        .await;
        change(
            &publishing,
            "UPDATE sequence SET published_version_id = $1 WHERE id = $2",
            Arguments::new().with(version.uuid()).with(sequence.uuid()),
        )
        .await;
        let (waiting, workspace) = (db.clone(), h.admin.workspace);
        let enrolling = tokio::spawn(async move {
            let tx = waiting.begin().await.expect("begins");
            let target = enrolment::target(&tx, workspace, sequence).await;
            tx.rollback().await.expect("ends");
            target.expect("readable").expect("the sequence")
        });
        somebody_waits(&db).await;
        publishing.commit().await.expect("commits");
        let waited = tokio::time::timeout(Duration::from_secs(20), enrolling).await;
        let target = waited.expect("goes on").expect("ends well");
        assert_eq!(target.version.map(|found| found.id), Some(version));
    }
);

both!(
    a_person_who_is_being_changed_is_told_from_one_who_stays,
    |h: Harness| async move {
        let person = json!({ "email": "ada@example.org" });
        h.mutate("personCreate", "PersonInput", person, "person { id }")
            .await;
        let db = &h.services.db;
        let ids = sql::ids(db.read(), "SELECT id FROM person", Arguments::new()).await;
        let id = *ids.expect("ids").first().expect("one");
        let as_read = HashMap::from([(
            id,
            PersonRow {
                email: Some("ada@example.org".into()),
                phone: None,
                linkedin_url: None,
                first_name: None,
                last_name: None,
                company: None,
                title: None,
                time_zone: None,
                country: None,
                attributes: json!({}),
            },
        )]);
        let changed = async || {
            let tx = db.begin().await.expect("begins");
            let changed = claim::changed_people(&tx, &as_read).await;
            tx.rollback().await.expect("ends");
            changed.expect("readable").contains(&id)
        };
        assert!(!changed().await);
        // On SQLite nobody changes anything while somebody else writes.
        if db.is_shared() {
            let statement = "UPDATE person SET first_name = 'Ada' WHERE id = $1";
            let other = db.begin().await.expect("begins");
            change(&other, statement, Arguments::new().with(id)).await;
            assert!(changed().await, "not committed yet");
            other.commit().await.expect("commits");
            assert!(changed().await, "committed after it was read");
        }
    }
);

both!(
    a_list_of_leads_may_be_of_any_length,
    |h: Harness| async move {
        let now = h.clock.now();
        let leads: Vec<LeadId> = (0..40_000).map(|_| h.services.entropy.id(now)).collect();
        let tx = h.services.db.begin().await.expect("begins");
        let given_up = execution::give_up(&tx, h.admin.workspace, &leads, now).await;
        tx.rollback().await.expect("ends");
        assert_eq!(given_up.expect("runs").len(), 0);
    }
);

/// A line of a plan.
#[derive(Debug)]
pub struct PlanLine(pub String);

impl FromQueryResult for PlanLine {
    fn from_query_result(row: &QueryResult, pre: &str) -> Result<Self, DbErr> {
        let line = row.try_get(pre, "detail");
        Ok(Self(line.or_else(|_| row.try_get(pre, "QUERY PLAN"))?))
    }
}

both!(
    what_a_statement_writes_is_found_by_key_however_many_rows_it_has,
    |h: Harness| async move {
        let db = h.services.db.read();
        for count in [1_u128, 100, 300, 512] {
            let mut arguments = Arguments::new();
            let ids = (0..count).map(|n| -> [Value; 2] {
                let bucket = i32::try_from(n).expect("few");
                [Uuid::from_u128(n).into(), bucket.into()]
            });
            let rows = arguments.table(db, ids);
            let found = sql::of_found("v.id", "lead.status = 'ACTIVE'");
            let explain = if h.services.db.is_shared() {
                "EXPLAIN"
            } else {
                "EXPLAIN QUERY PLAN"
            };
            let statement = format!(
                "{explain} WITH v (id, bucket) AS ({rows})
                 UPDATE lead SET bucket = v.bucket FROM v WHERE lead.id = v.id AND {found}"
            );
            let plan: Vec<PlanLine> = sql::all(db, &statement, arguments).await.expect("a plan");
            if h.services.db.is_shared() {
                // Its choice between the keys and an empty table's only page is its own.
                let scans =
                    |PlanLine(line): &PlanLine| line.contains("Filter: (status = 'ACTIVE'::text)");
                assert!(!plan.iter().any(scans), "{count} rows: {plan:#?}");
            } else {
                let by_key =
                    |PlanLine(line): &PlanLine| line.starts_with("SEARCH lead USING PRIMARY KEY");
                assert!(plan.iter().any(by_key), "{count} rows: {plan:#?}");
            }
        }
    }
);

both!(
    a_statement_that_takes_too_long_is_ended_in_the_database,
    |h: Harness| async move {
        let within = Duration::from_millis(300);
        let db = Db::connect_within(&h.url, within).await.expect("it opens");
        let backend = db.read().get_database_backend();
        let endless = match backend {
            sea_orm::DbBackend::Postgres => {
                "SELECT CAST(count(*) AS BIGINT) AS n FROM pg_sleep(600)"
            }
            _ => {
                "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) AS n FROM c"
            }
        };
        let bounded = db.bounded();
        for _ in 0..3 {
            // The first takes a connection that was just opened, the others one that was used.
            let told = sql::number(bounded.read(), endless, Arguments::new()).await;
            let error = told.expect_err("it is ended");
            assert!(error.took_too_long(), "{error:?}");
            let again = sql::number(
                bounded.read(),
                "SELECT CAST(1 AS BIGINT) AS n",
                Arguments::new(),
            )
            .await;
            assert_eq!(again.expect("the connection is as good as before"), 1);
        }
        if backend == sea_orm::DbBackend::Postgres {
            let running = "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
            let running = sql::number(db.write(), running, Arguments::new())
                .await
                .expect("a number");
            assert_eq!(running, 0);
        }
        drop(bounded);
        db.close().await.expect("closes");
    }
);

both!(
    a_query_of_a_client_reads_one_moment_where_the_database_is_a_file,
    |h: Harness| async move {
        let db = h.services.db.bounded();
        let count = async |db: &Db| {
            let statement = "SELECT CAST(count(*) AS BIGINT) AS n FROM quota";
            sql::number(db.read(), statement, Arguments::new()).await
        };
        let add = async |subject: u128| {
            let statement = "INSERT INTO quota (subject_id, kind, day, workspace_id, used)
                VALUES ($1, 'SENDS', '2026-01-01', $2, 1)";
            let workspace = h.admin.workspace.uuid();
            let subject = Uuid::from_u128(subject);
            let arguments = Arguments::new().with(subject).with(workspace);
            let added = sql::execute(h.services.db.write(), statement, arguments).await;
            assert_eq!(added.expect("added"), 1);
        };
        // More queries than there are connections: each gives its own back.
        for number in 1_i64..=20 {
            let query = db.for_query();
            let same = query.clone();
            let before = count(&query).await.expect("a number");
            add(number.unsigned_abs().into()).await;
            let is_later = db.is_shared();
            let expected = before + i64::from(is_later);
            assert_eq!(count(&same).await.expect("a number"), expected);
            assert_eq!(count(&db.for_query()).await.expect("a number"), number);
        }
    }
);

both!(
    a_query_of_a_client_is_planned_for_what_it_asks,
    |h: Harness| async move {
        let db = h.services.db.bounded();
        // SQLite plans a statement once, and is told facts instead.
        if db.is_shared() {
            let statement = "SELECT count(*) AS n FROM pg_settings
                WHERE (name, setting) IN (('plan_cache_mode', 'force_custom_plan'),
                    ('application_name', 'cadenza'))";
            let planned = sql::number(db.read(), statement, Arguments::new()).await;
            assert_eq!(planned.expect("a number"), 2);
        }
    }
);

both!(
    a_transaction_that_the_database_undid_leaves_no_trace,
    |h: Harness| async move {
        let db = h.services.db.bounded();
        let add = async |tx: &sea_orm::DatabaseTransaction, subject: u128| {
            let statement = "INSERT INTO quota (subject_id, kind, day, workspace_id, used)
                VALUES ($1, 'SENDS', '2026-01-01', $2, 1)";
            let subject = Uuid::from_u128(subject);
            let arguments = Arguments::new()
                .with(subject)
                .with(h.admin.workspace.uuid());
            sql::execute(tx, statement, arguments).await.expect("added");
        };
        let seen = async |connection: &Reader| {
            let statement = "SELECT CAST(count(*) AS BIGINT) AS n FROM quota";
            let number = sql::number(connection, statement, Arguments::new()).await;
            number.expect("a number")
        };
        // As SQLite does where the disk fails: the driver hears nothing of it.
        for _ in 0..5 {
            let undone = db.begin().await.expect("begun");
            undone.execute_unprepared("ROLLBACK").await.expect("undone");
            let is_error = undone.commit().await.is_err();
            assert_eq!(is_error, !db.is_shared());
            let query = db.for_query();
            seen(query.read()).await;
            if !db.is_shared() {
                let undone = query.read().execute_unprepared("ROLLBACK").await;
                undone.expect("undone");
            }
        }
        for number in 1..=20_u32 {
            drop(db.begin().await.expect("begun"));
            let tx = db.begin().await.expect("begun");
            add(&tx, number.into()).await;
            tx.commit().await.expect("committed");
            let other = Db::connect(&h.url).await.expect("it opens");
            assert_eq!(
                seen(other.read()).await,
                i64::from(number),
                "it is committed"
            );
            assert_eq!(seen(db.for_query().read()).await, i64::from(number));
            other.close().await.expect("closes");
        }
    }
);

#[tokio::test]
async fn a_file_is_made_once_however_many_begin_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}/new.db", folder.path().display());
    let begin = || async {
        let db = Db::connect(&url).await.expect("opens");
        db.migrate().await.expect("migrated");
        db.close().await.expect("closes");
    };
    tokio::join!(begin(), begin(), begin(), begin());
    // What was cut off in the middle has left nothing.
    let other = format!("sqlite://{}/cut.db", folder.path().display());
    for polls in 0..400 {
        let db = Db::connect(&other).await.expect("opens");
        let cut = db.clone();
        let mut migrating = Box::pin(async move { cut.migrate().await });
        let mut is_done = false;
        for _ in 0..polls {
            is_done = futures_util::poll!(&mut migrating).is_ready();
            if is_done {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(migrating);
        db.close().await.expect("closes");
        if is_done {
            break;
        }
    }
    let db = Db::connect(&other).await.expect("opens");
    db.migrate().await.expect("it goes on");
    db.close().await.expect("closes");
}

both!(
    a_transaction_given_up_while_it_begins_leaves_nothing_open,
    |h: Harness| async move {
        let db = Db::connect(&h.url).await.expect("it opens");
        // Each is dropped at another point of its beginning.
        for polls in (0..8).cycle().take(80) {
            let mut begin = std::pin::pin!(db.begin());
            for _ in 0..polls {
                if futures_util::poll!(begin.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        for number in 0..60_u32 {
            let statement = "INSERT INTO quota (subject_id, kind, day, workspace_id, used)
                VALUES ($1, 'SENDS', '2026-01-01', $2, 1)";
            let arguments = Arguments::new()
                .with(Uuid::from_u128(number.into()))
                .with(h.admin.workspace.uuid());
            sql::execute(db.write(), statement, arguments)
                .await
                .expect("written");
        }
        let statement = "SELECT CAST(count(*) AS BIGINT) AS n FROM quota";
        let seen = sql::number(h.services.db.read(), statement, Arguments::new()).await;
        assert_eq!(seen.expect("a number"), 60, "what was written is committed");
        db.close().await.expect("it closes");
    }
);

/// PostgreSQL counts for itself how many rows an index answers; SQLite is told once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_an_id_is_found_by_it_and_not_in_all_of_its_workspace_on_sqlite() {
    crate::harness::run(Kind::Sqlite, |h: Harness| async move {
        let db = h.services.db.read();
        for (table, column) in [
            ("lead", "id"),
            ("lead", "person_id"),
            ("lead", "sequence_id"),
            ("execution", "lead_id"),
            ("task", "lead_id"),
            ("event", "lead_id"),
            ("opportunity", "person_id"),
        ] {
            let many = vec!["x''"; 512].join(", ");
            let plan = format!(
                "EXPLAIN QUERY PLAN SELECT * FROM {table}
                 WHERE workspace_id = x'' AND {column} IN ({many})"
            );
            let rows = sql::rows(db, &plan, Arguments::new()).await;
            let rows = rows.expect("a plan");
            let detail: String = rows[0].try_get("", "detail").expect("a line");
            assert!(
                detail.contains(&format!("({column}=?")),
                "{table}: {detail}"
            );
        }
    })
    .await;
}
