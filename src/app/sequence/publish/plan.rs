//! What publishing does to the leads in flight, told by counts that read no more than is asked.

use std::collections::HashMap;

use sea_orm::ConnectionTrait;

use crate::domain::flow::{Destination, StepChange};
use crate::domain::id::{SequenceId, WorkspaceId};
use crate::store::Result;
use crate::store::sequence::publish::{self as rows, Standing};

/// What publishing does to the leads in flight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishPlan {
    /// How the flow differs from the one that ran last.
    pub changes: Vec<PlannedChange>,
    /// How many unfinished leads keep their step.
    pub staying: i64,
    /// How many go to another step.
    pub moving: i64,
    /// How many stop.
    pub stopping: i64,
    /// How many have finished the sequence.
    pub completing: i64,
}

/// A difference between the flows, and whom it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChange {
    /// The difference.
    pub change: StepChange,
    /// How many unfinished leads stand at the step.
    pub leads_there: i64,
}

impl PublishPlan {
    /// The plan of these changes to a sequence. Counts all unfinished leads and those at the steps that
    /// differ by an index, and reads the leads of removed steps.
    pub(super) async fn read(
        connection: &impl ConnectionTrait,
        (workspace, sequence): (WorkspaceId, SequenceId),
        changes: &[StepChange],
    ) -> Result<Self> {
        let all = rows::unfinished(connection, workspace, sequence).await?;
        let keys: Vec<&str> = changes.iter().map(|one| one.step_key.as_str()).collect();
        let gone = changes.iter().filter(|one| one.destination.is_some());
        let gone: Vec<&str> = gone.map(|one| one.step_key.as_str()).collect();
        let standing = rows::standing(connection, workspace, sequence, &keys).await?;
        let movable = rows::movable(connection, workspace, sequence, &gone).await?;
        Ok(Self::of(changes, all, standing, movable))
    }

    fn of(
        changes: &[StepChange],
        all: i64,
        standing: Vec<Standing>,
        movable: Vec<Standing>,
    ) -> Self {
        let by_step = |rows: Vec<Standing>| -> HashMap<String, i64> {
            let rows = rows.into_iter();
            rows.map(|row| (row.step_key, row.leads)).collect()
        };
        let (standing, movable) = (by_step(standing), by_step(movable));
        let at = |rows: &HashMap<String, i64>, key: &str| rows.get(key).copied().unwrap_or(0);
        let mut plan = Self {
            staying: all,
            ..Self::default()
        };
        for change in changes {
            let sum = match &change.destination {
                Some(Destination::Step(_)) => Some(&mut plan.moving),
                Some(Destination::Complete) => Some(&mut plan.completing),
                Some(Destination::Stop) => Some(&mut plan.stopping),
                None => None,
            };
            if let Some(sum) = sum {
                let moved = at(&movable, &change.step_key);
                *sum += moved;
                plan.staying -= moved;
            }
            plan.changes.push(PlannedChange {
                change: change.clone(),
                leads_there: at(&standing, &change.step_key),
            });
        }
        plan
    }
}
