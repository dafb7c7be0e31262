//! The lists of addresses that must not be contacted: as they are shown, and what is taken off them. How
//! they are asked for people is in [`super::person::consent`].

use entity::suppression;
use sea_orm::ConnectionTrait;

use super::Result;
use super::sql::{self, Arguments};
use crate::domain::flow::Channel;
use crate::domain::id::WorkspaceId;

/// An entry's row.
pub type Row = suppression::Model;

/// Where an entry stands in the list: its channel and its address.
pub type Key = (String, String);

/// Which entries; every condition that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// On one of these channels.
    pub channels: Option<Vec<Channel>>,
    /// Whose address begins so.
    pub begins_with: Option<String>,
}

/// A part of the list.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// Only those after it.
    pub after: Option<Key>,
    /// Only those before it.
    pub before: Option<Key>,
    /// From the end of the list.
    pub backward: bool,
    /// At most so many.
    pub limit: u64,
}

impl Filter {
    fn condition(&self, workspace: WorkspaceId, arguments: &mut Arguments) -> String {
        let mut text = format!("s.workspace_id = {}", arguments.add(workspace.uuid()));
        if let Some(channels) = &self.channels {
            let list = arguments.list(channels.iter().map(<&str>::from));
            text.push_str(&format!(" AND s.channel IN ({list})"));
        }
        if let Some(begins_with) = &self.begins_with {
            let begin = arguments.add(begins_with.as_str());
            let length = begins_with.chars().count();
            text.push_str(&format!(" AND substr(s.address, 1, {length}) = {begin}"));
        }
        text
    }
}

/// A part of the workspace's list, by channel and address; in the opposite order where it is read from the
/// end.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &Filter,
    part: &Part,
) -> Result<Vec<Row>> {
    let mut arguments = Arguments::new();
    let mut conditions = filter.condition(workspace, &mut arguments);
    for (key, sign) in [(&part.after, ">"), (&part.before, "<")] {
        if let Some((channel, address)) = key {
            let channel = arguments.add(channel.as_str());
            let address = arguments.add(address.as_str());
            conditions.push_str(&format!(
                " AND (s.channel, s.address) {sign} ({channel}, {address})"
            ));
        }
    }
    let order = if part.backward { "DESC" } else { "ASC" };
    let statement = format!(
        "SELECT s.* FROM suppression AS s WHERE {conditions}
         ORDER BY s.channel {order}, s.address {order} LIMIT {}",
        part.limit
    );
    sql::all(connection, &statement, arguments).await
}

/// How many entries a filter chooses.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &Filter,
) -> Result<i64> {
    let mut arguments = Arguments::new();
    let conditions = filter.condition(workspace, &mut arguments);
    let statement = format!("SELECT count(*) AS n FROM suppression AS s WHERE {conditions}");
    sql::number(connection, &statement, arguments).await
}

/// Takes an entry off the list, and answers what it was; `None` where it was not there.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn remove(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    channel: Channel,
    address: &str,
) -> Result<Option<Row>> {
    let statement = "DELETE FROM suppression
         WHERE workspace_id = $1 AND channel = $2 AND address = $3 RETURNING *";
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(<&str>::from(channel))
        .with(address);
    sql::one(tx, statement, arguments).await
}
