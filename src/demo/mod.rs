//! The demo: a believable workspace on a fast clock, where everything moves at once.
//!
//! It is furnished through the public API, like any client would do it, and its messages go to
//! outboxes, which send nothing outside. Its contacts open, click and answer as people do.

mod contacts;
mod people;
mod script;

use async_graphql::{Request, Variables};
use serde_json::{Value, json};

use crate::app::{Caller, Services};
use crate::graphql::CadenzaSchema;

pub use self::contacts::live;

/// How many people the demo knows.
const PEOPLE: usize = 600;

/// What went wrong while the demo was furnished.
#[derive(Debug, thiserror::Error)]
#[error("the demo could not be furnished: {0}")]
pub struct DemoError(String);

/// Fills an empty workspace: people, senders, three sequences, and the first leads.
///
/// # Errors
/// [`DemoError`] where the API refuses; the text says what.
pub async fn furnish(
    schema: &CadenzaSchema,
    services: &Services,
    caller: &Caller,
) -> Result<(), DemoError> {
    let api = Api { schema, caller };
    let csv = people::csv(PEOPLE, &services.entropy);
    api.call(script::IMPORT, "peopleImport", json!({ "csv": csv }))
        .await?;
    let mut senders = Vec::new();
    for input in script::senders() {
        let made = api.call(script::SENDER, "senderCreate", input).await?;
        senders.push(made["sender"]["id"].clone());
    }
    for (number, input) in script::sequences(&senders).into_iter().enumerate() {
        let made = api.call(script::SEQUENCE, "sequenceCreate", input).await?;
        let id = made["sequence"]["id"].clone();
        api.call(script::PUBLISH, "sequencePublish", json!({ "id": id }))
            .await?;
        let people = json!({ "filter": { "search": script::SEGMENTS[number % 3] } });
        let input = json!({ "sequenceId": id, "people": people });
        api.call(script::ENROL, "leadsEnrol", input).await?;
    }
    Ok(())
}

/// The API, called in this process as a client would over HTTP.
struct Api<'a> {
    schema: &'a CadenzaSchema,
    caller: &'a Caller,
}

impl Api<'_> {
    async fn call(&self, document: &str, field: &str, input: Value) -> Result<Value, DemoError> {
        let variables = Variables::from_json(json!({ "input": input }));
        let request = Request::new(document)
            .variables(variables)
            .data(self.caller.clone());
        let response = self.schema.execute(request).await;
        if let Some(error) = response.errors.first() {
            return Err(DemoError(format!("{field}: {}", error.message)));
        }
        let mut data = response
            .data
            .into_json()
            .map_err(|error| DemoError(error.to_string()))?;
        let payload = data[field].take();
        match payload["userErrors"]
            .as_array()
            .and_then(|errors| errors.first())
        {
            Some(error) => Err(DemoError(format!("{field}: {}", error["message"]))),
            None => Ok(payload),
        }
    }
}
