//! The keys that emails are signed with, in the API.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject, dataloader};

use super::context::ContextExt;
use super::error::{UserError, user_errors};
use super::loader::{LoadError, Loaders};
use super::node;
use super::scalar::DateTime;
use crate::app::dkim::{self as app, NewKey};
use crate::app::{AppError, Role};
use crate::domain::dkim as domain;
use crate::domain::id::{DkimKeyId, SenderId};
use crate::store::dkim::{self as store, Row};

/// A key that emails of a domain are signed with (DKIM, RFC 6376), so that receivers know that nobody else
/// wrote them. Its private half is in no answer.
pub struct DkimKey(pub Arc<Row>);

/// A key that emails of a domain are signed with (DKIM, RFC 6376), so that receivers know that nobody else
/// wrote them. Its private half is in no answer.
#[Object]
impl DkimKey {
    /// The key's id.
    pub async fn id(&self) -> ID {
        DkimKeyId::from_uuid(self.0.id).into()
    }

    /// The domain whose emails it signs, and those of the domains below it which have no key of their own.
    async fn domain(&self) -> &str {
        &self.0.domain
    }

    /// The name under which it is published.
    async fn selector(&self) -> &str {
        &self.0.selector
    }

    /// Whether it signs. At most one key of a domain does.
    async fn enabled(&self) -> bool {
        self.0.enabled
    }

    /// What is to be published in the DNS, so that receivers find the key: before it signs, and as long
    /// after it as emails may be on their way.
    async fn record(&self) -> DnsRecord {
        app::record_of(&self.0).into()
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime::from_ms(self.0.created_at)
    }

    /// When it was last switched on or off, or made.
    async fn updated_at(&self) -> DateTime {
        DateTime::from_ms(self.0.updated_at)
    }
}

impl From<Row> for DkimKey {
    fn from(row: Row) -> Self {
        Self(Arc::new(row))
    }
}

/// A record to publish in the DNS. Its type is TXT.
#[derive(SimpleObject, Debug)]
pub struct DnsRecord {
    /// Its name in full, without the dot at the end.
    name: String,
    /// What it says. A name server's page may want it in pieces of at most 255 characters, each in quotes.
    value: String,
}

impl From<domain::DnsRecord> for DnsRecord {
    fn from(record: domain::DnsRecord) -> Self {
        Self {
            name: record.name,
            value: record.value,
        }
    }
}

impl dataloader::Loader<DkimKeyId> for Loaders {
    type Value = Arc<Row>;
    type Error = LoadError;

    async fn load(&self, ids: &[DkimKeyId]) -> Result<HashMap<DkimKeyId, Self::Value>, LoadError> {
        let db = self.services.db.read();
        let rows = store::find_many(db, self.workspace, ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| (DkimKeyId::from_uuid(row.id), Arc::new(row)))
            .collect())
    }
}

/// The key of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct DkimKeyOf(pub SenderId);

impl dataloader::Loader<DkimKeyOf> for Loaders {
    type Value = Arc<Row>;
    type Error = LoadError;

    async fn load(&self, keys: &[DkimKeyOf]) -> Result<HashMap<DkimKeyOf, Self::Value>, LoadError> {
        let db = self.services.db.read();
        let senders: Vec<SenderId> = keys.iter().map(|key| key.0).collect();
        let signed = store::of_senders(db, self.workspace, &senders).await?;
        Ok((signed.into_iter())
            .map(|(sender, row)| (DkimKeyOf(sender), Arc::new(row)))
            .collect())
    }
}

/// The key with this id, if the caller's workspace has it, and the caller is not limited to some of its
/// sequences.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: DkimKeyId) -> Result<Option<DkimKey>> {
    if !ctx.caller_within()?.scope.is_all() {
        return Ok(None);
    }
    Ok(ctx.loaders()?.load_one(id).await?.map(DkimKey))
}

/// Reading keys.
#[derive(Default)]
pub struct DkimQuery;

#[Object]
impl DkimQuery {
    /// The keys that emails are signed with, by domain, the oldest first; a workspace has at most 200.
    async fn dkim_keys(&self, ctx: &Context<'_>) -> Result<Vec<DkimKey>> {
        let workspace = ctx.caller()?.workspace;
        let rows = store::list(ctx.services().db.read(), workspace).await?;
        Ok(rows.into_iter().map(DkimKey::from).collect())
    }
}

/// A key to make.
#[derive(InputObject)]
pub struct DkimKeyCreateInput {
    /// The domain whose emails it is to sign, such as example.com.
    domain: String,
    /// The name under which it is published: letters, digits, dashes and dots, at most 63 characters; left
    /// out, cadenza. A new key beside an old one needs another name.
    selector: Option<String>,
    /// Write-only: an RSA key of 2048 to 4096 bits in PEM, to go on with one that is published already; left
    /// out, one of 2048 bits is made.
    private_key: Option<String>,
}

/// A key to switch on or off.
#[derive(InputObject)]
pub struct DkimKeyUpdateInput {
    /// The key.
    id: ID,
    /// Whether it signs. Another key of the same domain that does stops.
    enabled: bool,
    /// Switches it on also where the DNS does not show its record, as when this server sees other name
    /// servers than receivers do.
    #[graphql(default_with = "Some(false)")]
    even_unpublished: Option<bool>,
}

/// A key to delete.
#[derive(InputObject)]
pub struct DkimKeyDeleteInput {
    /// The key.
    id: ID,
}

/// What a mutation of a key answers.
#[derive(SimpleObject)]
pub struct DkimKeyPayload {
    /// The key as it is now; null where the mutation was refused.
    dkim_key: Option<DkimKey>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

impl DkimKeyPayload {
    fn of(done: Result<Row, AppError>) -> Result<Self> {
        Ok(match done {
            Ok(row) => Self {
                dkim_key: Some(row.into()),
                user_errors: Vec::new(),
            },
            Err(error) => Self::refused(user_errors(error)?),
        })
    }

    const fn refused(user_errors: Vec<UserError>) -> Self {
        Self {
            dkim_key: None,
            user_errors,
        }
    }
}

/// A key that was deleted.
#[derive(SimpleObject)]
pub struct DkimKeyDeletePayload {
    /// The id of the key that is gone; null where the mutation was refused.
    deleted_id: Option<ID>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

/// Changing keys.
#[derive(Default)]
pub struct DkimMutation;

#[Object]
impl DkimMutation {
    /// Makes a key to sign the emails of a domain with, or takes one over. It signs nothing yet: publish its
    /// record, then switch it on by dkimKeyUpdate. Needs the role ADMIN.
    async fn dkim_key_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of which domain.")] input: DkimKeyCreateInput,
    ) -> Result<DkimKeyPayload> {
        let caller = ctx.require(Role::Admin)?;
        let new = NewKey {
            domain: input.domain,
            selector: input.selector,
            private_key: input.private_key,
        };
        DkimKeyPayload::of(app::create(ctx.services(), caller, new).await)
    }

    /// Switches a key on, if the DNS shows its record, or off. Emails that leave from then on are signed by
    /// it, or not. Needs the role ADMIN.
    async fn dkim_key_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which key, and whether it signs.")] input: DkimKeyUpdateInput,
    ) -> Result<DkimKeyPayload> {
        let caller = ctx.require(Role::Admin)?;
        let id = match node::id(&input.id, &["id"]) {
            Ok(id) => id,
            Err(error) => return Ok(DkimKeyPayload::refused(vec![error])),
        };
        let even_unpublished = input.even_unpublished.unwrap_or(false);
        DkimKeyPayload::of(if input.enabled {
            app::enable(ctx.services(), caller, id, even_unpublished).await
        } else {
            app::disable(ctx.services(), caller, id).await
        })
    }

    /// Deletes a key that is switched off. Leave its record published for some days, for what is on its way.
    /// Needs the role ADMIN.
    async fn dkim_key_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which key.")] input: DkimKeyDeleteInput,
    ) -> Result<DkimKeyDeletePayload> {
        let caller = ctx.require(Role::Admin)?;
        let deleted = match node::id(&input.id, &["id"]) {
            Ok(id) => match app::delete(ctx.services(), caller, id).await {
                Ok(()) => Ok(()),
                Err(error) => Err(user_errors(error)?),
            },
            Err(error) => Err(vec![error]),
        };
        Ok(match deleted {
            Ok(()) => DkimKeyDeletePayload {
                deleted_id: Some(input.id),
                user_errors: Vec::new(),
            },
            Err(user_errors) => DkimKeyDeletePayload {
                deleted_id: None,
                user_errors,
            },
        })
    }
}
