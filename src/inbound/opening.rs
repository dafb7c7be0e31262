//! Opening the mailbox of a sender: by its own password or token, or by an access token of the sender's
//! grant, which is replaced once where the server does not take it.

use crate::app::Services;
use crate::channel::imap::{ImapConfig, ImapError, ImapTimeouts, Mailbox};
use crate::channel::oauth::{AccessTokens, GrantOf, TokenError};
use crate::channel::smtp::{Secret, Security};
use crate::domain::id::{SenderId, WorkspaceId};
use crate::domain::sender::SmtpSecurity;
use crate::store::StoreError;
use crate::store::mailbox::{self, Row};

/// Why a mailbox cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The password or token cannot be opened.
    #[error("The password or token cannot be opened ({0}): give it again.")]
    Secret(String),
    /// The sender's grant gives no access token.
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Imap(#[from] ImapError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Whether the login was refused: to go on trying would lock the account.
    pub(super) fn is_login(&self) -> bool {
        match self {
            Self::Imap(error) => error.is_login(),
            Self::Token(error) => error.is_final(),
            Self::Secret(_) | Self::Store(_) => false,
        }
    }

    /// What kind of trouble it is, for the log.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Imap(error) => error.kind(),
            Self::Token(error) if error.is_final() => "grant refused",
            Self::Token(_) => "no access token",
            Self::Secret(_) => "secret",
            Self::Store(_) => "database",
        }
    }
}

/// Opens a mailbox, whose server may take so long.
///
/// # Errors
/// [`OpenError`], which says what is in the way.
pub(super) async fn open(
    services: &Services,
    row: &Row,
    timeouts: ImapTimeouts,
) -> Result<Mailbox, OpenError> {
    let workspace = WorkspaceId::from_uuid(row.workspace_id);
    if let Some(sealed) = &row.secret {
        let opened = services.secrets.open(workspace, row.sender_id, sealed);
        let secret = opened.map_err(|error| OpenError::Secret(error.to_string()))?;
        let config = config(services, row, (Secret::new(secret), timeouts))?;
        return Ok(Mailbox::open(&config).await?);
    }
    let of = GrantOf {
        workspace,
        sender: SenderId::from_uuid(row.sender_id),
    };
    let token = services.grants.token(of, None).await?;
    let mut config = config(services, row, (token, timeouts))?;
    match Mailbox::open(&config).await {
        Err(error) if error.is_login() => {
            // It may have been taken back before its end.
            config.secret = services.grants.token(of, Some(&config.secret)).await?;
            let opened = Mailbox::open(&config).await;
            Ok(opened.map_err(with_remedy)?)
        }
        opened => Ok(opened?),
    }
}

/// A token that was just made is refused for what it stands for.
fn with_remedy(error: ImapError) -> ImapError {
    match error {
        ImapError::Login(said) => ImapError::Login(format!(
            "{said} (The access token is fresh: see that the username is the mailbox's own, that the grant \
             covers IMAP, and that the provider lets the mailbox be read by IMAP.)"
        )),
        error => error,
    }
}

fn config(
    services: &Services,
    row: &Row,
    (secret, timeouts): (Secret, ImapTimeouts),
) -> Result<ImapConfig, StoreError> {
    let place = mailbox::place(row)?;
    Ok(ImapConfig {
        host: place.host,
        port: place.port,
        reach: services.transports.mail_reach().clone(),
        security: match place.security {
            SmtpSecurity::None => Security::None,
            SmtpSecurity::Starttls => Security::StartTls,
            SmtpSecurity::Tls => Security::Tls,
        },
        username: place.username,
        login: place.login,
        secret,
        folder: place.folder,
        timeouts,
        extra_roots: Vec::new(),
    })
}
