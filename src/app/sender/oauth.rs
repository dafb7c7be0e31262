//! What a sender's access tokens are got with: read from what is written, with what is secret sealed.

use sea_orm::DatabaseTransaction;
use url::Host;
use uuid::Uuid;

use super::{Caller, Refusal, Sender, Services};
use crate::app::oauth::seal;
use crate::channel::oauth::GrantOf;
use crate::domain::flow::Channel;
use crate::domain::http_url::HttpUrl;
use crate::domain::oauth::{Grant, MailLogin, TOKEN_CHARS_MAX, Tokens, is_token};
use crate::domain::sender::Transport;
use crate::store::{StoreError, grant, mailbox};

/// The longest name of a client, in characters.
const CLIENT_CHARS_MAX: usize = 400;
/// The longest scope, in characters.
const SCOPE_CHARS_MAX: usize = 2_000;

/// A grant as it is written.
#[derive(Clone)]
pub struct OAuthInput {
    /// Where the token server is.
    pub token_url: String,
    /// The name of the client.
    pub client_id: String,
    /// Its secret, where it has one.
    pub client_secret: Option<String>,
    /// What access tokens are got for.
    pub refresh_token: String,
    /// What access is asked for.
    pub scope: Option<String>,
}

/// What a change of a sender says of its grant, as far as logins rely on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct GrantNow {
    /// Whether there is one when the change is made.
    pub is_there: bool,
    /// Whether the change writes it, so that it may go wherever the change says.
    pub is_written: bool,
}

impl GrantNow {
    /// What becomes of the grant of a sender that `had` one.
    pub(super) fn of(had: bool, written: Option<&Option<OAuthInput>>) -> Self {
        Self {
            is_there: written.map_or(had, Option::is_some),
            is_written: written.is_some_and(Option::is_some),
        }
    }
}

/// Access tokens would go where they were not meant for.
pub(super) fn elsewhere() -> Refusal {
    let message = "Access tokens go only where the grant was given for: give oauth with the change whenever \
                   a server, a username, the kind of login or the protection of a connection changes.";
    Refusal::invalid(message, &["oauth"])
}

/// A login by a token that was written down, which is not named again beside a grant. The grant may serve it
/// only where it is given for it: somebody may have given it for the other login alone.
pub(super) fn written_or_granted(path: &[&str]) -> Refusal {
    let message = "This login is by an access token that was written down, and the sender has oauth: give \
                   oauth with the change to log in by it, or that token again.";
    Refusal::invalid(message, path)
}

/// Gives a sender its grant, or takes it away; answers everything that is wrong with it, and then nothing
/// has changed. To be called last: what logs in is as it will be.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub(super) async fn apply(
    services: &Services,
    tx: &DatabaseTransaction,
    caller: &Caller,
    sender: &Sender,
    written: Option<OAuthInput>,
) -> Result<Vec<Refusal>, StoreError> {
    let workspace = caller.workspace;
    let Some(written) = written else {
        grant::remove(tx, workspace, sender.id).await?;
        return Ok(rely(tx, caller, sender).await?.into_iter().collect());
    };
    if sender.channel != Channel::Email {
        let message = "Only a sender for EMAIL logs in by OAuth: leave it out.";
        return Ok(vec![Refusal::invalid(message, &["oauth"])]);
    }
    let (grant, tokens) = match read(written) {
        Ok(read) => read,
        Err(wrong) => return Ok(wrong),
    };
    let of = GrantOf {
        workspace,
        sender: sender.id,
    };
    let sealed = seal(&services.secrets, &services.entropy, of, &tokens);
    let mut id = [0; 16];
    services.entropy.fill(&mut id);
    let id = Uuid::from_bytes(id);
    grant::put(tx, workspace, sender.id, id, (&grant, &sealed)).await?;
    // An inbox tries the new grant at once, also one that waits after a refused login.
    mailbox::try_at_once(tx, workspace, sender.id).await?;
    Ok(Vec::new())
}

/// A login that is left without its grant.
async fn rely(
    tx: &DatabaseTransaction,
    caller: &Caller,
    sender: &Sender,
) -> Result<Option<Refusal>, StoreError> {
    let rows = mailbox::find_many(tx, caller.workspace, &[sender.id]).await?;
    let which = match &sender.transport {
        Transport::Smtp(smtp) if smtp.login == MailLogin::Xoauth2 && sender.secret.is_none() => {
            "transport"
        }
        _ if rows.iter().any(|row| row.secret.is_none()) => "inbox",
        _ => return Ok(None),
    };
    let message = format!(
        "The login of {which} is by this grant: give {which} another login in the same change, or keep \
         the grant."
    );
    Ok(Some(Refusal::invalid(message, &["oauth"])))
}

fn read(written: OAuthInput) -> Result<(Grant, Tokens), Vec<Refusal>> {
    let mut wrong = Vec::new();
    let mut at = |field, message: String| wrong.push(Refusal::invalid(message, &["oauth", field]));
    let url = match HttpUrl::parse(&written.token_url) {
        Ok(url) if url.is_https() || is_this_machine(&url) => url.as_str().to_owned(),
        Ok(_) => {
            let message =
                "tokenUrl is an address of https, for the refresh token goes there: correct it.";
            at("tokenUrl", message.to_owned());
            String::new()
        }
        Err(error) => {
            at("tokenUrl", error.to_string());
            String::new()
        }
    };
    let client_id = written.client_id.trim();
    if !is_token(client_id) || client_id.len() > CLIENT_CHARS_MAX {
        let message = format!(
            "clientId has from 1 to {CLIENT_CHARS_MAX} visible characters: copy it from the provider's console."
        );
        at("clientId", message);
    }
    let client_secret = written.client_secret.filter(|secret| !secret.is_empty());
    let secrets = [
        (Some(&written.refresh_token), "refreshToken"),
        (client_secret.as_ref(), "clientSecret"),
    ];
    for (secret, field) in secrets {
        if secret.is_some_and(|secret| !is_token(secret)) {
            let message = format!(
                "{field} is one line of 1 to {TOKEN_CHARS_MAX} visible characters: copy it as the provider \
                 shows it."
            );
            at(field, message);
        }
    }
    let scope = written.scope.map(|scope| scope.trim().to_owned());
    let scope = scope.filter(|scope| !scope.is_empty());
    if scope
        .as_ref()
        .is_some_and(|scope| !is_token(scope) || scope.len() > SCOPE_CHARS_MAX)
    {
        let message = format!(
            "scope is one line of at most {SCOPE_CHARS_MAX} characters, scopes with spaces between: correct it."
        );
        at("scope", message);
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let grant = Grant {
        token_url: url,
        client_id: client_id.to_owned(),
        scope,
    };
    let tokens = Tokens {
        refresh: written.refresh_token,
        client_secret,
        access: None,
    };
    Ok((grant, tokens))
}

/// What does not leave this machine needs no encryption.
fn is_this_machine(url: &HttpUrl) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}
