//! What somebody is limited to, as rows keep it: a list of ids, or nothing where there is no limit.

use serde_json::Value as Json;

use super::{Result, StoreError};
use crate::domain::scope::SequenceScope;

/// What is kept of a scope.
pub fn kept(scope: &SequenceScope) -> Option<Json> {
    let ids = scope.sequences()?;
    Some(ids.iter().map(|id| Json::from(id.to_string())).collect())
}

/// The scope that was kept.
///
/// # Errors
/// [`StoreError::Corrupt`] for anything but a list of ids: what cannot be read is never taken for no
/// limit.
pub fn read(kept: Option<&Json>) -> Result<SequenceScope> {
    let Some(kept) = kept else {
        return Ok(SequenceScope::All);
    };
    let ids: Vec<_> = serde_json::from_value(kept.clone())
        .map_err(|error| StoreError::corrupt("limit to sequences", error))?;
    Ok(SequenceScope::only(ids))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::domain::id::SequenceId;

    #[test]
    fn a_limit_is_read_as_it_was_kept_or_not_at_all() {
        let some = SequenceScope::only([1, 2].map(|n| SequenceId::from_uuid(Uuid::from_u128(n))));
        for scope in [SequenceScope::All, some, SequenceScope::only([])] {
            assert_eq!(read(kept(&scope).as_ref()).expect("a scope"), scope);
        }
        for wrong in [json!(null), json!("seq_1"), json!(["lead_1"]), json!({})] {
            assert!(read(Some(&wrong)).is_err(), "{wrong}");
        }
    }
}
