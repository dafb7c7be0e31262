//! What a sender's access tokens are got with, in the API.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Enum, InputObject, SimpleObject, dataloader};

use crate::app::sender as app;
use crate::clock::from_ms;
use crate::domain::id::SenderId;
use crate::domain::oauth as domain;
use crate::graphql::loader::{LoadError, Loaders};
use crate::graphql::scalar::{DateTime, Url};
use crate::store::{StoreError, grant};

/// By what somebody logs in at a mail server.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::MailLogin")]
pub enum MailLogin {
    /// A password.
    Password,
    /// An access token of OAuth 2, by SASL XOAUTH2: that of the sender's `oauth`, or one that was written
    /// down with the login, which lasts as long as its provider lets it.
    #[graphql(name = "XOAUTH2")]
    Xoauth2,
}

/// What a sender's access tokens are got with: a grant of OAuth 2 to a client (RFC 6749). They are refreshed
/// shortly before they end, by one node at a time. Its tokens and secrets are never shown.
#[derive(SimpleObject, Debug, Clone)]
pub struct OAuthGrant {
    /// Where the token server is.
    token_url: Url,
    /// The name of the client that the grant was given to.
    client_id: String,
    /// What access is asked for, with spaces between; null, all that was granted.
    scope: Option<String>,
    /// How it stands.
    state: OAuthState,
    /// When the access token ends; null where there is none yet, or where the token server did not say.
    expires_at: Option<DateTime>,
    /// When the token server last gave an access token; null where it has not yet.
    last_refreshed_at: Option<DateTime>,
    /// Why the token server gave none the last time, with what helps; null where it did.
    problem: Option<String>,
}

/// How a grant of OAuth stands.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::GrantState")]
pub enum OAuthState {
    /// No access token was asked for yet: it is when somebody logs in.
    Waiting,
    /// The token server gave an access token the last time.
    Ready,
    /// The token server could not be asked the last time, or could not answer: it is asked again by
    /// itself.
    Failing,
    /// The token server refused the last time: the problem says what to do.
    Refused,
}

impl OAuthGrant {
    fn of(row: &grant::Row) -> Result<Self, StoreError> {
        let (written, state) = (grant::written(row), grant::state(row)?);
        Ok(Self {
            token_url: written.token_url.as_str().into(),
            client_id: written.client_id,
            scope: written.scope,
            state: state.into(),
            expires_at: row.expires_at.map(from_ms).map(DateTime),
            last_refreshed_at: row.refreshed_at.map(from_ms).map(DateTime),
            problem: row.problem.clone(),
        })
    }
}

/// A grant of OAuth 2 that somebody gave to a client of yours, by the provider's page of consent.
#[derive(InputObject)]
pub struct OAuthInput {
    /// Where the token server is: an address of https, such as https://oauth2.googleapis.com/token. A private
    /// address must be allowed by whoever runs the server (`--allow-networks`).
    token_url: Url,
    /// The name of the client that the grant was given to.
    client_id: String,
    /// Write-only: the client's secret; left out, it has none (a public client).
    client_secret: Option<String>,
    /// Write-only: the refresh token. Where the token server gives another one in its place, that one is
    /// kept.
    refresh_token: String,
    /// What access is asked for, with spaces between; left out, all that was granted.
    scope: Option<String>,
}

impl From<OAuthInput> for app::OAuthInput {
    fn from(input: OAuthInput) -> Self {
        Self {
            token_url: input.token_url.0,
            client_id: input.client_id,
            client_secret: input.client_secret,
            refresh_token: input.refresh_token,
            scope: input.scope,
        }
    }
}

/// The grant of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct GrantOf(pub SenderId);

impl dataloader::Loader<GrantOf> for Loaders {
    type Value = Arc<OAuthGrant>;
    type Error = LoadError;

    async fn load(&self, keys: &[GrantOf]) -> Result<HashMap<GrantOf, Self::Value>, LoadError> {
        let ids: Vec<SenderId> = keys.iter().map(|key| key.0).collect();
        let rows = grant::find_many(self.services.db.read(), self.workspace, &ids).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let of = GrantOf(SenderId::from_uuid(row.sender_id));
            found.insert(of, Arc::new(OAuthGrant::of(&row)?));
        }
        Ok(found)
    }
}
