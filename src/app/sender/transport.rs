//! How senders send: read from what is written, with what is secret sealed.

use super::oauth::{GrantNow, elsewhere, written_or_granted};
use super::text;
use super::{Caller, Refusal, Sender, Services, TEXT_CHARS_MAX};
use crate::domain::flow::Channel;
use crate::domain::http_url::HttpUrl;
use crate::domain::oauth::MailLogin;
use crate::domain::sender::{SmtpSecurity, SmtpTransport, Transport, TwilioTransport};

/// The longest host name (RFC 1035 §2.3.4).
pub(super) const HOST_CHARS_MAX: usize = 253;
/// The longest password or token, in characters.
pub(super) const PASSWORD_CHARS_MAX: usize = 1_000;
/// The longest name of an account, in characters.
const SID_CHARS_MAX: usize = 100;

/// How a sender is to send, as it is written.
#[derive(Clone)]
pub enum TransportInput {
    /// Through an SMTP server.
    Smtp(SmtpInput),
    /// Through Twilio's API.
    Twilio(TwilioInput),
    /// Kept in the database.
    Outbox {
        /// What people call it.
        label: Option<String>,
    },
}

/// An SMTP server as it is written.
#[derive(Clone)]
pub struct SmtpInput {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// How the connection is protected.
    pub security: SmtpSecurity,
    /// Who logs in.
    pub username: Option<String>,
    /// By what.
    pub login: MailLogin,
    /// With which password or access token; of XOAUTH2 it may be left out where the sender has a grant.
    pub password: Option<String>,
}

/// An account with Twilio as it is written.
#[derive(Clone)]
pub struct TwilioInput {
    /// Where the API is; left out, Twilio's own.
    pub base_url: Option<String>,
    /// The account's name.
    pub account_sid: String,
    /// What it logs in with.
    pub auth_token: String,
}

/// Gives a sender its transport; answers everything that is wrong with it, and then the sender is
/// not to be used.
pub(super) fn apply(
    services: &Services,
    caller: &Caller,
    sender: &mut Sender,
    (written, grant): (TransportInput, GrantNow),
) -> Vec<Refusal> {
    if let Some(refusal) = misfit(sender.channel, &written) {
        return vec![refusal];
    }
    match written {
        TransportInput::Smtp(smtp) => apply_smtp(services, caller, sender, (smtp, grant)),
        TransportInput::Twilio(twilio) => apply_twilio(services, caller, sender, twilio),
        TransportInput::Outbox { label } => {
            let path = ["transport", "outbox", "label"];
            sender.secret = None;
            match label
                .map(|label| text(&label, TEXT_CHARS_MAX, &path))
                .transpose()
            {
                Ok(label) => sender.transport = Transport::Outbox { label },
                Err(refusal) => return vec![refusal],
            }
            Vec::new()
        }
    }
}

/// A transport that cannot carry what the sender sends.
fn misfit(channel: Channel, written: &TransportInput) -> Option<Refusal> {
    let (name, carries): (_, &[Channel]) = match written {
        TransportInput::Smtp(_) => ("smtp", &[Channel::Email]),
        TransportInput::Twilio(_) => ("twilio", &[Channel::Sms, Channel::Whatsapp]),
        TransportInput::Outbox { .. } => return None,
    };
    let takes = match channel {
        Channel::Email => "smtp or outbox",
        Channel::Sms | Channel::Whatsapp => "twilio or outbox",
        // There is no such sender, which is said of its channel.
        Channel::Call | Channel::Linkedin | Channel::Task | Channel::Webhook => return None,
    };
    if carries.contains(&channel) {
        return None;
    }
    let message = format!("A sender for {channel} cannot send by {name}: give {takes}.");
    Some(Refusal::invalid(message, &["transport", name]))
}

fn apply_smtp(
    services: &Services,
    caller: &Caller,
    sender: &mut Sender,
    (smtp, grant): (SmtpInput, GrantNow),
) -> Vec<Refusal> {
    let at = |field| ["transport", "smtp", field];
    let mut wrong = Vec::new();
    let host = smtp.host.trim();
    if host.is_empty()
        || host.chars().count() > HOST_CHARS_MAX
        || host.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        let message = "host is the name or the address of the server, like smtp.example.com.";
        wrong.push(Refusal::invalid(message, &at("host")));
    } else if let Some(message) = services.transports.refuses_mail_server(host) {
        wrong.push(Refusal::invalid(message, &at("host")));
    }
    let port = u16::try_from(smtp.port).ok().filter(|port| *port > 0);
    if port.is_none() {
        let message = format!(
            "port is {}: give one from 1 to 65535, usually 587.",
            smtp.port
        );
        wrong.push(Refusal::invalid(message, &at("port")));
    }
    let username = match smtp.username.filter(|name| !name.is_empty()) {
        Some(name) => text(&name, TEXT_CHARS_MAX, &at("username")).map(Some),
        None => Ok(None),
    };
    let username = username.unwrap_or_else(|refusal| {
        wrong.push(refusal);
        None
    });
    let transport = SmtpTransport {
        host: host.to_owned(),
        port: port.unwrap_or_default(),
        security: smtp.security,
        username,
        login: smtp.login,
    };
    let is_by_token = smtp.login == MailLogin::Xoauth2;
    let password = smtp.password.filter(|password| !password.is_empty());
    match (&transport.username, password) {
        (None, Some(_)) => {
            let message = "A password needs a username: give both, or neither.";
            wrong.push(Refusal::invalid(message, &at("username")));
        }
        (_, Some(password))
            if password.chars().count() > PASSWORD_CHARS_MAX
                || password.contains(['\0', '\r', '\n']) =>
        {
            let message = format!(
                "The password is one line of at most {PASSWORD_CHARS_MAX} characters: correct it."
            );
            wrong.push(Refusal::invalid(message, &at("password")));
        }
        (Some(_), Some(password)) => {
            sender.secret = Some(seal(services, caller, sender, &password));
        }
        (Some(_), None) if is_by_token && grant.is_written => sender.secret = None,
        (Some(_), None) if keeps_login(sender, &transport, grant) => {
            if is_by_token && grant.is_there && sender.secret.is_some() {
                wrong.push(written_or_granted(&at("password")));
            }
        }
        (Some(_), None) if is_by_token && grant.is_there => wrong.push(elsewhere()),
        (Some(_), None) if is_by_token => {
            let message = "The login XOAUTH2 needs an access token: give the sender oauth, by which they \
                           are refreshed, or one that lasts in password.";
            wrong.push(Refusal::invalid(message, &at("password")));
        }
        (Some(_), None) => {
            let message = "A username needs its password; it is asked for again whenever the \
                           server, the username, the kind of login or the protection of the connection \
                           changes.";
            wrong.push(Refusal::invalid(message, &at("password")));
        }
        (None, None) if is_by_token => {
            let message =
                "The login XOAUTH2 is somebody's: give username, which is usually the address.";
            wrong.push(Refusal::invalid(message, &at("username")));
        }
        (None, None) => sender.secret = None,
    }
    sender.transport = Transport::Smtp(transport);
    wrong
}

/// Whether what the old transport logs in by may serve the new one: never at another server, for
/// another user, or over a connection that is less protected.
fn keeps_login(sender: &Sender, new: &SmtpTransport, grant: GrantNow) -> bool {
    let Transport::Smtp(old) = &sender.transport else {
        return false;
    };
    let by_grant = old.login == MailLogin::Xoauth2 && grant.is_there;
    (sender.secret.is_some() || by_grant)
        && old.host == new.host
        && old.username == new.username
        && old.login == new.login
        && (new.security != SmtpSecurity::None || old.security == SmtpSecurity::None)
}

fn apply_twilio(
    services: &Services,
    caller: &Caller,
    sender: &mut Sender,
    twilio: TwilioInput,
) -> Vec<Refusal> {
    let at = |field| ["transport", "twilio", field];
    let mut wrong = Vec::new();
    let base_url = twilio.base_url.filter(|url| !url.trim().is_empty());
    let base_url = match base_url.map(|url| read_base_url(&url)).transpose() {
        Ok(url) => url,
        Err(message) => {
            wrong.push(Refusal::invalid(message, &at("baseUrl")));
            None
        }
    };
    let account_sid = twilio.account_sid.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !(1..=SID_CHARS_MAX).contains(&account_sid.len()) || !account_sid.chars().all(plain) {
        let message = "accountSid is letters, digits and dashes, like AC0123456789abcdef: copy it \
                       from the provider's console.";
        wrong.push(Refusal::invalid(message, &at("accountSid")));
    }
    let token = twilio.auth_token.trim();
    if token.is_empty()
        || token.chars().count() > PASSWORD_CHARS_MAX
        || token.contains(char::is_control)
    {
        let message = format!(
            "authToken is one line of 1 to {PASSWORD_CHARS_MAX} characters: copy it from the \
             provider's console."
        );
        wrong.push(Refusal::invalid(message, &at("authToken")));
    }
    if wrong.is_empty() {
        sender.secret = Some(seal(services, caller, sender, token));
        sender.transport = Transport::Twilio(TwilioTransport {
            base_url,
            account_sid: account_sid.to_owned(),
        });
    }
    wrong
}

/// Where an API is: an address to which paths are added.
fn read_base_url(text: &str) -> Result<String, String> {
    let url = HttpUrl::parse(text).map_err(|error| error.to_string())?;
    if url.target().contains('?') {
        return Err("baseUrl is an address without a query: remove what follows the ?.".into());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// A password or token, sealed for the sender.
fn seal(services: &Services, caller: &Caller, sender: &Sender, plain: &str) -> String {
    let row = sender.id.uuid();
    services
        .secrets
        .seal(&services.entropy, caller.workspace, row, plain)
}
