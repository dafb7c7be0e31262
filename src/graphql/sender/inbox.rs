//! Where answers to a sender's emails arrive, in the API.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Enum, InputObject, SimpleObject, dataloader};

use super::SmtpSecurity;
use super::oauth::MailLogin;
use crate::app::sender as app;
use crate::clock::from_ms;
use crate::domain::id::SenderId;
use crate::domain::inbox as domain;
use crate::domain::oauth;
use crate::graphql::loader::{LoadError, Loaders};
use crate::graphql::scalar::DateTime;
use crate::store::{StoreError, mailbox};

/// A mailbox where answers to a sender's emails arrive. It is read by IMAP from the moment on at which it
/// is set up; nothing in it is deleted or marked as read.
#[derive(SimpleObject, Debug, Clone)]
pub struct Inbox {
    /// The server's name or address.
    host: String,
    /// Its port.
    port: i32,
    /// How the connection is protected.
    security: SmtpSecurity,
    /// Who logs in.
    username: String,
    /// By what.
    login: MailLogin,
    /// The folder that is read.
    folder: String,
    /// How the reading stands.
    state: InboxState,
    /// Why it could not be read the last time, with what helps; null where it could.
    reason: Option<String>,
    /// When it is tried again; null where it is being read.
    retry_at: Option<DateTime>,
}

impl Inbox {
    fn of(row: &mailbox::Row) -> Result<Self, StoreError> {
        let place = mailbox::place(row)?;
        let state: domain::InboxState =
            (row.state.parse()).map_err(|_| StoreError::corrupt("mailbox's state", &row.state))?;
        Ok(Self {
            host: place.host,
            port: i32::from(place.port),
            security: place.security.into(),
            username: place.username,
            login: place.login.into(),
            folder: place.folder,
            state: state.into(),
            reason: row.reason.clone(),
            retry_at: row.retry_at.map(from_ms).map(DateTime),
        })
    }
}

/// How the reading of a mailbox stands.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::InboxState")]
pub enum InboxState {
    /// Nobody has read it since it was set up or changed.
    Waiting,
    /// The server tells of new mail at once (IMAP IDLE).
    Watched,
    /// The server, which does not tell by itself, is asked for new mail again and again.
    Polled,
    /// It could not be read the last time: the reason says why.
    Failed,
}

/// A mailbox where answers to a sender's emails arrive. What is in it already is not read.
#[derive(InputObject)]
pub struct InboxInput {
    /// The server's name or address. Whoever runs the server may have limited the private networks
    /// where it can be (`--allow-smtp-networks`).
    host: String,
    /// Its port: usually 993 with TLS, 143 with STARTTLS.
    port: i32,
    /// How the connection is protected.
    security: SmtpSecurity,
    /// Who logs in.
    username: String,
    /// By what; left out, by a password.
    login: Option<MailLogin>,
    /// Write-only: the password, or the access token, which no answer shows. It may be left out as long
    /// as the host, the username and the kind of login stay and the connection is protected as
    /// before; and for XOAUTH2 where the same mutation gives the sender `oauth`, whose access tokens are used
    /// then. A token that was written down is given again where the sender has `oauth` besides.
    secret: Option<String>,
    /// The folder that is read; left out, INBOX. Beyond ASCII it is written as the server writes it
    /// (modified UTF-7, RFC 3501 §5.1.3).
    folder: Option<String>,
}

impl From<InboxInput> for app::InboxInput {
    fn from(input: InboxInput) -> Self {
        Self {
            host: input.host,
            port: input.port,
            security: input.security.into(),
            username: input.username,
            login: input.login.map_or(oauth::MailLogin::Password, Into::into),
            secret: input.secret,
            folder: input.folder,
        }
    }
}

/// The inbox of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct InboxOf(pub SenderId);

impl dataloader::Loader<InboxOf> for Loaders {
    type Value = Arc<Inbox>;
    type Error = LoadError;

    async fn load(&self, keys: &[InboxOf]) -> Result<HashMap<InboxOf, Self::Value>, LoadError> {
        let ids: Vec<SenderId> = keys.iter().map(|key| key.0).collect();
        let rows = mailbox::find_many(self.services.db.read(), self.workspace, &ids).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let of = InboxOf(SenderId::from_uuid(row.sender_id));
            found.insert(of, Arc::new(Inbox::of(&row)?));
        }
        Ok(found)
    }
}
