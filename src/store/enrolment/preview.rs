//! Whom a selection holds, before anything is done with them: how many there are of each kind, and the
//! first of them.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::{Candidate, Filter, SUPPRESSED, candidates, chosen};
use crate::domain::id::{PersonId, SequenceId, WorkspaceId};
use crate::store::Result;
use crate::store::person::Row;
use crate::store::sql::{self, Arguments};

/// Among whom people are counted.
#[derive(Debug, Clone, Copy)]
pub enum Among<'a> {
    /// These.
    Ids(&'a [PersonId]),
    /// Those that a filter chooses who were there by an instant.
    Filter(Filter<'a>, DateTime<Utc>),
}

/// People between whom enrolling makes no difference.
#[derive(Debug)]
pub struct Alike {
    /// What they have in common; its id, clock and country mean nothing.
    pub candidate: Candidate,
    /// How many they are.
    pub count: i64,
}

#[derive(FromQueryResult)]
struct Group {
    has_email: bool,
    has_phone: bool,
    has_linkedin: bool,
    email_suppressed: Option<String>,
    sms_suppressed: Option<String>,
    whatsapp_suppressed: Option<String>,
    call_suppressed: Option<String>,
    linkedin_suppressed: Option<String>,
    has_run: bool,
    active: bool,
    count: i64,
}

/// How many people there are of each kind that enrolling into a sequence tells apart.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn alike(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    among: Among<'_>,
) -> Result<Vec<Alike>> {
    let mut arguments = Arguments::new()
        .with(workspace.uuid())
        .with(sequence.uuid());
    let conditions = match among {
        Among::Ids(ids) => {
            let list = arguments.among(connection, ids.iter().map(|id| id.uuid()));
            format!("p.id {list}")
        }
        Among::Filter(filter, as_of) => {
            chosen(connection, workspace, filter, as_of, &mut arguments)
        }
    };
    let suppressed = SUPPRESSED.map(|(_, column)| column).join(", ");
    let columns = format!("has_email, has_phone, has_linkedin, {suppressed}, has_run, active");
    let statement = format!(
        "SELECT {columns}, count(*) AS count FROM (
             {} WHERE p.workspace_id = $1 AND p.erased_at IS NULL AND {conditions}
         ) AS c GROUP BY {columns}",
        candidates(connection)
    );
    let groups: Vec<Group> = sql::all(connection, &statement, arguments).await?;
    Ok(groups.into_iter().map(Alike::from).collect())
}

impl From<Group> for Alike {
    fn from(group: Group) -> Self {
        Self {
            candidate: Candidate {
                id: Uuid::nil(),
                has_email: group.has_email,
                has_phone: group.has_phone,
                has_linkedin: group.has_linkedin,
                time_zone: None,
                country: None,
                email_suppressed: group.email_suppressed,
                sms_suppressed: group.sms_suppressed,
                whatsapp_suppressed: group.whatsapp_suppressed,
                call_suppressed: group.call_suppressed,
                linkedin_suppressed: group.linkedin_suppressed,
                last_round: i32::from(group.has_run),
                has_run: group.has_run,
                active: group.active,
            },
            count: group.count,
        }
    }
}

/// The first people that a filter chooses who were there by `as_of`, in the order in which they were
/// entered.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn sample(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: Filter<'_>,
    as_of: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<Row>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let conditions = chosen(connection, workspace, filter, as_of, &mut arguments);
    let statement = format!(
        "SELECT p.* FROM person p WHERE p.workspace_id = $1 AND p.erased_at IS NULL
             AND {conditions} ORDER BY p.id LIMIT {limit}"
    );
    sql::all(connection, &statement, arguments).await
}
