//! Workspaces are walls: wherever the schema takes an id, another workspace's is the same as one that
//! is not there, and nothing of the other workspace changes or is told.
//!
//! The places are found in the schema itself. One that is new has no probe yet, and fails the test
//! until it gets one below.

use std::collections::BTreeMap;
use std::time::Duration;

use cadenza::domain::flow::Channel;
use cadenza::domain::id::{Id, TaskId, kind};
use cadenza::store::task::{self, NewTask, TaskText};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::enrol::{finish, import, people};
use crate::harness::{Harness, both, start};
use crate::leads::{enrolled, execution};
use crate::sequences::flow;

const SCHEMA: &str = "{ __schema {
    types { kind name fields { name args { name type { ...T } } } inputFields { name type { ...T } } } } }
    fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// The types of the schema by their names.
pub type Types = BTreeMap<String, Value>;

pub async fn types(h: &Harness) -> Types {
    let schema = h.data(SCHEMA, json!({})).await;
    let all = schema["__schema"]["types"]
        .as_array()
        .expect("types")
        .clone();
    all.into_iter().map(|of| (text(&of["name"]), of)).collect()
}

pub fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// The name of a type without its lists and non-nulls.
fn named(of: &Value) -> String {
    match of["ofType"].is_null() {
        true => text(&of["name"]),
        false => named(&of["ofType"]),
    }
}

/// Every place that takes an id: `Query.leads(filter.personId)`.
pub fn places(types: &Types) -> Vec<String> {
    let mut found = Vec::new();
    for (name, of) in types.iter().filter(|(name, _)| !name.starts_with("__")) {
        for field in of["fields"].as_array().into_iter().flatten() {
            for argument in field["args"].as_array().into_iter().flatten() {
                let begin = format!(
                    "{name}.{}({}",
                    text(&field["name"]),
                    text(&argument["name"])
                );
                walk(
                    types,
                    &named(&argument["type"]),
                    &begin,
                    &mut Vec::new(),
                    &mut found,
                );
            }
        }
    }
    found
}

fn walk(types: &Types, of: &str, path: &str, above: &mut Vec<String>, found: &mut Vec<String>) {
    if of == "ID" {
        found.push(format!("{path})"));
    }
    if above.iter().any(|name| name == of) {
        return;
    }
    above.push(of.to_owned());
    for field in types[of]["inputFields"].as_array().into_iter().flatten() {
        let path = format!("{path}.{}", text(&field["name"]));
        walk(types, &named(&field["type"]), &path, above, found);
    }
    above.pop();
}

/// One of each kind of object.
pub struct Objects(BTreeMap<&'static str, String>);

impl Objects {
    pub fn id(&self, kind: &str) -> &str {
        &self.0[kind]
    }
}

pub async fn objects(h: &Harness, names: &[&str]) -> Objects {
    let (sequence, leads) = enrolled(h, names).await;
    let lead = leads[0].parse().expect("a lead");
    let unconfirmed = execution(h, lead, "UNCONFIRMED", None, start()).await;
    let select = "query ($id: ID!) { sequence(id: $id) { versions { nodes { id } }
        flow { steps { action { ... on EmailAction { senders { id } } } } } } }";
    let read = h.data(select, json!({ "id": sequence })).await;
    let person = people(h, &[&format!("{}-too", names[0])]).await.remove(0);
    let person_of = h
        .data(
            "query ($id: ID!) { lead(id: $id) { person { id } } }",
            json!({ "id": leads[0] }),
        )
        .await;
    let pipeline = crate::pipelines::pipeline(h, names[0]).await;
    let stage = &pipeline["stages"][0]["id"];
    let opportunity = crate::pipelines::opportunity(h, names[0], &person, stage).await;
    let input = json!({ "name": names[0], "trigger": "PERSON_CREATED", "enabled": false,
        "sequenceId": sequence });
    let workflow = h
        .mutate(
            "workflowCreate",
            "WorkflowCreateInput",
            input,
            "workflow { id }",
        )
        .await;
    let input = json!({ "url": format!("https://{}.example/", names[0]), "enabled": false });
    let webhook = h
        .mutate(
            "webhookSubscriptionCreate",
            "WebhookSubscriptionCreateInput",
            input,
            "webhookSubscription { id }",
        )
        .await;
    let dkim = crate::dkim::key(h, &format!("{}.example", names[0]), "s1").await;
    let input = json!({ "csv": format!("email\n{}-three@example.com\n", names[0]) });
    let bulk = import(h, input).await;
    finish(h).await;
    let task: TaskId = h.services.entropy.id(h.clock.now());
    let new = NewTask {
        id: task,
        lead,
        sequence: sequence.parse().expect("a sequence"),
        step_key: "one".into(),
        text: TaskText {
            channel: Channel::Task,
            title: names[0].to_owned(),
            instructions: None,
            assignee: None,
        },
        due_at: start(),
        expires_at: None,
    };
    task::insert(h.services.db.write(), h.admin.workspace, &[new])
        .await
        .expect("a task");
    Objects(BTreeMap::from([
        ("seq", sequence),
        ("ver", text(&read["sequence"]["versions"]["nodes"][0]["id"])),
        (
            "sender",
            text(&read["sequence"]["flow"]["steps"][0]["action"]["senders"][0]["id"]),
        ),
        ("lead", leads[0].clone()),
        ("exec", unconfirmed.to_string()),
        ("task", task.to_string()),
        ("person", text(&person_of["lead"]["person"]["id"])),
        ("free person", person),
        ("pipeline", text(&pipeline["id"])),
        ("stage", text(stage)),
        ("opp", opportunity),
        ("workflow", text(&workflow["workflow"]["id"])),
        ("webhook", text(&webhook["webhookSubscription"]["id"])),
        ("dkim", text(&dkim["id"])),
        ("bulk", text(&bulk["id"])),
        ("token", h.admin.token.to_string()),
        ("ws", h.admin.workspace.to_string()),
    ]))
}

/// An id of this kind that nothing has.
pub fn missing(h: &Harness, kind: &str) -> String {
    let id: Id<kind::Lead> = h.services.entropy.id(h.clock.now());
    let id = id.to_string();
    let (_, digits) = id.split_once('_').expect("an id");
    format!("{}_{digits}", kind.trim_start_matches("free "))
}

/// What can stand at a place: the kinds of objects, and the request with the id where `ID` is.
pub struct Probe {
    pub kinds: &'static [&'static str],
    pub document: String,
    variables: Value,
}

const EVERY: &[&str] = &[
    "seq", "ver", "sender", "lead", "exec", "task", "person", "pipeline", "stage", "opp",
    "workflow", "webhook", "dkim", "bulk", "token", "ws",
];

pub fn probe(place: &str, ours: &Objects) -> Option<Probe> {
    let (field, path) = place.strip_suffix(')')?.split_once('(')?;
    let (of, name) = field.split_once('.')?;
    let last = path.rsplit('.').next()?;
    let kinds: &[&str] = match (field, last) {
        ("Query.node" | "Query.nodes", _) | ("Query.auditEntries", "objectId") => EVERY,
        ("Query.auditEntries", _) => &["token"],
        ("Query.people" | "Mutation.workflowCreate" | "Mutation.workflowUpdate", "ids") => {
            &["person"]
        }
        ("Mutation.leadsEnrol" | "Query.peopleSelected", "ids")
            if path.contains("opportunities.") =>
        {
            &["opp"]
        }
        ("Mutation.leadsEnrol" | "Query.peopleSelected", "ids") | (_, "personId") => {
            &["person", "free person"]
        }
        ("Query.opportunities", "ids") | (_, "opportunityIds") => &["opp"],
        (_, "pipelineId") => &["pipeline"],
        (_, "stageId" | "stageIds") => &["stage"],
        (_, "id") if name.starts_with("opportunity") => &["opp"],
        (_, "id") if name.starts_with("workflow") => &["workflow"],
        (_, "id") if name.starts_with("webhook") => &["webhook"],
        (_, "id") if name.starts_with("dkim") => &["dkim"],
        (
            "Mutation.leadsPause"
            | "Mutation.leadsResume"
            | "Mutation.leadsRemove"
            | "Query.leadsSelected",
            "ids",
        )
        | (_, "leadId") => &["lead"],
        (_, "sequenceIds" | "sequenceId" | "notInSequenceId") => &["seq"],
        (_, "senderIds") => &["sender"],
        (_, "id") if name.starts_with("sequence") => &["seq"],
        (_, "id") if name.starts_with("sender") => &["sender"],
        (_, "id" | "duplicateId") if name.starts_with("person") => &["person"],
        (_, "id") if name.starts_with("lead") => &["lead"],
        (_, "id") if name.starts_with("execution") => &["exec"],
        (_, "id") if name.starts_with("task") => &["task"],
        (_, "id") if name.starts_with("bulk") => &["bulk"],
        (_, "id") if name.starts_with("token") => &["token"],
        _ => return None,
    };
    let page = "(first: 250, filter: $filter) { totalCount nodes { id } }";
    let (document, mut variables) = match field {
        "Query.node" => ("query ($id: ID!) { node(id: $id) { __typename id } }".into(), json!({})),
        "Query.nodes" => ("query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }".into(), json!({})),
        "Query.events" => ("query ($filter: EventFilter) { events(first: 250, filter: $filter) { cursor kind } }".into(), json!({})),
        "Query.people" => (format!("query ($filter: PersonFilter) {{ people{page} }}"), json!({})),
        "Query.peopleSelected" => (
            "query ($selection: PeopleSelection!, $sequenceId: ID) {
                peopleSelected(selection: $selection, sequenceId: $sequenceId) {
                    count sample { id } enrolment { enrolled outcomes { code count } } } }".into(),
            match path {
                "sequenceId" => json!({ "selection": { "ids": [ours.id("person")] } }),
                _ => json!({ "selection": {} }),
            },
        ),
        "Query.leadsSelected" => (
            "query ($selection: LeadSelection!) { leadsSelected(selection: $selection) {
                count byStatus { total } sample { id } } }".into(),
            json!({ "selection": {} }),
        ),
        "Query.opportunities" => (format!("query ($filter: OpportunityFilter) {{ opportunities{page} }}"), json!({})),
        "Query.leads" => (format!("query ($filter: LeadFilter) {{ leads{page} }}"), json!({})),
        "Query.executions" => (format!("query ($filter: ExecutionFilter) {{ executions{page} }}"), json!({})),
        "Sequence.leads" => (
            format!("query ($own: ID!, $filter: LeadFilter) {{ sequence(id: $own) {{ leads{page} }} }}"),
            json!({ "own": ours.id("seq") }),
        ),
        "Sequence.executions" => (
            format!("query ($own: ID!, $filter: ExecutionFilter) {{ sequence(id: $own) {{ executions{page} }} }}"),
            json!({ "own": ours.id("seq") }),
        ),
        "Sequence.preview" => (
            "query ($own: ID!, $personId: ID) { sequence(id: $own) { preview(personId: $personId) {
                paths { entries { subject text } } } } }".into(),
            json!({ "own": ours.id("seq") }),
        ),
        "Sequence.analytics" => (
            "query ($own: ID!, $filter: AnalyticsFilter) { sequence(id: $own) {
                analytics(filter: $filter) { messages { sent } bySender { sender { id } } } } }".into(),
            json!({ "own": ours.id("seq") }),
        ),
        "Subscription.sequenceAnalytics" if path == "sequenceId" => (
            "subscription ($sequenceId: ID!) { sequenceAnalytics(sequenceId: $sequenceId) { funnel { contacted } } }".into(),
            json!({}),
        ),
        "Subscription.sequenceAnalytics" => (
            "subscription ($own: ID!, $filter: AnalyticsFilter) { sequenceAnalytics(sequenceId: $own, filter: $filter) {
                messages { sent } } }".into(),
            json!({ "own": ours.id("seq") }),
        ),
        "Subscription.executionEvents" => (
            "subscription ($filter: EventFilter) { executionEvents(after: \"evt_0000000000000000\", filter: $filter) { cursor } }".into(),
            json!({}),
        ),
        "Subscription.bulkOperation" => ("subscription ($id: ID!) { bulkOperation(id: $id) { id status } }".into(), json!({})),
        // Of a time before there was any: what we asked of theirs is in our own audit.
        "Query.auditEntries" => (
            "query ($filter: AuditFilter) { auditEntries(first: 250, filter: $filter) { totalCount nodes { mutation } } }".into(),
            json!({ "filter": { "at": { "to": "2026-03-02T09:00:00Z" } } }),
        ),
        _ if of == "Query" => (format!("query ($id: ID!) {{ {name}(id: $id) {{ __typename id }} }}"), json!({})),
        _ if of == "Mutation" => mutation(name, path, ours)?,
        _ => return None,
    };
    put(&mut variables, path);
    Some(Probe {
        kinds,
        document,
        variables,
    })
}

/// A mutation that would do something if the id were one of ours.
fn mutation(name: &str, path: &str, ours: &Objects) -> Option<(String, Value)> {
    let (input_type, select, input) = match name {
        "bulkOperationCancel" | "bulkOperationUndo" => {
            ("BulkOperationIdInput", "operation { id }", json!({}))
        }
        "personUpdate" => (
            "PersonUpdateInput",
            "person { id }",
            json!({ "set": { "firstName": "Eve" } }),
        ),
        "personDelete" => ("PersonIdInput", "person { id }", json!({})),
        "personOptOut" => (
            "PersonOptOutInput",
            "person { id }",
            json!({ "channels": ["EMAIL"] }),
        ),
        "personMerge" => (
            "PersonMergeInput",
            "person { id }",
            json!({ "id": ours.id("person"), "duplicateId": ours.id("free person") }),
        ),
        "opportunityCreate" => (
            "OpportunityCreateInput",
            "opportunity { name }",
            json!({ "name": "Eve", "personId": ours.id("person"), "stageId": ours.id("stage") }),
        ),
        "opportunityMove" => (
            "OpportunityMoveInput",
            "opportunity { name }",
            json!({ "id": ours.id("opp"), "stageId": ours.id("stage") }),
        ),
        "workflowCreate" => (
            "WorkflowCreateInput",
            "workflow { name }",
            json!({ "name": "Eve", "trigger": "OPPORTUNITY_CREATED", "enabled": false,
                "sequenceId": ours.id("seq") }),
        ),
        "workflowUpdate" => (
            "WorkflowUpdateInput",
            "workflow { name }",
            json!({ "id": ours.id("workflow"), "name": "Eve" }),
        ),
        "webhookSubscriptionCreate" => (
            "WebhookSubscriptionCreateInput",
            "webhookSubscription { url }",
            json!({ "url": "https://eve.example/", "enabled": false }),
        ),
        "webhookSubscriptionUpdate" => (
            "WebhookSubscriptionUpdateInput",
            "webhookSubscription { url }",
            json!({ "id": ours.id("webhook"), "url": "https://eve.example/" }),
        ),
        "webhookSubscriptionReplay" => (
            "WebhookSubscriptionReplayInput",
            "webhookSubscription { url }",
            json!({ "after": "evt_0000000000000000" }),
        ),
        "webhookSubscriptionDelete" => ("WebhookSubscriptionIdInput", "deletedId", json!({})),
        "webhookSubscriptionTest" => (
            "WebhookSubscriptionIdInput",
            "delivered status failure",
            json!({}),
        ),
        "webhookSubscriptionRotateSecret" => (
            "WebhookSubscriptionIdInput",
            "webhookSubscription { url }",
            json!({}),
        ),
        "dkimKeyUpdate" => (
            "DkimKeyUpdateInput",
            "dkimKey { domain }",
            json!({ "enabled": true, "evenUnpublished": true }),
        ),
        "dkimKeyDelete" => ("DkimKeyDeleteInput", "deletedId", json!({})),
        "senderCheck" => ("SenderCheckInput", "sender { id }", json!({})),
        "senderUpdate" => (
            "SenderUpdateInput",
            "sender { id }",
            json!({ "name": "Eve" }),
        ),
        "sequenceCreate" => (
            "SequenceCreateInput",
            "sequence { name }",
            json!({ "name": "Eve", "flow": flow_to(path) }),
        ),
        "sequenceUpdate" if path == "input.id" => (
            "SequenceUpdateInput",
            "sequence { id }",
            json!({ "name": "Eve" }),
        ),
        "sequenceUpdate" => (
            "SequenceUpdateInput",
            "sequence { id }",
            json!({ "id": ours.id("seq"), "flow": flow_to(path) }),
        ),
        "sequencePublish" => ("SequencePublishInput", "sequence { id }", json!({})),
        "sequenceDisable" | "sequenceArchive" | "sequenceUnarchive" | "sequenceDuplicate" => {
            ("SequenceIdInput", "sequence { id }", json!({}))
        }
        "leadsEnrol" => {
            let people = match path.split('.').nth(2) {
                Some("filter") => json!({ "filter": { "search": "ours" } }),
                Some("opportunities") => json!({ "opportunities": {} }),
                Some("opportunityIds") => json!({ "opportunityIds": [] }),
                _ => json!({ "ids": [ours.id("person")] }),
            };
            (
                "LeadsEnrolInput",
                "operation { id }",
                json!({ "sequenceId": ours.id("seq"), "people": people }),
            )
        }
        "leadsPause" | "leadsResume" | "leadsRemove" => {
            let leads = match path.contains(".filter.") {
                true => json!({ "filter": {} }),
                false => json!({ "ids": [] }),
            };
            (
                "LeadsBulkInput",
                "operation { id }",
                json!({ "leads": leads }),
            )
        }
        "executionResolve" => (
            "ExecutionResolveInput",
            "execution { id }",
            json!({ "wasSent": true }),
        ),
        "taskComplete" => ("TaskCompleteInput", "task { id }", json!({})),
        "tokenCreate" => (
            "TokenCreateInput",
            "token { role }",
            json!({ "name": "Eve", "role": "VIEWER" }),
        ),
        "tokenRevoke" => ("TokenRevokeInput", "token { id }", json!({})),
        _ => return None,
    };
    let document = format!(
        "mutation ($input: {input_type}!) {{ {name}(input: $input) {{ {select} userErrors {{ code message path }} }} }}"
    );
    Some((document, json!({ "input": input })))
}

/// A flow with a step of the kind that a path leads to.
fn flow_to(path: &str) -> Value {
    let kinds = ["sms", "whatsapp"];
    let Some(kind) = kinds
        .into_iter()
        .find(|kind| path.contains(&format!(".{kind}.")))
    else {
        return flow(&["one"], &["x"]);
    };
    let message = json!({ "senderIds": ["x"], "variants": [{ "body": "Hi" }] });
    json!({ "steps": [{ "key": "one", "action": { kind: message } }] })
}

/// Puts `ID` where a path leads to; what there is in a list on the way is the first of its entries.
fn put(variables: &mut Value, path: &str) {
    let mut at = variables;
    for step in path.split('.') {
        if let Value::Array(entries) = at {
            at = entries.first_mut().expect("an entry");
        }
        at = &mut at[step];
    }
    *at = match path.ends_with('s') {
        true => json!(["ID"]),
        false => json!("ID"),
    };
}

/// What is told of a request with this id in it, and of the operation that it began.
pub async fn told(h: &Harness, probe: &Probe, id: &str) -> Value {
    let variables = probe
        .variables
        .to_string()
        .replace("\"ID\"", &json!(id).to_string());
    let variables: Value = serde_json::from_str(&variables).expect("JSON");
    if probe.document.starts_with("subscription") {
        // What is not told at once is not there: everything that could be is in the log already.
        let mut answers = h.follow(&probe.document, variables);
        let first = tokio::time::timeout(Duration::from_millis(250), answers.next()).await;
        return first
            .ok()
            .flatten()
            .map_or(json!("nothing"), |answer| plain(json!(answer)));
    }
    let answer = h.execute(&probe.document, variables).await;
    finish(h).await;
    let begun = answer["data"]
        .as_object()
        .and_then(|data| data.values().next())
        .map(|payload| payload["operation"]["id"].clone());
    let Some(Value::String(id)) = begun else {
        return plain(answer);
    };
    let ended = "query ($id: ID!) { bulkOperation(id: $id) { status total processed succeeded skipped failed
        outcomes(first: 250) { nodes { subject code message } } } }";
    let ended = h.data(ended, json!({ "id": id })).await;
    json!([plain(answer), plain(ended)])
}

/// The same without ids, of which each is its own.
fn plain(answer: Value) -> Value {
    let text = answer.to_string();
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut written = String::new();
    for piece in text.split_inclusive(|letter| !is_part(letter)) {
        let word = piece.trim_end_matches(|letter| !is_part(letter));
        match word.split_once('_') {
            Some((kind, digits)) if digits.len() >= 26 && !digits.contains('_') => {
                written.push_str(kind);
                written.push_str(&piece[word.len()..]);
            }
            _ => written.push_str(piece),
        }
    }
    serde_json::from_str(&written).expect("JSON")
}

/// Everything that a workspace has, as its admin sees it.
async fn everything(h: &Harness) -> Value {
    let all = "{ sequences(first: 250) { nodes { id name status revision leadCounts { total paused stopped completed } versions { nodes { id number } } } }
        leads(first: 250) { nodes { id status stopReason dueAt person { id } } }
        people(first: 250) { nodes { id email firstName updatedAt } }
        senders { id name enabled dailyCap }
        dkimKeys { id domain selector enabled updatedAt }
        pipelines { id name stages { id name } }
        opportunities(first: 250) { nodes { id name stage { id } updatedAt } }
        workflows { id name enabled filter sequence { id } enrolled updatedAt }
        webhookSubscriptions { id url state cursor updatedAt }
        executions(first: 250) { nodes { id status error { code } } }
        events(first: 250) { cursor kind }
        tokens { nodes { id revokedAt } }
        workspace { id name timeZone maxMessagesPerPersonPerDay } }";
    h.data(all, json!({})).await
}

both!(
    anothers_id_is_like_one_that_is_not_there,
    |h: Harness| async move {
        let stranger = Harness {
            services: h.services.clone(),
            clock: h.clock.clone(),
            schema: h.schema.clone(),
            admin: h.stranger.clone(),
            editor: h.stranger.clone(),
            viewer: h.stranger.clone(),
            stranger: h.admin.clone(),
            token: String::new(),
            url: h.url.clone(),
            shutdown: CancellationToken::new(),
        };
        let ours = objects(&h, &["ours"]).await;
        let theirs = objects(&stranger, &["theirs"]).await;
        let before = everything(&stranger).await;
        let places = places(&types(&h).await);
        assert!(places.len() > 50, "the schema is walked: {places:?}");
        let mut wrong = Vec::new();
        for place in &places {
            let Some(probe) = probe(place, &ours) else {
                wrong.push(format!(
                    "{place} takes an id and has no probe: add it to `probe`"
                ));
                continue;
            };
            for kind in probe.kinds {
                // Once to bring about what the request itself changes among our own.
                told(&h, &probe, &missing(&h, kind)).await;
                let of_missing = told(&h, &probe, &missing(&h, kind)).await;
                let of_theirs = told(&h, &probe, theirs.id(kind)).await;
                if of_missing != of_theirs || of_theirs.to_string().contains("theirs") {
                    wrong.push(format!(
                        "{place}, {kind}:\n  missing {of_missing}\n  theirs  {of_theirs}"
                    ));
                }
            }
        }
        let after = everything(&stranger).await;
        assert_eq!(before, after, "nothing of theirs has changed");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        // The probes do find what is there: with ours, most answer otherwise.
        let mut telling = 0;
        for place in &places {
            let Some(probe) =
                probe(place, &ours).filter(|probe| probe.document.starts_with("query"))
            else {
                continue;
            };
            for kind in probe.kinds {
                let of_missing = told(&h, &probe, &missing(&h, kind)).await;
                telling += u32::from(told(&h, &probe, ours.id(kind)).await != of_missing);
            }
        }
        assert!(telling >= 20, "{telling}");
    }
);

both!(
    a_cursor_of_another_workspace_is_none,
    |h: Harness| async move {
        people(&h, &["ada", "bob"]).await;
        let page = h
            .data("{ people(first: 1) { pageInfo { endCursor } } }", json!({}))
            .await;
        let cursor = &page["people"]["pageInfo"]["endCursor"];
        let next = "query ($after: String) { people(first: 1, after: $after) { nodes { email } } }";
        let own = h.data(next, json!({ "after": cursor })).await;
        assert_eq!(own["people"]["nodes"][0]["email"], "bob@example.com");
        let strange = h
            .execute_as(&h.stranger, next, json!({ "after": cursor }))
            .await;
        assert_eq!(
            strange["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
            "{strange}"
        );
    }
);
