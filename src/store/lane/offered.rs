//! What of a lane may be offered to the other senders of its steps.

use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use super::super::sql::{self, Arguments};
use super::Result;
use crate::domain::id::{SenderId, SequenceId};
use crate::store::claim::Turn;

/// The earliest work of a lane at one step that any sender of the step may take.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Offered {
    /// The step.
    pub step_key: String,
    /// When the earliest follow-up is due there.
    pub follow_up_due: Option<i64>,
    /// When the earliest first message is due there.
    pub first_due: Option<i64>,
}

/// The earliest leads at each of these steps, of which there is at least one, to whom the lane's sender
/// has not written: two probes of an index each.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn offered(
    connection: &impl ConnectionTrait,
    (sender, sequence): (SenderId, SequenceId),
    steps: &[&str],
) -> Result<Vec<Offered>> {
    let mut arguments = Arguments::new();
    let rows = arguments.table(connection, steps.iter().map(|key| [Value::from(*key)]));
    let (sender, sequence) = (arguments.add(sender.uuid()), arguments.add(sequence.uuid()));
    let earliest = |turn: Turn| {
        format!(
            "(SELECT min(l.due_at) FROM lead l
              WHERE l.sender_id = {sender} AND l.sequence_id = {sequence} AND l.turn = {}
                AND l.step_key = v.step_key AND l.due_at IS NOT NULL AND l.unbound
                AND l.worker_id IS NULL)",
            turn.as_i16()
        )
    };
    let statement = format!(
        "WITH v (step_key) AS ({rows})
         SELECT v.step_key, {} AS follow_up_due, {} AS first_due FROM v",
        earliest(Turn::FollowUp),
        earliest(Turn::First),
    );
    sql::all(connection, &statement, arguments).await
}
