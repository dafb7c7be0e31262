//! Global ids in arguments.

use std::str::FromStr;

use async_graphql::ID;

use super::error::{UserError, UserErrorCode};
use crate::domain::id::{Id, Kind, NotAnId};

/// Reads an id of the kind `T` from a mutation's input; `path` is where it stands.
///
/// # Errors
/// INVALID with the path, where it is no id of this kind.
pub fn id<T: FromStr<Err = NotAnId>>(id: &ID, path: &[&str]) -> Result<T, UserError> {
    id.parse().map_err(|error: NotAnId| {
        UserError::new(
            UserErrorCode::Invalid,
            format!("\"{}\": {error}.", shown(id)),
            path,
        )
    })
}

/// Reads an id of a query: one of another kind is the same as one that is not there.
pub fn maybe<K: Kind>(id: &ID) -> Option<Id<K>> {
    id.parse().ok()
}

/// So much of a text as fits into a message.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
