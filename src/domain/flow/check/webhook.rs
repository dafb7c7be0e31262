//! The body of a request: JSON, unless a header says that it is something else.

use super::{FlowProblemCode, Place, Written};
use crate::domain::flow::WebhookAction;
use crate::domain::message::{JsonFault, TextContent};

impl Place<'_> {
    /// The body that is written for a request.
    pub(super) fn body(&mut self, webhook: &WebhookAction) {
        let Some(body) = &webhook.body else { return };
        let content = TextContent::json(body);
        let fault = content.as_ref().ok().and_then(TextContent::json_fault);
        self.text(Written::ALONE, content);
        let (key, remedy) = (
            &self.step.key,
            "put merge tags within quotation marks, as in {\"name\": \"{{ first_name }}\"}",
        );
        match fault.filter(|_| is_json(webhook)) {
            Some(JsonFault::Always { line, reason }) => {
                let message = format!(
                    "The body is not JSON ({reason}; step {key}, body, line {line}): correct it, and \
                     {remedy}."
                );
                self.error(FlowProblemCode::BrokenMergeTag, &["body"], message);
            }
            Some(JsonFault::ForSome) => {
                let message = format!(
                    "The body is not JSON for everybody (step {key}, body): {remedy}, and have every \
                     branch of a condition leave JSON."
                );
                self.warning(FlowProblemCode::BrokenMergeTag, &["body"], message);
            }
            None => {}
        }
    }
}

/// Whether the body goes out as JSON, which it does if nothing else is said.
fn is_json(webhook: &WebhookAction) -> bool {
    let headers = webhook.headers.iter().flatten();
    let mut types = headers.filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    types.all(|(_, value)| {
        let value = value.as_str().unwrap_or_default();
        value.to_ascii_lowercase().contains("json")
    })
}
