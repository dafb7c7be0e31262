//! `cadenza inbound`: hands a mail that comes in on to a server, as the pipe of a mail server calls it.
//!
//! A mail server goes by the exit code, which is one of `sysexits.h`: by 75 it keeps the mail and tries again,
//! by any other it returns the mail to who sent it. So all that somebody may repair is 75, also a wrong
//! option: the mails wait for it.

use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use super::post::{NoAnswer, endpoint, post};
use crate::channel::webhook::WebhookSecret;
use crate::clock::Clock;
use crate::domain::id::WorkspaceId;
use crate::inbound::MAIL_BYTES_MAX;
use crate::inbound::signed::is_mail;
use crate::secrets::sha256_hex;

pub(super) const EXAMPLES: &str = "\
The mail comes on standard input as it came in; of one of more than 10 MiB the beginning is handed on.
It is signed with webhookSecret of the query workspace, which is read from a file or from the
environment variable CADENZA_WEBHOOK_SECRET, and never from the command line, which everybody may see.

It ends with 0 where the server has taken the mail in, now or before; with 65 for what is no mail;
and else with 75, by which a mail server keeps the mail and tries again: where the server cannot be
reached or refuses the signature, and where an option or the secret is wrong. Standard error says
what it is.

Example, as a transport of Postfix (master.cf):
  cadenza unix - n n - 4 pipe flags=Rq user=cadenza argv=/usr/local/bin/cadenza inbound
    --url https://cadenza.example.com --workspace-id ws_01jd0000000000000000000000
    --webhook-secret-file /etc/cadenza/webhook-secret";

/// Where mails are handed in at a server.
const ENDPOINT: &str = "/inbound/mail";
/// The variable that may hold the secret.
const SECRET: &str = "CADENZA_WEBHOOK_SECRET";

#[derive(Debug, Args)]
pub(super) struct InboundArgs {
    /// The server
    #[arg(
        long,
        env = "CADENZA_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    url: String,
    /// The workspace whose mail it is: the id that the query workspace answers
    #[arg(long, env = "CADENZA_WORKSPACE_ID", value_name = "ID")]
    workspace_id: Option<String>,
    /// The file that holds the workspace's webhookSecret; without it, CADENZA_WEBHOOK_SECRET does
    #[arg(long, env = "CADENZA_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    webhook_secret_file: Option<PathBuf>,
}

/// Why a mail was not handed on.
#[derive(Debug, thiserror::Error)]
enum NotHanded {
    /// An option or the secret is wrong.
    #[error("{0}")]
    Config(String),
    /// Standard input cannot be read.
    #[error("the mail cannot be read from standard input: {0}")]
    Input(#[from] io::Error),
    /// What came is no mail.
    #[error("{0}")]
    NoMail(String),
    /// The server cannot be reached.
    #[error("{0} does not answer ({1}): is the server running, and is --url right?")]
    Unreachable(Url, NoAnswer),
    /// The server takes nothing in now.
    #[error("{0} takes no mails in now ({1}): {2}")]
    Busy(Url, u16, String),
    /// The server does not believe the signature.
    #[error("{0} refuses the signature: {1}")]
    Forbidden(Url, String),
}

/// EX_DATAERR and EX_TEMPFAIL of `sysexits.h`.
const NO_MAIL: u8 = 65;
pub(super) const LATER: u8 = 75;

impl NotHanded {
    /// The code of `sysexits.h`.
    const fn code(&self) -> u8 {
        match self {
            Self::NoMail(_) => NO_MAIL,
            Self::Input(_)
            | Self::Unreachable(..)
            | Self::Busy(..)
            | Self::Forbidden(..)
            | Self::Config(_) => LATER,
        }
    }
}

pub(super) async fn run(arguments: &InboundArgs) -> ExitCode {
    match hand_on(arguments).await {
        Ok(answer) => {
            // Nobody may be listening, and the mail is taken in all the same.
            writeln!(io::stdout(), "{answer}").ok();
            ExitCode::SUCCESS
        }
        Err(error) => {
            writeln!(io::stderr(), "error: {error}").ok();
            ExitCode::from(error.code())
        }
    }
}

async fn hand_on(arguments: &InboundArgs) -> Result<Value, NotHanded> {
    // First of all: who writes to a pipe that nobody reads is told of that and of nothing else.
    let mail = read(io::stdin().lock())?;
    let url = address(arguments)?;
    let secret = secret(arguments)?;
    if !is_mail(&mail) {
        let message = "what came on standard input is no mail: it does not begin with a header";
        return Err(NotHanded::NoMail(message.to_owned()));
    }
    let headers = signed(&secret, &mail, Clock::system().now())?;
    let answered = post(&url, headers, Bytes::from(mail)).await;
    match answered {
        Ok((status, body)) => judge(url, status, &body),
        Err(error) => Err(NotHanded::Unreachable(url, error)),
    }
}

/// What comes, up to what is handed on; the rest is read and forgotten.
fn read(mut input: impl Read) -> io::Result<Vec<u8>> {
    let mut mail = Vec::new();
    let at_most = u64::try_from(MAIL_BYTES_MAX).unwrap_or(u64::MAX);
    input.by_ref().take(at_most).read_to_end(&mut mail)?;
    io::copy(&mut input, &mut io::sink())?;
    Ok(mail)
}

fn address(arguments: &InboundArgs) -> Result<Url, NotHanded> {
    let Some(mut url) = endpoint(&arguments.url, ENDPOINT) else {
        let url = &arguments.url;
        let message = format!(
            "{url} is not the address of a server: write one like https://cadenza.example.com"
        );
        return Err(NotHanded::Config(message));
    };
    let workspace = arguments.workspace_id.as_deref().map(str::trim);
    let Some(Ok(workspace)) = workspace.map(str::parse::<WorkspaceId>) else {
        let message = "the workspace is missing or no id: give --workspace-id (CADENZA_WORKSPACE_ID) \
                       as the query workspace answers it, like ws_01jd0000000000000000000000";
        return Err(NotHanded::Config(message.to_owned()));
    };
    url.set_query(Some(&format!("workspace={workspace}")));
    Ok(url)
}

fn secret(arguments: &InboundArgs) -> Result<WebhookSecret, NotHanded> {
    let text = match &arguments.webhook_secret_file {
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            let file = file.display();
            NotHanded::Config(format!("the secret cannot be read from {file}: {error}"))
        })?,
        None => std::env::var(SECRET).map_err(|_| {
            let message = format!(
                "the secret is missing: write webhookSecret of the query workspace into a file and \
                 name it with --webhook-secret-file (CADENZA_WEBHOOK_SECRET_FILE), or set {SECRET}"
            );
            NotHanded::Config(message)
        })?,
    };
    WebhookSecret::parse(&text).map_err(|error| NotHanded::Config(error.to_string()))
}

/// The headers of Standard Webhooks. The id is that of the mail, so that whoever looks through logs finds what was
/// tried more than once.
fn signed(secret: &WebhookSecret, mail: &[u8], now: DateTime<Utc>) -> Result<HeaderMap, NotHanded> {
    let id = format!("pipe-{}", sha256_hex(mail));
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("message/rfc822");
    headers.insert(CONTENT_TYPE, kind);
    let signature = secret.sign(&id, now, mail);
    for (name, value) in [
        ("webhook-id", id),
        ("webhook-timestamp", now.timestamp().to_string()),
        ("webhook-signature", signature),
    ] {
        let value = HeaderValue::from_str(&value);
        let value = value.map_err(|error| NotHanded::Config(error.to_string()))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

/// What an answer means.
fn judge(url: Url, status: u16, body: &[u8]) -> Result<Value, NotHanded> {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let detail = answer.as_ref().and_then(|answer| answer["detail"].as_str());
    let said = detail.unwrap_or("it says no more").to_owned();
    match status {
        200 => {
            let taken = answer.filter(|answer| answer.get("takenAs").is_some());
            taken.ok_or_else(|| NotHanded::Config(foreign(&url, status)))
        }
        408 | 429 | 500..=599 => Err(NotHanded::Busy(url, status, said)),
        403 => Err(NotHanded::Forbidden(url, said)),
        422 => Err(NotHanded::NoMail(said)),
        _ if detail.is_some() => Err(NotHanded::Config(format!("{url} answers: {said}"))),
        _ => Err(NotHanded::Config(foreign(&url, status))),
    }
}

fn foreign(url: &Url, status: u16) -> String {
    format!("{url} answered {status} and is no server of Cadenza: is --url right?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_goes_by_what_was_answered() {
        let url = Url::parse("https://a.example/inbound/mail").expect("an address");
        let problem = br#"{"title":"x","status":1,"detail":"why"}"#;
        for (status, body, code) in [
            (200, &br#"{"takenAs":"REPLY"}"#[..], None),
            (200, b"<html>", Some(75)),
            (400, problem, Some(75)),
            (403, problem, Some(75)),
            (404, b"", Some(75)),
            (408, problem, Some(75)),
            (422, problem, Some(65)),
            (429, b"", Some(75)),
            (500, b"", Some(75)),
            (502, b"<html>", Some(75)),
            (503, problem, Some(75)),
        ] {
            let judged = judge(url.clone(), status, body);
            assert_eq!(judged.err().map(|error| error.code()), code, "{status}");
        }
    }

    #[test]
    fn of_a_large_mail_the_beginning_is_handed_on_and_all_of_it_is_read() {
        let large = vec![b'a'; MAIL_BYTES_MAX + 70_000];
        let mut input = io::Cursor::new(&large);
        assert_eq!(read(&mut input).expect("reads").len(), MAIL_BYTES_MAX);
        assert_eq!(input.position(), large.len() as u64);
    }
}
