//! Filters of people, against what the workspace has.

use sea_orm::ConnectionTrait;

use super::{Refusal, StoreError};
use crate::domain::id::WorkspaceId;
use crate::domain::person_filter::PersonFilter;
use crate::store;

/// Refuses a filter that excludes the people of a sequence that the workspace does not have: it would
/// exclude nobody, and whoever wrote it means somebody. `path` is where the filter stands.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn refused(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &PersonFilter,
    path: &[&str],
) -> Result<Option<Refusal>, StoreError> {
    let Some(sequence) = filter.not_in_sequence else {
        return Ok(None);
    };
    if store::sequence::is_there(connection, workspace, sequence).await? {
        return Ok(None);
    }
    let message = "There is no sequence with this id, so that nobody would be left out: take the id from \
                   an answer of this API.";
    let path = [path, &["notInSequenceId"]].concat();
    Ok(Some(Refusal::not_found(message, &path)))
}
