//! Who may do what: every root field of the schema, asked by everybody. A field that is new stands in no
//! list, and fails the test until it does.

use std::collections::BTreeSet;

use cadenza::app::Caller;
use serde_json::json;

use crate::harness::{Harness, both};
use crate::requests::{Made, Requests};

/// The code of the first error of an answer; empty where there is none.
pub async fn code(h: &Harness, caller: Option<&Caller>, made: &Made) -> String {
    let variables = async_graphql::Variables::from_json(made.variables.clone());
    let mut request = async_graphql::Request::new(&made.document).variables(variables);
    if let Some(caller) = caller {
        request = request.data(caller.clone());
    }
    let is_live = made.document.starts_with("subscription");
    let answer = if is_live {
        use futures_util::StreamExt;
        let mut answers = h.schema.execute_stream(request);
        let first = tokio::time::timeout(std::time::Duration::from_millis(100), answers.next());
        // Nothing has happened that it could tell: it is let in.
        let Ok(first) = first.await else {
            return String::new();
        };
        first.expect("an answer")
    } else {
        h.schema.execute(request).await
    };
    let answer = json!(answer);
    let code = answer["errors"][0]["extensions"]["code"].as_str();
    code.unwrap_or_default().to_owned()
}

/// What only an admin does.
const ADMIN: &[&str] = &[
    "auditEntries",
    "dkimKeyCreate",
    "dkimKeyDelete",
    "dkimKeyUpdate",
    "senderCreate",
    "senderCheck",
    "senderUpdate",
    "suppressionRemove",
    "tokenCreate",
    "tokenRevoke",
    "tokens",
    "webhookSubscriptionCreate",
    "webhookSubscriptionDelete",
    "webhookSubscriptionReplay",
    "webhookSubscriptionRotateSecret",
    "webhookSubscriptionTest",
    "webhookSubscriptionUpdate",
    "webhookSubscriptions",
    "workspaceUpdate",
];
/// What an editor does, and no viewer.
const EDITOR: &[&str] = &[
    "bulkOperationCancel",
    "bulkOperationUndo",
    "personCreate",
    "personUpdate",
    "personDelete",
    "personMerge",
    "personOptOut",
    "pipelineCreate",
    "opportunityCreate",
    "opportunityMove",
    "workflowCreate",
    "workflowUpdate",
    "peopleImport",
    "sequenceCreate",
    "sequenceUpdate",
    "sequencePublish",
    "sequenceDisable",
    "sequenceArchive",
    "sequenceUnarchive",
    "sequenceDuplicate",
    "leadsEnrol",
    "leadsPause",
    "leadsResume",
    "leadsRemove",
    "executionResolve",
    "taskComplete",
    "suppressionsAdd",
];
/// What everybody does who has a token.
const VIEWER: &[&str] = &[
    "node",
    "nodes",
    "events",
    "bulkOperation",
    "peopleSelected",
    "leadsSelected",
    "person",
    "people",
    "pipelines",
    "opportunities",
    "workflows",
    "dkimKeys",
    "sender",
    "senders",
    "sequence",
    "sequences",
    "lead",
    "leads",
    "execution",
    "executions",
    "tasks",
    "currentToken",
    "workspace",
    "executionEvents",
    "sequenceAnalytics",
    "suppressions",
];

both!(
    every_root_field_asks_for_its_role,
    |h: Harness| async move {
        let requests = Requests::new(&h).await;
        let mut seen = BTreeSet::new();
        for (_, made) in requests.all() {
            let field = made.field.as_str();
            seen.insert(field.to_owned());
            let needs = match field {
                _ if ADMIN.contains(&field) => 2,
                _ if EDITOR.contains(&field) => 1,
                _ => 0,
            };
            assert_eq!(
                code(&h, None, &made).await,
                "UNAUTHENTICATED",
                "{}",
                made.document
            );
            for (rank, caller) in [&h.viewer, &h.editor, &h.admin].into_iter().enumerate() {
                let code = code(&h, Some(caller), &made).await;
                assert_eq!(
                    code == "FORBIDDEN",
                    rank < needs,
                    "{field} for {}: {code:?}",
                    caller.role
                );
                // It is the role that decides, and nothing that is wrong with the request.
                let is_served = ["", "BAD_USER_INPUT", "FORBIDDEN"].contains(&code.as_str());
                assert!(is_served, "{}: {code}", made.document);
            }
        }
        let known = [ADMIN, EDITOR, VIEWER].concat();
        let known: BTreeSet<String> = known.into_iter().map(str::to_owned).collect();
        assert_eq!(seen, known, "each root field is in one of the lists");
    }
);
