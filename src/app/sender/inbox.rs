//! Where answers to a sender's emails arrive: read from what is written, with what is secret sealed.

use sea_orm::DatabaseTransaction;

use super::oauth::{GrantNow, elsewhere, written_or_granted};
use super::transport::{HOST_CHARS_MAX, PASSWORD_CHARS_MAX};
use super::{Caller, Refusal, Sender, Services, TEXT_CHARS_MAX, text};
use crate::domain::flow::Channel;
use crate::domain::inbox::{INBOX, Inbox};
use crate::domain::oauth::MailLogin;
use crate::domain::sender::SmtpSecurity;
use crate::store::StoreError;
use crate::store::mailbox;

/// A mailbox as it is written.
#[derive(Clone)]
pub struct InboxInput {
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// How the connection is protected.
    pub security: SmtpSecurity,
    /// Who logs in.
    pub username: String,
    /// By what.
    pub login: MailLogin,
    /// The password or the token; it may be left out as long as it is the same login, and of XOAUTH2 where
    /// the sender has a grant.
    pub secret: Option<String>,
    /// The folder; left out, [`INBOX`].
    pub folder: Option<String>,
}

/// Gives a sender its mailbox, or takes it away; answers everything that is wrong with it, and then nothing
/// has changed. The sender's row must be locked by this transaction, or made by it.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub(super) async fn apply(
    services: &Services,
    tx: &DatabaseTransaction,
    caller: &Caller,
    sender: &Sender,
    (written, grant): (Option<InboxInput>, GrantNow),
) -> Result<Vec<Refusal>, StoreError> {
    let workspace = caller.workspace;
    let Some(written) = written else {
        mailbox::remove(tx, workspace, sender.id).await?;
        return Ok(Vec::new());
    };
    if sender.channel != Channel::Email {
        let message = "Only a sender for EMAIL has an inbox: leave it out.";
        return Ok(vec![Refusal::invalid(message, &["inbox"])]);
    }
    let old = mailbox::find_many(tx, workspace, &[sender.id]).await?.pop();
    let before = old.as_ref().map(mailbox::place).transpose()?;
    let secret = written.secret.clone().filter(|secret| !secret.is_empty());
    let (inbox, mut wrong) = read(services, written);
    let keeps = |before: &Inbox| {
        before.host == inbox.host
            && before.username == inbox.username
            && before.login == inbox.login
            && (inbox.security != SmtpSecurity::None || before.security == SmtpSecurity::None)
    };
    let sealed = match (secret, &old) {
        (Some(secret), _) if is_line(&secret) => {
            let row = sender.id.uuid();
            let sealing = &services.secrets;
            Some(sealing.seal(&services.entropy, workspace, row, &secret))
        }
        (Some(_), _) => {
            let message = format!(
                "The password or token is one line of at most {PASSWORD_CHARS_MAX} characters: \
                 correct it."
            );
            wrong.push(Refusal::invalid(message, &["inbox", "secret"]));
            None
        }
        (None, _) if inbox.login == MailLogin::Xoauth2 && grant.is_written => None,
        (None, Some(old))
            if before.as_ref().is_some_and(keeps) && (old.secret.is_some() || grant.is_there) =>
        {
            if inbox.login == MailLogin::Xoauth2 && grant.is_there && old.secret.is_some() {
                wrong.push(written_or_granted(&["inbox", "secret"]));
            }
            old.secret.clone()
        }
        (None, _) => {
            wrong.push(without_secret(inbox.login, grant));
            None
        }
    };
    if !wrong.is_empty() {
        return Ok(wrong);
    }
    let is_same = before.is_some_and(|before| before.is_same_folder(&inbox));
    mailbox::put(
        tx,
        workspace,
        sender.id,
        (&inbox, sealed.as_deref()),
        is_same,
    )
    .await?;
    Ok(wrong)
}

/// A login of which nobody knows by what it is.
fn without_secret(login: MailLogin, grant: GrantNow) -> Refusal {
    match login {
        MailLogin::Xoauth2 if grant.is_there => elsewhere(),
        MailLogin::Xoauth2 => {
            let message = "The login XOAUTH2 needs an access token: give the sender oauth, by which they \
                           are refreshed, or one that lasts in secret.";
            Refusal::invalid(message, &["inbox", "secret"])
        }
        MailLogin::Password => {
            let message = "The login needs its password or token; it is asked for again whenever the \
                           server, the username, the kind of login or the protection of the connection \
                           changes.";
            Refusal::invalid(message, &["inbox", "secret"])
        }
    }
}

fn is_line(secret: &str) -> bool {
    secret.chars().count() <= PASSWORD_CHARS_MAX && !secret.contains(['\0', '\r', '\n'])
}

fn read(services: &Services, written: InboxInput) -> (Inbox, Vec<Refusal>) {
    let mut wrong = Vec::new();
    let mut at = |field, message: String| wrong.push(Refusal::invalid(message, &["inbox", field]));
    let host = written.host.trim();
    if host.is_empty()
        || host.chars().count() > HOST_CHARS_MAX
        || host.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        let message = "host is the name or the address of the server, like imap.example.com.";
        at("host", message.to_owned());
    } else if let Some(message) = services.transports.refuses_mail_server(host) {
        at("host", message.to_owned());
    }
    let port = u16::try_from(written.port).ok().filter(|port| *port > 0);
    if port.is_none() {
        let message = format!(
            "port is {}: give one from 1 to 65535, usually 993.",
            written.port
        );
        at("port", message);
    }
    let folder = written.folder.unwrap_or_else(|| INBOX.to_owned());
    if !folder.is_ascii() {
        let message = "folder is written in ASCII, as the server writes it (modified UTF-7, RFC 3501 \
                       §5.1.3), like Entw&APw-rfe.";
        at("folder", message.to_owned());
    }
    let username = text(&written.username, TEXT_CHARS_MAX, &["inbox", "username"]);
    let folder = text(&folder, TEXT_CHARS_MAX, &["inbox", "folder"]);
    let mut line = |read: Result<String, Refusal>| {
        read.unwrap_or_else(|refusal| {
            wrong.push(refusal);
            String::new()
        })
    };
    let inbox = Inbox {
        host: host.to_owned(),
        port: port.unwrap_or_default(),
        security: written.security,
        username: line(username),
        login: written.login,
        folder: line(folder),
    };
    (inbox, wrong)
}
