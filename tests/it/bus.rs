//! The bus: every subscriber sees the whole log once and in order, whatever it does.

use std::collections::HashSet;
use std::time::Duration;

use cadenza::app::Services;
use cadenza::bus::Bus;
use cadenza::domain::event::{EventKind, NewEvent};
use cadenza::domain::id::{LeadId, SequenceId, WorkspaceId};
use cadenza::store::{Db, event};
use cadenza::wake::Wake;
use futures_util::{Stream, StreamExt};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::{Harness, both, start, until};

const WRITERS: u64 = 4;
const BATCHES: u64 = 60;

/// How many events the writers append in all: batches of 1 to 7.
fn total() -> u64 {
    WRITERS * (0..BATCHES).map(|batch| 1 + batch % 7).sum::<u64>()
}

/// Appends batches, some of which are undone; the workspace's log must not show those.
async fn write(db: Db, wake: Wake, workspace: WorkspaceId, writer: u64) {
    for batch in 0..BATCHES {
        if batch % 9 == 4 {
            let tx = db.begin().await.expect("a transaction");
            append(&tx, workspace, writer, 900 + batch, 3).await;
            tx.rollback().await.expect("undone");
        }
        let tx = db.begin().await.expect("a transaction");
        append(&tx, workspace, writer, batch, 1 + batch % 7).await;
        tx.commit().await.expect("committed");
        wake.log();
    }
}

async fn append(
    tx: &impl sea_orm::ConnectionTrait,
    workspace: WorkspaceId,
    writer: u64,
    batch: u64,
    count: u64,
) {
    let sequence = SequenceId::from_uuid(Uuid::from_u64_pair(1, writer));
    let lead = LeadId::from_uuid(Uuid::from_u64_pair(2, writer));
    let events = (0..count)
        .map(|index| {
            NewEvent::of_lead(start(), EventKind::LeadAdvanced, sequence, lead)
                .with_detail(json!({ "writer": writer, "batch": batch, "index": index }))
        })
        .collect();
    event::append(tx, workspace, events)
        .await
        .expect("appended");
}

fn start_writers(services: &Services, workspace: WorkspaceId) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(
            services.db.clone(),
            services.wake.clone(),
            workspace,
            writer,
        ));
    }
    writers
}

/// Reads until it has seen every number from `after` to the last, in order and once; says after
/// each row whether to pause, to fall behind.
async fn read_all(stream: impl Stream<Item = cadenza::bus::Entry>, after: i64, pause_at: &[i64]) {
    let mut stream = Box::pin(stream);
    let last = i64::try_from(total()).expect("small");
    for expected in after + 1..=last {
        let next = tokio::time::timeout(Duration::from_secs(60), stream.next()).await;
        let row = next.unwrap_or_else(|_| panic!("nothing after {expected}"));
        let row = row.expect("the stream goes on");
        assert_eq!(row.seq, expected, "each once, in order");
        if pause_at.contains(&expected) {
            // Lets the others run far ahead; a lagging reader is what is tested.
            let mut tick = tokio::time::interval(Duration::from_millis(150));
            tick.tick().await;
            tick.tick().await;
        }
    }
}

both!(
    everybody_sees_the_whole_log_once_and_in_order,
    |h: Harness| async move {
        let workspace = h.admin.workspace;
        let other = h.stranger.workspace;
        // A second node: another bus over its own connections, whose bells nobody rings.
        let far_db = Db::connect(&h.url).await.expect("the database opens twice");
        let far = Bus::new(far_db.clone(), Wake::default());
        let (far_bus, until_end) = (far.clone(), h.shutdown.clone());
        let far_running = tokio::spawn(async move { far_bus.run(until_end).await });

        let mut readers = JoinSet::new();
        readers.spawn(read_all(
            h.services.bus.subscribe(workspace, Some(0)),
            0,
            &[],
        ));
        readers.spawn(read_all(
            h.services.bus.subscribe(workspace, Some(0)),
            0,
            &[3, 50, 400],
        ));
        readers.spawn(read_all(far.subscribe(workspace, Some(0)), 0, &[10]));
        let foreign = h.services.bus.subscribe(other, Some(0));
        let mut foreign = Box::pin(foreign);
        let mut writers = start_writers(&h.services, workspace);
        // Readers that come and go: each goes on where the one before it ended.
        let bus = h.services.bus.clone();
        readers.spawn(async move {
            let (mut position, last) = (0, i64::try_from(total()).expect("small"));
            let mut turn = 0;
            while position < last {
                turn += 1;
                let size = 1 + turn * 37 % 90;
                let part: Vec<_> = bus
                    .subscribe(workspace, Some(position))
                    .take(size)
                    .collect::<Vec<_>>()
                    .await;
                for row in part {
                    position += 1;
                    assert_eq!(row.seq, position, "resumed without a gap or a repeat");
                }
                if position + 90 > last {
                    read_all(bus.subscribe(workspace, Some(position)), position, &[]).await;
                    return;
                }
            }
        });
        while let Some(done) = writers.join_next().await {
            done.expect("a writer ends well");
        }
        // Late to the party.
        readers.spawn(read_all(far.subscribe(workspace, Some(7)), 7, &[]));
        while let Some(done) = readers.join_next().await {
            done.expect("a reader ends well");
        }
        let rows = event::after(h.services.db.read(), workspace, 0, 100_000)
            .await
            .expect("the log");
        assert_eq!(u64::try_from(rows.len()).expect("small"), total());
        let distinct: HashSet<String> = rows
            .iter()
            .map(|row| row.detail.clone().unwrap_or_default().to_string())
            .collect();
        assert_eq!(
            distinct.len(),
            rows.len(),
            "what was undone is not in the log"
        );
        assert!(
            futures_util::FutureExt::now_or_never(foreign.next()).is_none(),
            "another workspace heard something"
        );
        h.shutdown.cancel();
        far_running.await.expect("ends");
        assert!(foreign.next().await.is_none(), "streams end with the bus");
        drop((far, foreign));
        far_db.close().await.expect("closes");
    }
);

both!(
    without_a_cursor_only_what_comes_is_heard,
    |h: Harness| async move {
        let workspace = h.admin.workspace;
        let db = &h.services.db;
        append_one(db, workspace, 1).await;
        let mut stream = Box::pin(h.services.bus.subscribe(workspace, None));
        // The first poll decides from where on; it finds nothing.
        assert!(futures_util::FutureExt::now_or_never(stream.next()).is_none());
        let row = until("the new event is heard", async || {
            append_one(db, workspace, 2).await;
            h.services.wake.log();
            let heard = tokio::time::timeout(Duration::from_secs(2), stream.next()).await;
            heard.ok().flatten()
        })
        .await;
        assert!(row.seq > 1, "the old event was heard");
    }
);

async fn append_one(db: &Db, workspace: WorkspaceId, batch: u64) {
    let tx = db.begin().await.expect("a transaction");
    append(&tx, workspace, 0, batch, 1).await;
    tx.commit().await.expect("committed");
}
