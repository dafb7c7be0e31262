//! Reads a mailbox by IMAP (RFC 9051, RFC 3501), and changes nothing in it.
//!
//! The commands and the reading of answers are async-imap's; the connection is our own, so that it is
//! made as those to SMTP servers are: within reach, under time-outs, encrypted by the same rules. The
//! folder is opened for reading only (EXAMINE), and mails are taken by BODY.PEEK: nothing is marked as
//! read and nothing deleted.

mod answer;
mod stream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_imap::error::Error;
use async_imap::extensions::idle::IdleResponse;
use async_imap::imap_proto::{Response, Status};
use async_imap::types::UnsolicitedResponse;
use async_imap::{Authenticator, Client, Session};
use chrono::NaiveDate;
use futures_util::TryStreamExt;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use self::answer::Excess;
use self::stream::{Allowance, Stream};
use super::secret::Secret;
use super::smtp::{Broken, Security, reach_host};
use super::trust::trust;
use crate::domain::network::Reach;
use crate::domain::oauth::MailLogin;

/// How much of one mail is read, in bytes: its words come first, and what is attached to it after them.
pub const MAIL_BYTES_MAX: usize = 1 << 20;
/// How much a server may send in answer to a question for mails, in bytes: a mail, or the UIDs of a hundred
/// thousand.
const ANSWER_BYTES_MAX: usize = MAIL_BYTES_MAX + (256 << 10);
/// The same from the greeting on until a folder is open, and while it is waited for news.
const WORDS_BYTES_MAX: usize = 128 << 10;
/// How much of what a server says is told, in characters.
const SAID_CHARS_MAX: usize = 200;

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImapTimeouts {
    /// Name lookup and TCP; also a TLS handshake.
    pub connect: Duration,
    /// Each command, and the greeting.
    pub command: Duration,
    /// A mail.
    pub fetch: Duration,
}

impl Default for ImapTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            command: Duration::from_secs(60),
            fetch: Duration::from_secs(120),
        }
    }
}

/// A mailbox and how to reach it.
#[derive(Clone, Debug)]
pub struct ImapConfig {
    /// Name or address of the server; certificates are checked against it.
    pub host: String,
    /// Its port: 993 with TLS, 143 with STARTTLS or without either.
    pub port: u16,
    /// Where the server may be.
    pub reach: Reach,
    /// How the connection is protected.
    pub security: Security,
    /// Who logs in.
    pub username: String,
    /// By what.
    pub login: MailLogin,
    /// The password or the token.
    pub secret: Secret,
    /// The folder.
    pub folder: String,
    /// How long each step may take.
    pub timeouts: ImapTimeouts,
    /// Certificates (DER) trusted besides the system's.
    pub extra_roots: Vec<Vec<u8>>,
}

/// Why a mailbox cannot be read, in words for people, with what helps.
#[derive(Debug, thiserror::Error)]
pub enum ImapError {
    /// The server cannot be reached, or the connection broke off.
    #[error("{0}")]
    Connection(String),
    /// The server does not take the login.
    #[error("The server refuses the login: {0} Give the inbox another password or token.")]
    Login(String),
    /// The server does not open the folder.
    #[error("The server does not open the folder: {0} Correct the name of the folder.")]
    Folder(String),
    /// The server does not do what was asked.
    #[error("The server did not do what it was asked: {0}")]
    Refused(String),
    /// What the server said is more than it was asked for, or cannot be understood; the connection is over.
    #[error("{0}")]
    Unfit(String),
    /// The server does not hand out one mail, or not as it can be read. Others it may.
    #[error("The server does not hand out the mail with the UID {uid}: {why}")]
    Mail {
        /// Its UID.
        uid: u32,
        /// What came instead.
        why: String,
        /// Whether the connection is over with it.
        is_over: bool,
    },
}

impl ImapError {
    /// Whether the login was refused: to go on trying would lock the account.
    pub fn is_login(&self) -> bool {
        matches!(self, Self::Login(_))
    }

    /// What kind of trouble it is, without the server's words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connection(_) => "connection",
            Self::Login(_) => "login",
            Self::Folder(_) => "folder",
            Self::Refused(_) => "refused",
            Self::Unfit(_) => "unfit",
            Self::Mail { .. } => "mail",
        }
    }

    fn misread() -> Self {
        Self::Unfit("What the server said cannot be understood.".to_owned())
    }

    fn late(limit: Duration) -> Self {
        Self::Connection(format!("The server did not answer within {limit:?}."))
    }
}

impl From<Broken> for ImapError {
    fn from(broken: Broken) -> Self {
        Self::Connection(match broken {
            Broken::Closed(Some(error)) => format!("The server cannot be reached: {error}."),
            Broken::Closed(None) => "The server's name leads to no address.".to_owned(),
            other => other.describe(),
        })
    }
}

impl From<Error> for ImapError {
    fn from(error: Error) -> Self {
        match error {
            Error::No(said) | Error::Bad(said) => Self::Refused(said),
            Error::ConnectionLost => {
                Self::Connection("The server closed the connection.".to_owned())
            }
            // What the library says of it repeats what the server sent, which may be a mail.
            Error::Io(error) if is_misread(&error) => Self::misread(),
            Error::Io(error) if is_excess(&error) => {
                Self::Unfit(format!("The connection failed: {error}."))
            }
            Error::Io(error) => Self::Connection(format!("The connection failed: {error}.")),
            _ => Self::misread(),
        }
    }
}

/// Whether the library could not read what came, which it tells as the network's failures are told.
fn is_misread(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && !is_excess(error)
}

/// Whether nothing more was read because it was too much.
fn is_excess(error: &io::Error) -> bool {
    (error.get_ref()).is_some_and(|inner| inner.is::<Excess>())
}

/// What somebody waits for came, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something in the folder has changed.
    News,
    /// Nothing, for as long as was waited.
    Nothing,
}

/// A folder that is open.
#[derive(Debug)]
pub struct Mailbox {
    session: Session<Stream>,
    left: Allowance,
    timeouts: ImapTimeouts,
    has_idle: bool,
    /// Its UIDVALIDITY.
    pub validity: u32,
    /// The UID that the next mail gets at least.
    pub uid_next: u32,
    /// Whether it had any mail when it was opened.
    has_mails: bool,
    /// Whether the server told of mails since they were last looked for.
    is_news: bool,
}

impl Mailbox {
    /// Connects, logs in and opens the folder.
    ///
    /// # Errors
    /// [`ImapError`], which says what is in the way.
    pub async fn open(config: &ImapConfig) -> Result<Self, ImapError> {
        let (limit, left) = (config.timeouts.command, Allowance::default());
        left.allow(WORDS_BYTES_MAX);
        let client = connect(config, &left).await?;
        let logging_in = log_in(client, config);
        let mut session = within(limit, logging_in).await?;
        let capabilities = within(limit, session.capabilities()).await?;
        let has_idle = capabilities.has_str("IDLE");
        let opened = within(limit, session.examine(&config.folder)).await;
        let opened = opened.map_err(|error| match error {
            ImapError::Refused(said) => ImapError::Folder(said),
            other => other,
        })?;
        let (Some(validity), Some(uid_next)) = (opened.uid_validity, opened.uid_next) else {
            let what = "it tells neither UIDVALIDITY nor UIDNEXT (RFC 3501).";
            return Err(ImapError::Refused(what.to_owned()));
        };
        Ok(Self {
            session,
            left,
            timeouts: config.timeouts,
            has_idle,
            validity,
            uid_next,
            has_mails: opened.exists > 0,
            is_news: false,
        })
    }

    /// Whether the server tells of new mail by itself (IDLE, RFC 2177).
    pub fn has_idle(&self) -> bool {
        self.has_idle
    }

    /// The UIDs beyond `uid`, in order. What is told of the folder from now on is news.
    ///
    /// # Errors
    /// [`ImapError`] where the connection is over.
    pub async fn beyond(&mut self, uid: u32) -> Result<Vec<u32>, ImapError> {
        let Some(first) = uid.checked_add(1) else {
            return Ok(Vec::new());
        };
        self.drop_told();
        self.is_news = false;
        // `*` names the last mail also where it is older.
        let mut found = self.search(&format!("UID {first}:*")).await?;
        found.retain(|found| *found >= first);
        Ok(found)
    }

    /// The UIDs of what arrived on `day` or later, by the server's clock, in order.
    ///
    /// # Errors
    /// [`ImapError`] where the connection is over.
    pub async fn since(&mut self, day: NaiveDate) -> Result<Vec<u32>, ImapError> {
        // The last mail comes with them, which is taken in once, however often it is read.
        self.search(&format!("OR UID * SINCE {}", day.format("%-d-%b-%Y")))
            .await
    }

    /// Every query is to answer the last mail of a folder, too: the library does not tell a refusal from an
    /// answer without mails, and what is refused must not be taken for gone.
    async fn search(&mut self, query: &str) -> Result<Vec<u32>, ImapError> {
        self.left.allow(ANSWER_BYTES_MAX);
        self.drop_told();
        // An answer to NOOP brings what servers tell only between commands.
        within(self.timeouts.command, self.session.noop()).await?;
        let found = within(self.timeouts.fetch, self.session.uid_search(query)).await?;
        let mut found: Vec<u32> = found.into_iter().collect();
        if found.is_empty() && self.has_mails {
            return Err(ImapError::Refused("it does not list its mails".to_owned()));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Lets go of what the server told besides its answers, of which the library keeps a hundred, each as
    /// large as it came; remembers whether it was of mails.
    fn drop_told(&mut self) {
        let told = &self.session.unsolicited_responses;
        self.is_news |= is_of_mails(|| told.try_recv().ok());
    }

    /// The beginning of a mail, at most [`MAIL_BYTES_MAX`] of it; `None` where it is gone.
    ///
    /// # Errors
    /// [`ImapError::Mail`] where the mail is there and the server does not hand it out, or not as it was asked
    /// for; otherwise where the connection is over.
    pub async fn fetch(&mut self, uid: u32) -> Result<Option<Vec<u8>>, ImapError> {
        self.left.allow(ANSWER_BYTES_MAX);
        let query = format!("(UID BODY.PEEK[]<0.{MAIL_BYTES_MAX}>)");
        let told = self.session.unsolicited_responses.clone();
        let mut is_news = false;
        let fetching = async {
            let mut body = None;
            let mut answers = self.session.uid_fetch(uid.to_string(), query).await?;
            // What else it hands out is let go of at once: it may be a lot.
            while let Some(answer) = answers.try_next().await? {
                is_news |= is_of_mails(|| told.try_recv().ok());
                if answer.uid == Some(uid) && body.is_none() {
                    body = answer.body().map(<[u8]>::to_vec);
                }
            }
            Ok::<_, Error>(body)
        };
        let fetched = within(self.timeouts.fetch, fetching).await;
        self.is_news |= is_news;
        self.drop_told();
        let not_handed_out = |why, is_over| ImapError::Mail { uid, why, is_over };
        let body = fetched.map_err(|error| match error {
            // A server does so with the same mail each time; those behind it are not to wait for that.
            ImapError::Unfit(why) => not_handed_out(why, true),
            ImapError::Refused(why) => not_handed_out(why, false),
            other => other,
        })?;
        if body.is_none() && self.search(&format!("UID {uid},*")).await?.contains(&uid) {
            let why = "it lists it, and answers without it.".to_owned();
            return Err(not_handed_out(why, false));
        }
        Ok(body)
    }

    /// Waits until the server tells of something, at most for `limit`; without IDLE, just as long.
    ///
    /// # Errors
    /// [`ImapError`] where the connection is over.
    pub async fn wait(mut self, limit: Duration) -> Result<(Self, Heard), ImapError> {
        self.left.allow(WORDS_BYTES_MAX);
        if !self.has_idle {
            // Nothing ends it but the time.
            drop(timeout(limit, std::future::pending::<()>()).await);
            return Ok((self, Heard::Nothing));
        }
        let step = self.timeouts.command;
        let told = self.session.unsolicited_responses.clone();
        let mut idle = self.session.idle();
        within(step, idle.init()).await?;
        // What came since the folder was last looked at is heard before the waiting begins.
        let is_news = self.is_news | is_of_mails(|| told.try_recv().ok());
        let mut heard = Heard::News;
        if !is_news {
            let (waiting, _stop) = idle.wait_with_timeout(limit);
            // Its own limit begins anew with every sign of life.
            heard = match timeout(limit, waiting).await {
                Ok(Ok(IdleResponse::NewData(_))) => Heard::News,
                Ok(Ok(IdleResponse::Timeout)) | Err(_) => Heard::Nothing,
                Ok(Ok(IdleResponse::ManualInterrupt)) => return Err(Error::ConnectionLost.into()),
                Ok(Err(error)) => return Err(error.into()),
            };
        }
        self.session = within(step, idle.done()).await?;
        Ok((self, heard))
    }

    /// Says goodbye; nothing depends on it.
    pub async fn close(mut self) {
        let goodbye = timeout(Duration::from_secs(1), self.session.logout());
        if let Ok(Err(error)) = goodbye.await {
            tracing::debug!(%error, "a mailbox did not say goodbye");
        }
    }
}

/// Takes all that the server told besides its answers; whether any of it was of mails.
fn is_of_mails(mut told: impl FnMut() -> Option<UnsolicitedResponse>) -> bool {
    let mut is_of_mails = false;
    while let Some(response) = told() {
        is_of_mails |= matches!(
            response,
            UnsolicitedResponse::Exists(_) | UnsolicitedResponse::Recent(_)
        );
    }
    is_of_mails
}

async fn within<T, E: Into<ImapError>>(
    limit: Duration,
    doing: impl Future<Output = Result<T, E>>,
) -> Result<T, ImapError> {
    match timeout(limit, doing).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(ImapError::late(limit)),
    }
}

/// A connection that was greeted, and is protected as it should be.
async fn connect(config: &ImapConfig, left: &Allowance) -> Result<Client<Stream>, ImapError> {
    let limits = config.timeouts;
    let tcp = reach_host(&config.host, config.port, &config.reach, limits.connect).await?;
    let tls = match config.security {
        Security::None => None,
        Security::StartTls | Security::Tls => {
            let trusting = trust(&config.extra_roots).await;
            Some(trusting.map_err(ImapError::Connection)?)
        }
    };
    match (config.security, tls) {
        (Security::Tls, Some(tls)) => {
            let stream = encrypt(config, tcp, tls, left).await?;
            greeted(Client::new(stream), limits.command).await
        }
        (Security::StartTls, Some(tls)) => {
            let stream = Stream::plain(tcp, left.clone());
            let mut client = greeted(Client::new(stream), limits.command).await?;
            let starting = client.run_command_and_check_ok("STARTTLS", None);
            within(limits.command, starting).await.map_err(|error| match error {
                ImapError::Refused(said) => ImapError::Connection(format!(
                    "The server does not offer STARTTLS, which the inbox requires ({said}): correct \
                     its port or its security."
                )),
                other => other,
            })?;
            // What the server said in the clear after its answer is forgotten with the client.
            let tcp = client.into_inner().into_tcp();
            let tcp = tcp.ok_or_else(|| ImapError::from(Error::ConnectionLost))?;
            Ok(Client::new(encrypt(config, tcp, tls, left).await?))
        }
        _ => {
            let stream = Stream::plain(tcp, left.clone());
            greeted(Client::new(stream), limits.command).await
        }
    }
}

async fn encrypt(
    config: &ImapConfig,
    tcp: TcpStream,
    tls: Arc<ClientConfig>,
    left: &Allowance,
) -> Result<Stream, ImapError> {
    let no_tls = |what: String| ImapError::Connection(format!("No encrypted connection: {what}."));
    let name = ServerName::try_from(config.host.clone())
        .map_err(|_| no_tls("the host is no name that a certificate can have".into()))?;
    let handshake = timeout(
        config.timeouts.connect,
        TlsConnector::from(tls).connect(name, tcp),
    );
    let stream = handshake
        .await
        .map_err(|_| ImapError::late(config.timeouts.connect))?
        .map_err(|error| no_tls(error.to_string()))?;
    Ok(Stream::tls(stream, left.clone()))
}

/// Reads the server's first words.
async fn greeted(mut client: Client<Stream>, limit: Duration) -> Result<Client<Stream>, ImapError> {
    let said = within(limit, async {
        client.read_response().await.map_err(Error::from)
    });
    let Some(said) = said.await? else {
        return Err(Error::ConnectionLost.into());
    };
    match said.parsed() {
        Response::Data {
            status: Status::Ok | Status::PreAuth,
            ..
        } => Ok(client),
        Response::Data { information, .. } => {
            let why = information.as_deref().unwrap_or("it says no more");
            let why: String = why.chars().take(SAID_CHARS_MAX).collect();
            let what = format!("The server takes no connections now: {why}");
            Err(ImapError::Connection(what))
        }
        _ => {
            let what = "What answers there is no IMAP server: correct the inbox's host or port.";
            Err(ImapError::Connection(what.to_owned()))
        }
    }
}

async fn log_in(client: Client<Stream>, config: &ImapConfig) -> Result<Session<Stream>, ImapError> {
    let secret = config.secret.reveal();
    let done = match config.login {
        MailLogin::Password => client.login(&config.username, secret).await,
        MailLogin::Xoauth2 => {
            let token = Xoauth2 {
                first: Some(format!(
                    "user={}\x01auth=Bearer {secret}\x01\x01",
                    config.username
                )),
            };
            client.authenticate("XOAUTH2", token).await
        }
    };
    done.map_err(|(error, _)| match ImapError::from(error) {
        ImapError::Refused(said) => ImapError::Login(said),
        other => other,
    })
}

/// SASL XOAUTH2: everything is said at once; to what a server says against it the answer is empty.
struct Xoauth2 {
    first: Option<String>,
}

impl Authenticator for Xoauth2 {
    type Response = String;

    fn process(&mut self, _challenge: &[u8]) -> String {
        self.first.take().unwrap_or_default()
    }
}
