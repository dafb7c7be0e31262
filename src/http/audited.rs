//! The audit of what is no mutation: files of people that come in, and lists that go out.

use serde_json::Value as Json;

use super::Http;
use crate::app::{Caller, Services};
use crate::domain::audit::Outcome;
use crate::graphql::RequestId;
use crate::graphql::audit::record::Recording;
use crate::store::audit::Ending;

/// Begins the entry of what `caller` asks for: what it is called, and what of that may be kept, with the
/// ids in it. The services carry it with whatever is committed through them.
pub fn begin(
    http: &Http,
    caller: &Caller,
    name: &str,
    asked: (Json, Vec<String>),
    id: &RequestId,
) -> (Services, Recording) {
    let mut services = http.services().clone();
    services.db = services.db.for_mutations();
    let recording = Recording::of(&services, caller, name, asked, Some(id));
    (services, recording)
}

/// It ended so, and this code says why.
pub fn ending(outcome: Outcome, code: &str) -> Ending {
    Ending {
        outcome,
        codes: vec![code.to_owned()],
        objects: Vec::new(),
    }
}
