//! API tokens: who may use the API, what they used it for, and letting go of them.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{
    Context, Enum, ID, InputObject, MaybeUndefined, Object, Result, SimpleObject, dataloader,
};

use super::context::ContextExt;
use super::error::{UserError, user_errors};
use super::loader::{LoadError, Loaders};
use super::node;
use super::page::{Connection, PageArgs};
use super::problems::Problems;
use super::prompt::Prompt;
use super::scalar::{Date, DateTime};
use super::sequence::Sequence;
use crate::app::token::{self as app, Terms};
use crate::app::{AppError, Role};
use crate::domain::id::TokenId;
use crate::domain::scope::SequenceScope;
use crate::store::token::{self as store, Page, Row, Use};
use crate::store::{StoreError, scope};

/// The names of the lists in their cursors.
const TOKENS: &str = "tokens";
const USES: &str = "tokenUses";

/// What a token allows; each role includes those before it.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(name = "Role", remote = "Role")]
pub enum TokenRole {
    /// Reads.
    Viewer,
    /// Also writes: sequences, people, leads.
    Editor,
    /// Also manages senders, tokens and the workspace.
    Admin,
}

/// A token that lets a program or a person use the API. Its secret is shown once, when it is made,
/// and only its hash is kept.
pub struct ApiToken(Arc<Row>);

/// A token that lets a program or a person use the API. Its secret is shown once, when it is made,
/// and only its hash is kept.
#[Object]
impl ApiToken {
    /// The token's id. It is no secret: nobody gets in with it.
    pub async fn id(&self) -> ID {
        self.token_id().into()
    }

    /// What the token is for, in the words of whoever made it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What the token allows.
    async fn role(&self) -> Result<TokenRole> {
        let role: Role = self
            .0
            .role
            .parse()
            .map_err(|error| StoreError::corrupt("role", error))?;
        Ok(role.into())
    }

    /// How its secret begins, to recognise it by.
    async fn hint(&self) -> &str {
        &self.0.hint
    }

    /// The sequences that it is limited to, with their leads, executions and events. Null, it is not
    /// limited.
    async fn sequences(&self, ctx: &Context<'_>) -> Result<Option<Vec<Sequence>>> {
        let scope = scope::read(self.0.sequence_ids.as_ref())?;
        let Some(ids) = scope.sequences() else {
            return Ok(None);
        };
        let mut found = ctx.loaders()?.load_many(ids.iter().copied()).await?;
        let rows = ids.iter().filter_map(|id| found.remove(id));
        Ok(Some(rows.map(Sequence).collect()))
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime::from_ms(self.0.created_at)
    }

    /// Who made it: a token's id, or "command line".
    async fn created_by(&self) -> &str {
        &self.0.created_by
    }

    /// When it ends by itself; null, never.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime::from_ms)
    }

    /// When it was revoked; null, it was not.
    async fn revoked_at(&self) -> Option<DateTime> {
        self.0.revoked_at.map(DateTime::from_ms)
    }

    /// Who revoked it: a token's id; null, it was not revoked.
    async fn revoked_by(&self) -> Option<&str> {
        self.0.revoked_by.as_deref()
    }

    /// When it was last used, to within seconds; null, never.
    async fn last_used_at(&self) -> Option<DateTime> {
        self.0.last_used_at.map(DateTime::from_ms)
    }

    /// Whether it lets anybody in now.
    async fn is_valid(&self, ctx: &Context<'_>) -> bool {
        store::is_valid(&self.0, ctx.services().clock.now())
    }

    /// What it was used for in the last 90 days, by day and address; the latest first.
    async fn uses(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, from the beginning: 1 to 250, 50 if left out.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "At most so many, from the end: 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<Connection<TokenUse>> {
        let workspace = ctx.caller_within()?.workspace;
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page = args.read::<(String, String)>(ctx, USES)?;
        let wanted = Page {
            after: page.after.clone(),
            before: page.before.clone(),
            backward: page.backward,
            limit: page.fetch(),
        };
        let db = ctx.services().db.read();
        let rows = store::uses(db, workspace, self.token_id(), wanted).await?;
        let key = |row: &Use| (row.day.clone(), row.address.clone());
        Ok(page.connection(USES, rows, key, TokenUse))
    }
}

impl ApiToken {
    fn token_id(&self) -> TokenId {
        TokenId::from_uuid(self.0.id)
    }
}

impl Prompt for ApiToken {
    const AT_ONCE: &'static [&'static str] = &[
        "id",
        "name",
        "role",
        "hint",
        "createdAt",
        "createdBy",
        "expiresAt",
        "revokedAt",
        "revokedBy",
        "lastUsedAt",
        "isValid",
    ];
}

/// What a token was used for on one day, from one address.
pub struct TokenUse(Use);

impl Prompt for TokenUse {
    const AT_ONCE: &'static [&'static str] =
        &["day", "address", "requests", "refused", "firstAt", "lastAt"];
}

/// What a token was used for on one day, from one address.
#[Object]
impl TokenUse {
    /// The day, in UTC.
    async fn day(&self) -> Result<Date> {
        let day = self
            .0
            .day
            .parse()
            .map_err(|error| StoreError::corrupt("day of a use", error))?;
        Ok(Date(day))
    }

    /// The network address that the requests came from, of IPv6 its network of 64 bits; "others" stands
    /// for those beyond fifty a day.
    async fn address(&self) -> &str {
        &self.0.address
    }

    /// How many requests were served; each operation of a batch or a WebSocket counts as one.
    async fn requests(&self) -> i64 {
        self.0.requests
    }

    /// How many were refused: too many at once, or after the token was revoked or had expired.
    async fn refused(&self) -> i64 {
        self.0.refused
    }

    /// The first of them.
    async fn first_at(&self) -> DateTime {
        DateTime::from_ms(self.0.first_at)
    }

    /// The last of them.
    async fn last_at(&self) -> DateTime {
        DateTime::from_ms(self.0.last_at)
    }
}

impl dataloader::Loader<TokenId> for Loaders {
    type Value = Arc<Row>;
    type Error = LoadError;

    async fn load(&self, ids: &[TokenId]) -> Result<HashMap<TokenId, Self::Value>, LoadError> {
        let rows = store::find_many(self.services.db.read(), self.workspace, ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| (TokenId::from_uuid(row.id), Arc::new(row)))
            .collect())
    }
}

/// The token with this id, if the caller's workspace has it and the caller may see it: an admin sees
/// all, everybody else their own.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: TokenId) -> Result<Option<ApiToken>> {
    let caller = ctx.caller_within()?;
    if caller.role < Role::Admin && caller.token != id {
        return Ok(None);
    }
    Ok(ctx.loaders()?.load_one(id).await?.map(ApiToken))
}

/// Reading tokens.
#[derive(Default)]
pub struct TokenQuery;

#[Object]
impl TokenQuery {
    /// The token that this request came with.
    async fn current_token(&self, ctx: &Context<'_>) -> Result<ApiToken> {
        let id = ctx.caller_within()?.token;
        let found = load(ctx, id).await?;
        // It let this request in a moment ago, and tokens are never deleted.
        Ok(found.ok_or_else(|| StoreError::corrupt("token", "it is gone"))?)
    }

    /// The workspace's tokens, revoked and expired ones included, in the order in which they were
    /// made. Needs the role ADMIN.
    async fn tokens(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, from the beginning: 1 to 250, 50 if left out.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "At most so many, from the end: 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<Connection<ApiToken>> {
        let workspace = ctx.require(Role::Admin)?.workspace;
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page = args.read::<TokenId>(ctx, TOKENS)?;
        let wanted = Page {
            after: page.after,
            before: page.before,
            backward: page.backward,
            limit: page.fetch(),
        };
        let db = ctx.services().db.clone();
        let rows = store::page(db.read(), workspace, wanted).await?;
        let key = |row: &Row| TokenId::from_uuid(row.id);
        let connection = page.connection(TOKENS, rows, key, |row| ApiToken(Arc::new(row)));
        Ok(connection.counted(move || {
            let db = db.clone();
            async move { store::count(db.read(), workspace).await }
        }))
    }
}

/// A token to make.
#[derive(InputObject)]
pub struct TokenCreateInput {
    /// What it is for, from 1 to 100 characters: "leads dashboard".
    name: String,
    /// What it allows.
    role: TokenRole,
    /// When it ends by itself; left out, never.
    expires_at: Option<DateTime>,
    /// Limit it to these sequences, at most 100: nothing is seen of the others and of what belongs to
    /// the workspace as a whole, such as the list of people, and an EDITOR changes nothing of them.
    /// Left out, it is not limited. Only for a VIEWER or an EDITOR.
    sequence_ids: MaybeUndefined<Vec<ID>>,
}

/// A token to revoke.
#[derive(InputObject)]
pub struct TokenRevokeInput {
    /// The token.
    id: ID,
    /// Also end the bulk operations that were begun with it and are not over; what they have done
    /// stays done. Otherwise they go on.
    #[graphql(default_with = "Some(false)")]
    cancel_operations: Option<bool>,
}

/// A token that was made.
#[derive(SimpleObject)]
pub struct TokenCreatePayload {
    /// The token; null where the mutation was refused.
    token: Option<ApiToken>,
    /// What to send as `Authorization: Bearer …`. It is shown this once and cannot be read again;
    /// null where the mutation was refused.
    secret: Option<String>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

impl TokenCreatePayload {
    const fn refused(user_errors: Vec<UserError>) -> Self {
        Self {
            token: None,
            secret: None,
            user_errors,
        }
    }
}

/// A token after a mutation.
#[derive(SimpleObject)]
pub struct TokenPayload {
    /// The token as it is now; null where the mutation was refused.
    token: Option<ApiToken>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

impl TokenPayload {
    fn of(done: Result<Row, AppError>) -> Result<Self> {
        Ok(match done {
            Ok(row) => Self {
                token: Some(ApiToken(Arc::new(row))),
                user_errors: Vec::new(),
            },
            Err(error) => Self::refused(user_errors(error)?),
        })
    }

    fn refused(user_errors: Vec<UserError>) -> Self {
        Self {
            token: None,
            user_errors,
        }
    }
}

/// Changing tokens.
#[derive(Default)]
pub struct TokenMutation;

#[Object]
impl TokenMutation {
    /// Makes a token of this workspace and shows its secret, this once. Sent twice, it makes two:
    /// revoke the one whose secret did not arrive. Needs the role ADMIN.
    async fn token_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token.")] input: TokenCreateInput,
    ) -> Result<TokenCreatePayload> {
        let caller = ctx.require(Role::Admin)?;
        let mut problems = Problems::of(&[]);
        let scope = match input.sequence_ids {
            MaybeUndefined::Undefined => SequenceScope::All,
            MaybeUndefined::Null => {
                // A variable that was left empty must not open the whole workspace.
                let message = "sequenceIds is null: name sequences, or leave it out for a token of \
                               the whole workspace.";
                problems.add(&["sequenceIds"], message.to_owned());
                SequenceScope::only([])
            }
            MaybeUndefined::Value(ids) => {
                problems.bound(ids.len(), app::SEQUENCES_MAX, &["sequenceIds"]);
                SequenceScope::only(problems.each(&ids, "sequenceIds", node::id))
            }
        };
        if !problems.found.is_empty() {
            return Ok(TokenCreatePayload::refused(problems.found));
        }
        let terms = Terms {
            name: input.name,
            role: input.role.into(),
            expires_at: input.expires_at.map(|at| at.0),
            scope,
        };
        Ok(match app::add(ctx.services(), caller, &terms).await {
            Ok((secret, row)) => TokenCreatePayload {
                token: Some(ApiToken(Arc::new(row))),
                secret: Some(secret),
                user_errors: Vec::new(),
            },
            Err(error) => TokenCreatePayload::refused(user_errors(error)?),
        })
    }

    /// Revokes a token: within a second no node lets it in, and what follows events with it is cut
    /// off. A token cannot revoke itself. Needs the role ADMIN.
    async fn token_revoke(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token.")] input: TokenRevokeInput,
    ) -> Result<TokenPayload> {
        let caller = ctx.require(Role::Admin)?;
        match node::id(&input.id, &["id"]) {
            Ok(id) => {
                let ends_operations = input.cancel_operations.unwrap_or(false);
                TokenPayload::of(app::revoke(ctx.services(), caller, id, ends_operations).await)
            }
            Err(error) => Ok(TokenPayload::refused(vec![error])),
        }
    }
}
