//! What people have opted out of: addresses that must not be contacted, by channel.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use super::{KEYS_PER_STATEMENT, Row};
use crate::domain::flow::Channel;
use crate::domain::id::{PersonId, WorkspaceId};
use crate::store::Result;
use crate::store::claim::parse;
use crate::store::dialect;
use crate::store::sql::{self, Arguments};

/// The channels that somebody can opt out of.
pub const CHANNELS: [Channel; 5] = [
    Channel::Email,
    Channel::Sms,
    Channel::Whatsapp,
    Channel::Call,
    Channel::Linkedin,
];

/// The reason of an address whose owner has opted out.
pub const OPTED_OUT: &str = "UNSUBSCRIBED";
/// The reason of an address that does not exist or refuses for good: it says nothing of the person.
const BOUNCED: &str = "BOUNCED";

/// A person's address on a channel, as suppressions know it.
pub fn address(row: &Row, channel: Channel) -> Option<&str> {
    match channel {
        Channel::Email => row.email_key.as_deref(),
        Channel::Sms | Channel::Whatsapp | Channel::Call => row.phone.as_deref(),
        Channel::Linkedin => row.linkedin_url.as_deref(),
        Channel::Task | Channel::Webhook => None,
    }
}

/// An address that must not be contacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// On this channel.
    pub channel: Channel,
    /// The address.
    pub address: String,
    /// Why.
    pub reason: String,
}

impl Suppressed {
    /// Whether it follows from what the person wants, and not from what is wrong with the address.
    pub fn is_of_person(&self) -> bool {
        self.reason != BOUNCED
    }
}

#[derive(FromQueryResult)]
struct Found {
    channel: String,
    address: String,
    reason: String,
}

/// Which of the addresses must not be contacted, each with its channel.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn suppressed(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    addresses: &[(Channel, String)],
) -> Result<Vec<Suppressed>> {
    let mut found = Vec::new();
    for chunk in addresses.chunks(KEYS_PER_STATEMENT) {
        let mut arguments = Arguments::new().with(workspace.uuid());
        let rows = arguments.table(
            connection,
            chunk.iter().map(|(channel, address)| -> [Value; 2] {
                [address.as_str().into(), <&str>::from(*channel).into()]
            }),
        );
        // An address whose whole domain must not be contacted, must not.
        let domain = dialect::domain_of(connection.get_database_backend(), "v.address");
        let statement = format!(
            "WITH v (address, channel) AS ({rows})
             SELECT s.channel, v.address, s.reason FROM v JOIN suppression AS s
                 ON s.workspace_id = $1 AND s.channel = v.channel
                     AND s.address IN (v.address, {domain})"
        );
        let rows: Vec<Found> = sql::all(connection, &statement, arguments).await?;
        for row in rows {
            found.push(Suppressed {
                channel: parse("channel of a suppression", &row.channel)?,
                address: row.address,
                reason: row.reason,
            });
        }
    }
    Ok(found)
}

/// What is known of the consent of these people: their addresses that must not be contacted.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn of_people(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    people: &[&Row],
) -> Result<Vec<Suppressed>> {
    let addresses: BTreeSet<(Channel, String)> = people
        .iter()
        .flat_map(|row| {
            CHANNELS
                .into_iter()
                .filter_map(|channel| Some((channel, address(row, channel)?.to_owned())))
        })
        .collect();
    let addresses: Vec<_> = addresses.into_iter().collect();
    suppressed(connection, workspace, &addresses).await
}

/// Notes that the owner of these addresses has opted out. Answers the channels on which that was not known
/// before; an address that was suppressed for another reason is from now on for this one.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn opt_out(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    addresses: &[(Channel, String)],
    now: DateTime<Utc>,
) -> Result<Vec<Channel>> {
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let (insert, arguments) = entering(tx, workspace, addresses, OPTED_OUT, now);
    let statement = format!(
        "{insert} DO UPDATE SET reason = excluded.reason WHERE suppression.reason <> excluded.reason
         RETURNING channel, address, reason"
    );
    let rows: Vec<Found> = sql::all(tx, &statement, arguments).await?;
    let mut channels: Vec<Channel> = rows
        .iter()
        .map(|row| parse("channel of a suppression", &row.channel))
        .collect::<Result<_>>()?;
    channels.sort_unstable();
    Ok(channels)
}

/// Enters addresses for a reason, and answers those for which that is new. An address that is there already
/// keeps its reason, unless that is one of `weaker`.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn enter(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    addresses: &[(Channel, String)],
    (reason, weaker): (&str, &[&str]),
    now: DateTime<Utc>,
) -> Result<Vec<(Channel, String)>> {
    let mut entered = Vec::new();
    for chunk in addresses.chunks(KEYS_PER_STATEMENT) {
        let (insert, mut arguments) = entering(tx, workspace, chunk, reason, now);
        let weaker = arguments.list(weaker.iter().copied());
        let statement = format!(
            "{insert} DO UPDATE SET reason = excluded.reason WHERE suppression.reason IN ({weaker})
             RETURNING channel, address, reason"
        );
        let rows: Vec<Found> = sql::all(tx, &statement, arguments).await?;
        for row in rows {
            let channel = parse("channel of a suppression", &row.channel)?;
            entered.push((channel, row.address));
        }
    }
    entered.sort_unstable();
    Ok(entered)
}

/// The people who have one of these addresses: several may have one phone number. Costs what is found.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn people_at(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    addresses: &[(Channel, String)],
) -> Result<Vec<PersonId>> {
    let mut found = BTreeSet::new();
    for column in ["email_key", "phone", "linkedin_url"] {
        let of: BTreeSet<&str> = addresses
            .iter()
            .filter(|(channel, _)| column_of(*channel) == Some(column))
            .map(|(_, address)| address.as_str())
            .collect();
        let of: Vec<&str> = of.into_iter().collect();
        for chunk in of.chunks(KEYS_PER_STATEMENT) {
            let mut arguments = Arguments::new().with(workspace.uuid());
            let rows = arguments.table(tx, chunk.iter().map(|address| [Value::from(*address)]));
            let statement = format!(
                "WITH v (address) AS ({rows})
                 SELECT p.id FROM v JOIN person AS p
                     ON p.workspace_id = $1 AND p.{column} = v.address"
            );
            found.extend(sql::ids(tx, &statement, arguments).await?);
        }
    }
    Ok(found.into_iter().map(PersonId::from_uuid).collect())
}

/// The column of a person whose value a channel's suppressions name.
const fn column_of(channel: Channel) -> Option<&'static str> {
    match channel {
        Channel::Email => Some("email_key"),
        Channel::Sms | Channel::Whatsapp | Channel::Call => Some("phone"),
        Channel::Linkedin => Some("linkedin_url"),
        Channel::Task | Channel::Webhook => None,
    }
}

/// The beginning of a statement that enters these addresses, of which there is at least one, up to what
/// becomes of those that are there already: in one order for everybody, so that nobody waits in a circle.
pub(in crate::store) fn entering(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    addresses: &[(Channel, String)],
    reason: &str,
    now: DateTime<Utc>,
) -> (String, Arguments) {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut arguments = Arguments::new();
    let rows = arguments.table(
        tx,
        sorted.into_iter().map(|(channel, address)| -> [Value; 5] {
            [
                workspace.uuid().into(),
                <&str>::from(channel).into(),
                address.into(),
                reason.into(),
                now.timestamp_millis().into(),
            ]
        }),
    );
    let insert = format!(
        "INSERT INTO suppression (workspace_id, channel, address, reason, created_at)
         {rows} ON CONFLICT (workspace_id, channel, address)"
    );
    (insert, arguments)
}
