//! The event log: one order in each workspace, without gaps.
//!
//! A transaction that appends takes the numbers from the workspace's counter row, as its last
//! statement but the insert. The row stays locked until the commit, so numbers follow the order of
//! commits: a reader that has seen number n has seen everything below it. (Numbers from a database
//! sequence commit out of order, and a reader that trusts the highest one loses events.)

use chrono::{DateTime, Utc};
use entity::{event, event_counter};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect,
    Value,
};

use uuid::Uuid;

use super::sql::{self, Arguments};
use super::{Result, StoreError, dialect};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::Channel;
use crate::domain::id::WorkspaceId;

/// Appends events in their order; the transaction should commit right after.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn append(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    events: Vec<NewEvent>,
) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    // On PostgreSQL a statement is a way to the server and back.
    let written = if dialect::is_shared(tx) {
        append_and_notify(tx, workspace, &events).await?
    } else {
        number_and_append(tx, workspace, &events).await?
    };
    // The events of a workspace that is not there would belong to nobody.
    if usize::try_from(written) != Ok(events.len()) {
        return Err(StoreError::corrupt(
            "event counter",
            "the workspace has none",
        ));
    }
    Ok(())
}

const COLUMNS: &str = "seq, workspace_id, at, kind, sequence_id, lead_id, execution_id, step_key,
     channel, sender_id, detail";

/// In one statement: numbers, events, and the bell for the other nodes. Answers how many events were
/// written.
async fn append_and_notify(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    events: &[NewEvent],
) -> Result<u64> {
    let mut arguments = Arguments::new().with(count(events)).with(workspace.uuid());
    let rows = arguments.table(
        tx,
        (1..)
            .zip(events)
            .map(|(number, event)| row(workspace, number, event)),
    );
    let statement = format!(
        "WITH counter AS (
             UPDATE event_counter SET last_seq = last_seq + $1 WHERE workspace_id = $2
             RETURNING last_seq - $1 AS before, {notify}
         ), v ({COLUMNS}) AS ({rows})
         INSERT INTO event ({COLUMNS})
         SELECT counter.before + v.seq, v.workspace_id, v.at, v.kind, v.sequence_id, v.lead_id,
             v.execution_id, v.step_key, v.channel, v.sender_id, v.detail
         FROM counter, v",
        notify = dialect::notified()
    );
    sql::execute(tx, &statement, arguments).await
}

/// For SQLite, where nobody listens: the same. No statement of its own changes two tables.
async fn number_and_append(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    events: &[NewEvent],
) -> Result<u64> {
    let last = sql::number(
        tx,
        "UPDATE event_counter SET last_seq = last_seq + $1 WHERE workspace_id = $2
         RETURNING last_seq AS n",
        Arguments::new().with(count(events)).with(workspace.uuid()),
    )
    .await?;
    if last < count(events) {
        return Ok(0);
    }
    let mut numbered = (last - count(events) + 1..).zip(events);
    let mut written = 0;
    for batch in sql::chunks(events) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            numbered
                .by_ref()
                .take(batch.len())
                .map(|(seq, event)| row(workspace, seq, event)),
        );
        let statement = format!("INSERT INTO event ({COLUMNS}) {rows}");
        written += sql::execute(tx, &statement, arguments).await?;
    }
    Ok(written)
}

fn count(events: &[NewEvent]) -> i64 {
    i64::try_from(events.len()).unwrap_or(i64::MAX)
}

fn row(workspace: WorkspaceId, seq: i64, event: &NewEvent) -> [Value; 11] {
    [
        seq.into(),
        workspace.uuid().into(),
        event.at.timestamp_millis().into(),
        <&str>::from(event.kind).into(),
        event.sequence_id.map(|id| id.uuid()).into(),
        event.lead_id.map(|id| id.uuid()).into(),
        event.execution_id.map(|id| id.uuid()).into(),
        event.step_key.clone().into(),
        event.channel.map(<&str>::from).into(),
        event.sender_id.map(|id| id.uuid()).into(),
        Value::Json(event.detail.clone().map(Box::new)),
    ]
}

/// The number of the workspace's last event; 0 if there is none.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn last_seq(connection: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<i64> {
    sql::number(
        connection,
        "SELECT last_seq AS n FROM event_counter WHERE workspace_id = $1",
        Arguments::new().with(workspace.uuid()),
    )
    .await
}

/// The number of the last event of each of the workspaces.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn last_seqs(
    connection: &impl ConnectionTrait,
    workspaces: &[WorkspaceId],
) -> Result<Vec<(WorkspaceId, i64)>> {
    let rows = event_counter::Entity::find()
        .filter(event_counter::Column::WorkspaceId.is_in(workspaces.iter().map(|id| id.uuid())))
        .all(connection)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (WorkspaceId::from_uuid(row.workspace_id), row.last_seq))
        .collect())
}

/// The events after number `after`, oldest first, at most `limit`.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn after(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    after: i64,
    limit: u64,
) -> Result<Vec<event::Model>> {
    let last = after.saturating_add(i64::try_from(limit).unwrap_or(i64::MAX));
    // Numbers have no gaps, so that these are the next ones. Said so, PostgreSQL reads no others; by
    // LIMIT alone it sorts all that follow, for each page, while its statistics lag behind.
    let rows = sql::rows(
        connection,
        "SELECT seq, at, kind, sequence_id, lead_id, execution_id, step_key, channel, sender_id, detail
         FROM event WHERE workspace_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq",
        Arguments::new().with(workspace.uuid()).with(after).with(last),
    )
    .await?;
    rows.iter().map(|row| read(workspace, row)).collect()
}

/// An event as the statement of [`after`] answers it. Every live event comes this way.
fn read(workspace: WorkspaceId, row: &QueryResult) -> Result<event::Model> {
    Ok(event::Model {
        workspace_id: workspace.uuid(),
        seq: dialect::column(row, 0)?,
        at: dialect::column(row, 1)?,
        kind: dialect::column(row, 2)?,
        sequence_id: dialect::column(row, 3)?,
        lead_id: dialect::column(row, 4)?,
        execution_id: dialect::column(row, 5)?,
        step_key: dialect::column(row, 6)?,
        channel: dialect::column(row, 7)?,
        sender_id: dialect::column(row, 8)?,
        detail: dialect::column(row, 9)?,
    })
}

/// Events that were committed in another order than they happened in lie no further apart, in
/// milliseconds.
const OUT_OF_ORDER_MS: i64 = 60_000;

/// The number before the first event that happened at `at` or later; that of the last event where there
/// is none. It looks at few rows, however long the log is.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn before(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    at: DateTime<Utc>,
) -> Result<i64> {
    let last = last_seq(connection, workspace).await?;
    let at = at.timestamp_millis();
    // All up to `early` happened well before, and what follows `late` did not.
    let (mut early, mut late) = (0, last);
    while early < late {
        let middle = early + (late - early) / 2;
        let rows = sql::rows(
            connection,
            "SELECT seq, at FROM event WHERE workspace_id = $1 AND seq > $2 ORDER BY seq LIMIT 1",
            Arguments::new().with(workspace.uuid()).with(middle),
        )
        .await?;
        let found: Option<(i64, i64)> = match rows.first() {
            Some(row) => Some((dialect::column(row, 0)?, dialect::column(row, 1)?)),
            None => None,
        };
        match found {
            Some((seq, happened)) if happened < at - OUT_OF_ORDER_MS => early = seq.min(late),
            Some(_) | None => late = middle,
        }
    }
    let first = sql::rows(
        connection,
        "SELECT seq FROM event WHERE workspace_id = $1 AND seq > $2 AND at >= $3
         ORDER BY seq LIMIT 1",
        Arguments::new().with(workspace.uuid()).with(early).with(at),
    )
    .await?;
    let first: Option<i64> = match first.first() {
        Some(row) => Some(dialect::column(row, 0)?),
        None => None,
    };
    Ok(first.map_or(last, |first| first - 1))
}

/// Which events; each list that is given must hold the event's value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Sequences.
    pub sequences: Option<Vec<Uuid>>,
    /// Leads.
    pub leads: Option<Vec<Uuid>>,
    /// Kinds.
    pub kinds: Option<Vec<EventKind>>,
    /// Channels.
    pub channels: Option<Vec<Channel>>,
    /// Senders.
    pub senders: Option<Vec<Uuid>>,
}

impl Filter {
    /// Whether an event is one of those.
    pub fn matches(&self, event: &event::Model) -> bool {
        fn has<T: PartialEq>(list: Option<&Vec<T>>, value: Option<&T>) -> bool {
            list.is_none_or(|list| value.is_some_and(|value| list.contains(value)))
        }
        fn named<T: Copy + Into<&'static str>>(list: Option<&Vec<T>>, name: Option<&str>) -> bool {
            list.is_none_or(|list| list.iter().any(|&one| Some(one.into()) == name))
        }
        has(self.sequences.as_ref(), event.sequence_id.as_ref())
            && has(self.leads.as_ref(), event.lead_id.as_ref())
            && named(self.kinds.as_ref(), Some(&event.kind))
            && named(self.channels.as_ref(), event.channel.as_deref())
            && has(self.senders.as_ref(), event.sender_id.as_ref())
    }
}

/// The events after number `after` that a filter lets through, oldest first, at most `limit`.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &Filter,
    after: i64,
    limit: u64,
) -> Result<Vec<event::Model>> {
    let mut select = event::Entity::find()
        .filter(event::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(event::Column::Seq.gt(after));
    let by_id = [
        (event::Column::SequenceId, &filter.sequences),
        (event::Column::LeadId, &filter.leads),
        (event::Column::SenderId, &filter.senders),
    ];
    for (column, ids) in by_id {
        if let Some(ids) = ids {
            select = select.filter(column.is_in(ids.iter().copied()));
        }
    }
    if let Some(kinds) = &filter.kinds {
        let kinds = kinds.iter().map(|&kind| <&str>::from(kind));
        select = select.filter(event::Column::Kind.is_in(kinds));
    }
    if let Some(channels) = &filter.channels {
        let channels = channels.iter().map(|&channel| <&str>::from(channel));
        select = select.filter(event::Column::Channel.is_in(channels));
    }
    Ok(select
        .order_by_asc(event::Column::Seq)
        .limit(limit)
        .all(connection)
        .await?)
}
