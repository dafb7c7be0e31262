//! Whether what analytics counts is what the log tells: every lead and every message, one sequence after
//! the other, a page of leads at a time.

use crate::domain::analytics::retold::Difference;
use crate::domain::id::{ExecutionId, LeadId, SequenceId, WorkspaceId};
use crate::store::{Db, StoreError, retold, sequence};

/// How many leads are looked at at a time.
const PAGE: usize = 500;

/// Where a row differs from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The sequence.
    pub sequence: SequenceId,
    /// The lead.
    pub lead: LeadId,
    /// The message; `None`, it is the lead's own row.
    pub execution: Option<ExecutionId>,
    /// What differs.
    pub difference: Difference,
}

/// How much was compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared {
    /// Sequences.
    pub sequences: u64,
    /// Leads.
    pub leads: u64,
    /// Messages.
    pub messages: u64,
    /// Numbers that differ.
    pub differences: u64,
}

/// Compares all of a workspace; `found` is told of each difference. While a server works on the database
/// each page of leads is read as it was at one moment.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn verify(
    db: &Db,
    workspace: WorkspaceId,
    mut found: impl FnMut(&Found),
) -> Result<Compared, StoreError> {
    let mut compared = Compared::default();
    for sequence in sequence::all_ids(db.read(), workspace).await? {
        compared.sequences += 1;
        let mut after = None;
        loop {
            let snapshot = db.snapshot().await?;
            let (pairs, next) = retold::page(&snapshot, workspace, sequence, after, PAGE).await?;
            snapshot.rollback().await?;
            for pair in &pairs {
                compare(sequence, pair, &mut compared, &mut found);
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    Ok(compared)
}

fn compare(
    sequence: SequenceId,
    pair: &retold::Pair,
    compared: &mut Compared,
    found: &mut impl FnMut(&Found),
) {
    let mut tell = |execution: Option<ExecutionId>, differences: Vec<Difference>| {
        compared.differences += differences.len() as u64;
        for difference in differences {
            found(&Found {
                sequence,
                lead: pair.lead,
                execution,
                difference,
            });
        }
    };
    tell(None, pair.rows.lead.differences(&pair.log.lead));
    for (id, row) in &pair.rows.messages {
        let log = pair.log.messages.get(id).cloned().unwrap_or_default();
        tell(Some(*id), row.differences(&log));
    }
    for (id, told) in &pair.log.messages {
        // One that was begun as a message and ended as another kind of step is none by now.
        if told.ended.is_some() && !pair.rows.messages.contains_key(id) {
            let gone = ("row", "missing".to_owned(), "there".to_owned());
            tell(Some(*id), vec![gone]);
        }
    }
    compared.leads += 1;
    compared.messages += pair.rows.messages.len() as u64;
}
