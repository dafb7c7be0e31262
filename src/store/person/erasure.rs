//! What is erased with a person. The rows that are counted stay: the person's own, without anything in it,
//! leads, executions, tasks and events. What is written of a person in them goes.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use entity::bulk_operation;
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use serde_json::Value as Json;
use uuid::Uuid;

use super::Row;
use crate::domain::erasure::{ERASED, forget_in, forgotten};
use crate::domain::id::{LeadId, PersonId, WorkspaceId};
use crate::store::claim::{LEAD_COLUMNS, LeadRow};
use crate::store::sql::{self, Arguments};
use crate::store::{Result, dialect, lane};

/// These people, if they are the workspace's, erased or not, in no order; nobody refers to them anew, and
/// they do not change, before this transaction ends. The sequences of their leads are not published anew
/// before that either.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn lock(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    people: &[PersonId],
) -> Result<Vec<Row>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.among(tx, people.iter().map(|id| id.uuid()));
    // Whoever enrols has the sequence before its people.
    let of_them = format!("l.workspace_id = $1 AND l.person_id {list}");
    lane::keep_sequences_of(tx, &of_them, arguments.clone()).await?;
    // In the order in which everybody locks people.
    let statement = format!(
        "SELECT * FROM person AS p WHERE p.workspace_id = $1 AND p.id {list}
         ORDER BY p.id {}",
        dialect::for_removal(tx, "p")
    );
    sql::all(tx, &statement, arguments).await
}

/// All leads of these people, in the order of their ids, locked until the transaction ends.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn lock_leads(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    people: &[PersonId],
) -> Result<Vec<LeadRow>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.among(tx, people.iter().map(|id| id.uuid()));
    let of_workspace = dialect::unindexed(tx.get_database_backend(), "l.workspace_id");
    let of_them = format!("{of_workspace} = $1 AND l.person_id {list}");
    lane::keep_sequences_of(tx, &of_them, arguments.clone()).await?;
    let statement = format!(
        "SELECT {LEAD_COLUMNS} FROM lead AS l
         WHERE {of_them} ORDER BY l.id {}",
        dialect::for_update(tx, "l")
    );
    sql::all(tx, &statement, arguments).await
}

/// Takes everything personal out of a person's row and out of what was done for its leads. All of them
/// must be locked by this transaction.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn erase(
    tx: &impl ConnectionTrait,
    person: &Row,
    leads: &[LeadId],
    now: DateTime<Utc>,
) -> Result<()> {
    let arguments = Arguments::new()
        .with(person.id)
        .with(now.timestamp_millis())
        .with(Value::Json(Some(Box::new(
            Json::Object(Default::default()),
        ))));
    let statement = "UPDATE person SET email = NULL, email_key = NULL, phone = NULL,
            linkedin_url = NULL, first_name = NULL, last_name = NULL, company = NULL,
            company_key = NULL, title = NULL,
            time_zone = NULL, country = NULL, attributes = $3, search_text = '',
            updated_at = $2, erased_at = $2
         WHERE id = $1";
    sql::execute(tx, statement, arguments).await?;
    let opportunities = "DELETE FROM opportunity WHERE person_id = $1";
    sql::execute(tx, opportunities, Arguments::new().with(person.id)).await?;
    for leads in sql::chunks(leads) {
        of_leads(tx, leads).await?;
        of_events(tx, leads).await?;
    }
    of_addresses(tx, person).await
}

/// Subjects, Message-IDs, what servers said, what tasks ask for, and kept messages.
async fn of_leads(tx: &impl ConnectionTrait, leads: &[LeadId]) -> Result<()> {
    for statement in [
        "UPDATE lead SET thread = NULL, unbound = TRUE WHERE id {list} AND thread IS NOT NULL",
        "UPDATE execution SET subject = NULL, message_id = NULL, to_key = NULL,
             error_response = NULL,
             error_message = CASE WHEN error_message IS NOT NULL THEN '{erased}' END
         WHERE lead_id {list}",
        "UPDATE task SET title = '{erased}', instructions = NULL, note = NULL
         WHERE lead_id {list}",
        "UPDATE inbound_message SET from_address = NULL, subject = NULL, text = NULL
         WHERE lead_id {list}",
        "DELETE FROM outbox_message
         WHERE execution_id IN (SELECT e.id FROM execution AS e WHERE e.lead_id {list})",
    ] {
        let mut arguments = Arguments::new();
        let list = arguments.among(tx, leads.iter().map(|id| id.uuid()));
        let statement = statement
            .replace("{list}", &list)
            .replace("{erased}", ERASED);
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}

#[derive(FromQueryResult)]
struct Told {
    workspace_id: Uuid,
    seq: i64,
    detail: Json,
}

/// The details of events: codes stay, texts go.
async fn of_events(tx: &impl ConnectionTrait, leads: &[LeadId]) -> Result<()> {
    let mut arguments = Arguments::new();
    let list = arguments.among(tx, leads.iter().map(|id| id.uuid()));
    let statement = format!(
        "SELECT v.workspace_id, v.seq, v.detail FROM event AS v
         WHERE v.lead_id {list} AND v.detail IS NOT NULL"
    );
    let told: Vec<Told> = sql::all(tx, &statement, arguments).await?;
    for event in told {
        let Some(detail) = forgotten(&event.detail) else {
            continue;
        };
        let arguments = Arguments::new()
            .with(event.workspace_id)
            .with(event.seq)
            .with(Value::Json(Some(Box::new(detail))));
        let statement = "UPDATE event SET detail = $3 WHERE workspace_id = $1 AND seq = $2";
        sql::execute(tx, statement, arguments).await?;
    }
    Ok(())
}

/// What names an address of the person: requests of bulk operations, as by a search for it, their keys and
/// errors, what the servers of senders said, and the addresses that a dry run has met. There are few rows,
/// and they are read once each: nothing looks for them by their text.
async fn of_addresses(tx: &impl ConnectionTrait, person: &Row) -> Result<()> {
    let contacts = [
        &person.email,
        &person.email_key,
        &person.phone,
        &person.linkedin_url,
    ];
    let names: HashSet<&str> = contacts.into_iter().flatten().map(String::as_str).collect();
    if names.is_empty() {
        return Ok(());
    }
    of_requests(tx, person.workspace_id, &names).await?;
    for (table, column, left) in [
        // Without its key a request may be sent anew, and finds who is erased no more.
        ("bulk_operation", "idempotency_key", "NULL".to_owned()),
        ("bulk_operation", "error", format!("'{ERASED}'")),
        ("sender", "unhealthy_reason", format!("'{ERASED}'")),
        ("inbound_mailbox", "reason", format!("'{ERASED}'")),
        ("sender_grant", "problem", format!("'{ERASED}'")),
    ] {
        let mut arguments = Arguments::new().with(person.workspace_id);
        let holds = holding(&names, column, &mut arguments);
        let statement =
            format!("UPDATE {table} SET {column} = {left} WHERE workspace_id = $1 AND ({holds})");
        sql::execute(tx, &statement, arguments).await?;
    }
    // Mails that belonged to no lead.
    let mut arguments = Arguments::new().with(person.workspace_id);
    let holds = ["from_address", "subject"].map(|column| holding(&names, column, &mut arguments));
    let statement = format!(
        "DELETE FROM inbound_message WHERE workspace_id = $1 AND lead_id IS NULL AND ({})",
        holds.join(" OR ")
    );
    sql::execute(tx, &statement, arguments).await?;
    if let Some(key) = &person.email_key {
        let statement = "DELETE FROM bulk_seen WHERE workspace_id = $1 AND email_key = $2";
        let arguments = Arguments::new()
            .with(person.workspace_id)
            .with(key.as_str());
        sql::execute(tx, statement, arguments).await?;
    }
    Ok(())
}

/// The condition that a column holds one of these texts, in upper or lower case, as they are or as JSON
/// writes them.
fn holding(names: &HashSet<&str>, column: &str, arguments: &mut Arguments) -> String {
    let tests: Vec<String> = names
        .iter()
        .map(|name| {
            let written = Json::from(*name).to_string().to_lowercase();
            let within = written.trim_matches('"');
            let name = arguments.add(format!("%{}%", super::filter::escaped(within)));
            format!("lower(CAST({column} AS TEXT)) LIKE {name} ESCAPE '\\'")
        })
        .collect();
    tests.join(" OR ")
}

/// The requests of bulk operations.
async fn of_requests(
    tx: &impl ConnectionTrait,
    workspace: Uuid,
    names: &HashSet<&str>,
) -> Result<()> {
    let mut arguments = Arguments::new().with(workspace);
    let statement = format!(
        "SELECT * FROM bulk_operation AS o WHERE o.workspace_id = $1 AND ({}) {}",
        holding(names, "o.request", &mut arguments),
        dialect::for_update(tx, "o")
    );
    let found: Vec<bulk_operation::Model> = sql::all(tx, &statement, arguments).await?;
    for mut operation in found {
        forget_in(&mut operation.request, names);
        let arguments = Arguments::new()
            .with(operation.id)
            .with(Value::Json(Some(Box::new(operation.request))));
        let statement = "UPDATE bulk_operation SET request = $2 WHERE id = $1";
        sql::execute(tx, statement, arguments).await?;
    }
    Ok(())
}

#[derive(FromQueryResult)]
struct OfLead {
    id: Uuid,
    erased: bool,
}

/// Which of these leads are of somebody who is erased. To be asked after they are locked: whoever erases
/// a person locks its leads, too.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn leads_of_erased(
    tx: &impl ConnectionTrait,
    leads: &[LeadId],
) -> Result<HashSet<LeadId>> {
    let mut found = HashMap::new();
    for leads in sql::chunks(leads) {
        let mut arguments = Arguments::new();
        let list = arguments.among(tx, leads.iter().map(|id| id.uuid()));
        let statement = format!(
            "SELECT l.id, (p.erased_at IS NOT NULL) AS erased
             FROM lead AS l JOIN person AS p ON p.id = l.person_id WHERE l.id {list}"
        );
        let rows: Vec<OfLead> = sql::all(tx, &statement, arguments).await?;
        found.extend(rows.into_iter().map(|row| (row.id, row.erased)));
    }
    let erased = found.into_iter().filter(|(_, erased)| *erased);
    Ok(erased.map(|(id, _)| LeadId::from_uuid(id)).collect())
}
