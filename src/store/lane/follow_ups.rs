//! How many follow-ups are due in a lane.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use crate::domain::id::{SenderId, SequenceId};
use crate::store::Result;
use crate::store::claim::Turn;
use crate::store::sql::{self, Arguments};

/// The due follow-ups of a lane.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct FollowUps {
    /// The lane's sender.
    pub sender_id: Uuid,
    /// Its sequence.
    pub sequence_id: Uuid,
    /// How many are due, counted up to [`COUNTED_MAX`].
    pub due: i64,
}

/// The most follow-ups of a lane that are counted.
pub const COUNTED_MAX: u32 = 1_000;

/// How many follow-ups are due in some lanes, each a sender and a sequence, that nobody works on: a short
/// read of an index for each.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn follow_ups(
    connection: &impl ConnectionTrait,
    lanes: &[(SenderId, SequenceId)],
    now: DateTime<Utc>,
) -> Result<Vec<FollowUps>> {
    let mut found = Vec::with_capacity(lanes.len());
    for chunk in sql::chunks(lanes) {
        let mut arguments = Arguments::new();
        let rows = chunk
            .iter()
            .map(|(sender, sequence)| [sender.uuid().into(), sequence.uuid().into()]);
        let rows = arguments.table(connection, rows);
        let now = arguments.add(now.timestamp_millis());
        let statement = format!(
            "WITH v (sender_id, sequence_id) AS ({rows})
             SELECT v.sender_id, v.sequence_id,
                    (SELECT count(*) FROM (
                         SELECT 1 FROM lead l
                         WHERE l.sender_id = v.sender_id AND l.sequence_id = v.sequence_id
                           AND l.turn = {turn} AND l.due_at IS NOT NULL AND l.due_at <= {now}
                           AND l.worker_id IS NULL
                         LIMIT {COUNTED_MAX}) AS counted) AS due
             FROM v",
            turn = Turn::FollowUp.as_i16(),
        );
        found.extend(sql::all::<FollowUps>(connection, &statement, arguments).await?);
    }
    Ok(found)
}
