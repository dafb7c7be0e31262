//! How many leads wait for what, and until which day: counted where they are kept, so that what is
//! read does not grow with their number.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::hold::AWAITING;
use crate::domain::id::{SequenceId, WorkspaceId};
use crate::store::Result;
use crate::store::sql::{self, Arguments};

/// The milliseconds of a day on which the clocks do not change.
const DAY_MS: i64 = 86_400_000;

/// Leads that wait for the same on the same day.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct WaitingRow {
    /// The step.
    pub step_key: String,
    /// Who is to send it.
    pub sender_id: Option<Uuid>,
    /// 1 until the first message was sent, then 0.
    pub turn: i16,
    /// 1 for those that the sender has not written to.
    pub unbound: i32,
    /// 1 for those that are in the step, and wait there until they are due.
    pub in_step: i32,
    /// The day on which they are due, from 0.
    pub day: i64,
    /// How many they are.
    pub count: i64,
}

/// The leads of a sequence that have a due time, by what they wait for. `ends` are the ends of the days
/// in their order: what is due before the first of them counts to day 0, what is due at the last of
/// them or later to the day after them all.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn waiting(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    ends: &[DateTime<Utc>],
) -> Result<Vec<WaitingRow>> {
    let day = day_of("l.due_at", ends);
    let statement = format!(
        "SELECT step_key, sender_id, turn, unbound, in_step, day, count(*) AS count FROM (
             SELECT l.step_key, l.sender_id, l.turn, CAST({day} AS BIGINT) AS day,
                    CASE WHEN l.unbound THEN 1 ELSE 0 END AS unbound,
                    CASE WHEN l.hold IN {AWAITING}
                         THEN 1 ELSE 0 END AS in_step
             FROM lead l
             WHERE l.workspace_id = $1 AND l.sequence_id = $2 AND l.status = 'ACTIVE'
               AND l.due_at IS NOT NULL AND l.step_key IS NOT NULL) AS waiting
         GROUP BY step_key, sender_id, turn, unbound, in_step, day"
    );
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(sequence.uuid());
    sql::all(connection, &statement, arguments).await
}

/// The number of the day that holds an instant. Days of equal length are reckoned at once: few are
/// longer or shorter, and a comparison for each of ninety would be made for every lead.
fn day_of(instant: &str, ends: &[DateTime<Utc>]) -> String {
    let ends: Vec<i64> = ends.iter().map(DateTime::timestamp_millis).collect();
    // From when on, the number of the day that begins then, and whether more days follow it evenly.
    let mut stretches: Vec<(i64, usize, bool)> = Vec::new();
    for (index, begin) in ends.iter().enumerate() {
        let end = ends.get(index + 1);
        let is_even = end.is_some_and(|end| end - begin == DAY_MS);
        let goes_on = stretches.last().is_some_and(|(_, _, is_even)| *is_even);
        if !(is_even && goes_on) {
            stretches.push((*begin, index + 1, is_even));
        }
    }
    let cases = stretches.iter().rev().map(|(begin, number, is_even)| {
        if *is_even {
            format!("WHEN {instant} >= {begin} THEN {number} + ({instant} - {begin}) / {DAY_MS}")
        } else {
            format!("WHEN {instant} >= {begin} THEN {number}")
        }
    });
    format!("CASE {} ELSE 0 END", cases.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_equal_length_are_one_case() {
        let at = |text: &str| -> DateTime<Utc> { text.parse().expect("an instant") };
        let ends = [
            "1970-01-02T00:00:00Z",
            "1970-01-03T00:00:00Z",
            "1970-01-04T00:00:00Z",
            "1970-01-05T01:00:00Z",
            "1970-01-06T01:00:00Z",
        ]
        .map(at);
        assert_eq!(
            day_of("x", &ends),
            "CASE WHEN x >= 435600000 THEN 5 \
             WHEN x >= 349200000 THEN 4 + (x - 349200000) / 86400000 \
             WHEN x >= 259200000 THEN 3 \
             WHEN x >= 86400000 THEN 1 + (x - 86400000) / 86400000 ELSE 0 END"
        );
    }
}
