//! An SMTP receiver inside the test's own process, which misbehaves as the address tells it to and
//! keeps a ledger of what it took: the ground truth of "never twice".
//!
//! A local part that contains one of these words decides what happens; where several stages are
//! given, `STAGE` is `mail` (then the *sender's* local part counts), `rcpt`, `data` or `dot`:
//!
//! | word | what happens |
//! | --- | --- |
//! | `soft-STAGE`, `hard-STAGE` | refused with 451 4.3.0, with 550 5.1.1 |
//! | `softN-STAGE` | refused with 451 N times, then accepted |
//! | `reply-CODE-STAGE`, `reply-CODE-X.Y.Z-STAGE` | refused with this code and this enhanced code |
//! | `421-STAGE` | 421, then the connection is closed |
//! | `drop-STAGE` | the connection is reset without an answer |
//! | `hang-STAGE` | no answer, ever |
//! | `late-drop` | accepted, then reset before the answer |
//! | `late-hang` | accepted, then no answer, ever |
//! | `late-slow` | accepted, answered after [`Options::slow`] |
//! | `partial` | accepted, half of the answer, then closed |
//!
//! Anything else is accepted. The password `bad` is refused with 535. It never delivers anything.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How the receiver presents itself.
#[derive(Clone)]
pub struct Options {
    /// Whether EHLO is understood; without it, only HELO is.
    pub ehlo: bool,
    /// The features that EHLO lists, besides AUTH and STARTTLS.
    pub features: Vec<&'static str>,
    /// Whether a login is offered and required.
    pub auth: bool,
    /// The access tokens that are taken: a login by one (AUTH XOAUTH2) is offered and required. A wrong one is
    /// answered by a challenge, as Google does it; one that begins with `flat` at once, as others do.
    pub tokens: Option<Arc<Mutex<HashSet<String>>>>,
    /// A certificate: STARTTLS is offered.
    pub start_tls: Option<TlsAcceptor>,
    /// A certificate: TLS from the first byte.
    pub tls: Option<TlsAcceptor>,
    /// Bytes sent in the clear right behind the answer to STARTTLS, as an attacker would.
    pub injected: &'static str,
    /// The first line; empty for silence.
    pub greeting: &'static str,
    /// After how many accepted messages a connection is closed without a word.
    pub close_after: Option<u32>,
    /// How long after a connection its first line is said.
    pub greets_after: Duration,
    /// How long `late-slow` takes.
    pub slow: Duration,
    /// Whether the ledger keeps whole messages.
    pub keep_bytes: bool,
    /// Whether DATA is granted although no recipient was.
    pub grants_data_to_nobody: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ehlo: true,
            features: vec![
                "PIPELINING",
                "SIZE 10485760",
                "8BITMIME",
                "SMTPUTF8",
                "ENHANCEDSTATUSCODES",
            ],
            auth: false,
            tokens: None,
            start_tls: None,
            tls: None,
            injected: "",
            greeting: "220 sink ESMTP",
            greets_after: Duration::ZERO,
            close_after: None,
            slow: Duration::from_secs(20),
            keep_bytes: true,
            grants_data_to_nobody: false,
        }
    }
}

/// A message that was accepted for delivery: what a real recipient would have got.
#[derive(Clone, Debug)]
pub struct Received {
    /// The envelope's recipient.
    pub rcpt: String,
    /// The envelope's sender.
    pub from: String,
    /// The Message-ID header, unfolded; empty for none.
    pub message_id: String,
    /// The Subject header, unfolded, not decoded; empty for none.
    pub subject: String,
    /// The message, its dots as they were before they were doubled.
    pub raw: Vec<u8>,
    /// Whether the sender was told.
    pub acked: bool,
    /// Which connection it came by, from 1.
    pub session: u64,
    /// When, since the receiver started.
    pub at: Duration,
}

impl Received {
    /// The message as a line of JSON, for a ledger on disk.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "rcpt": self.rcpt,
            "from": self.from,
            "msgid": self.message_id,
            "subject": self.subject,
            "acked": self.acked,
            "sess": self.session,
            "t": self.at.as_secs_f64(),
            "size": self.raw.len(),
        })
    }
}

/// A running receiver; it ends with the value.
pub struct SmtpSink {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    options: Options,
    started: Instant,
    ledger: Mutex<Vec<Received>>,
    heard: Mutex<Vec<String>>,
    tries: Mutex<HashMap<(String, &'static str), u32>>,
    sessions: AtomicU64,
    ended: AtomicU64,
    accepted: AtomicU64,
}

impl SmtpSink {
    /// Starts a receiver on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start(options: Options) -> io::Result<Self> {
        Self::start_on(0, options).await
    }

    /// Starts a receiver on this port of 127.0.0.1.
    ///
    /// # Errors
    /// Where the port cannot be had.
    pub async fn start_on(port: u16, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            options,
            started: Instant::now(),
            ledger: Mutex::default(),
            heard: Mutex::default(),
            tries: Mutex::default(),
            sessions: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What was accepted so far.
    pub fn ledger(&self) -> Vec<Received> {
        locked(&self.shared.ledger).clone()
    }

    /// How many messages were accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections were opened so far.
    pub fn sessions(&self) -> u64 {
        self.shared.sessions.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open_sessions(&self) -> u64 {
        self.sessions() - self.shared.ended.load(Ordering::SeqCst)
    }

    /// The commands heard so far, as `connection: verb`.
    pub fn heard(&self) -> Vec<String> {
        locked(&self.shared.heard).clone()
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with the receiver, and with it every connection.
    let mut sessions = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while sessions.try_join_next().is_some() {}
        let session = shared.sessions.fetch_add(1, Ordering::SeqCst) + 1;
        let shared = Arc::clone(&shared);
        sessions.spawn(async move {
            serve(stream, session, &shared).await;
            shared.ended.fetch_add(1, Ordering::SeqCst);
        });
    }
}

/// Why a connection ends.
enum End {
    /// Closed properly.
    Close,
    /// Reset, so that the peer reads an error.
    Reset,
    /// It becomes TLS.
    StartTls(TlsAcceptor),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Close
    }
}

async fn serve(stream: TcpStream, session: u64, shared: &Shared) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    if let Some(tls) = shared.options.tls.clone() {
        if let Ok(stream) = tls.accept(stream).await {
            Talk::new(stream, session, shared, true).run(true).await;
        }
        return;
    }
    let mut talk = Talk::new(stream, session, shared, false);
    match talk.run(true).await {
        End::Close => {}
        // Closed with a linger time of zero, a socket is reset.
        End::Reset => drop(talk.stream.set_zero_linger()),
        End::StartTls(tls) => {
            if let Ok(stream) = tls.accept(talk.stream).await {
                Talk::new(stream, session, shared, true).run(false).await;
            }
        }
    }
}

/// One connection.
struct Talk<'a, S> {
    stream: S,
    session: u64,
    shared: &'a Shared,
    encrypted: bool,
    logged_in: bool,
    heard: Vec<u8>,
    /// How much of `heard` was dealt with.
    read: usize,
    said: Vec<u8>,
    from: String,
    rcpt: Option<String>,
    taken: u32,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Talk<'a, S> {
    fn new(stream: S, session: u64, shared: &'a Shared, encrypted: bool) -> Self {
        Self {
            stream,
            session,
            shared,
            encrypted,
            logged_in: !shared.options.auth && shared.options.tokens.is_none(),
            heard: Vec::with_capacity(8 * 1024),
            read: 0,
            said: Vec::with_capacity(512),
            from: String::new(),
            rcpt: None,
            taken: 0,
        }
    }

    async fn run(&mut self, greet: bool) -> End {
        if greet {
            if self.shared.options.greeting.is_empty() {
                return self.hang().await;
            }
            self.wait(self.shared.options.greets_after).await;
            self.say(self.shared.options.greeting);
        }
        loop {
            match self.turn().await {
                Ok(()) => {}
                Err(End::Close) => {
                    // What was said last still goes out; who left does not hear it.
                    drop(self.flush().await);
                    return End::Close;
                }
                Err(end) => return end,
            }
        }
    }

    fn say(&mut self, line: &str) {
        self.said.extend_from_slice(line.as_bytes());
        self.said.extend_from_slice(b"\r\n");
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.said.is_empty() {
            self.stream.write_all(&self.said).await?;
            self.stream.flush().await?;
            self.said.clear();
        }
        Ok(())
    }

    /// Never answers; ends when the peer does.
    async fn hang(&mut self) -> End {
        let mut ignored = [0; 1024];
        while self
            .stream
            .read(&mut ignored)
            .await
            .is_ok_and(|some| some > 0)
        {}
        End::Close
    }

    /// More bytes; what is to be said goes out first, so that a pipelined group is answered at once.
    async fn listen(&mut self) -> Result<(), End> {
        self.flush().await?;
        self.heard.drain(..self.read);
        self.read = 0;
        if self.stream.read_buf(&mut self.heard).await? == 0 {
            return Err(End::Close);
        }
        Ok(())
    }

    async fn line(&mut self) -> Result<String, End> {
        loop {
            let rest = &self.heard[self.read..];
            if let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&rest[..end]).into_owned();
                self.read += end + 2;
                return Ok(line);
            }
            self.listen().await?;
        }
    }

    async fn turn(&mut self) -> Result<(), End> {
        let line = self.line().await?;
        let verb = line
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        if self.shared.options.keep_bytes {
            locked(&self.shared.heard).push(format!("{}: {verb}", self.session));
        }
        match verb.as_str() {
            "EHLO" if self.shared.options.ehlo => self.hello(),
            "HELO" => self.say("250 sink"),
            "STARTTLS" => return self.start_tls().await,
            "AUTH" if line.starts_with("AUTH XOAUTH2") => self.auth_by_token(&line).await?,
            "AUTH" => self.auth(&line).await?,
            "MAIL" if !self.logged_in => self.say("530 5.7.0 authentication required"),
            "MAIL" => {
                let from = path(&line);
                if self.behave("mail", &from).await? {
                    self.from = from;
                    self.rcpt = None;
                    self.say("250 2.1.0 ok");
                }
            }
            "RCPT" if self.from.is_empty() => self.say("503 5.5.1 need MAIL"),
            "RCPT" => {
                let rcpt = path(&line);
                if self.behave("rcpt", &rcpt).await? {
                    self.rcpt = Some(rcpt);
                    self.say("250 2.1.5 ok");
                }
            }
            "DATA" => self.data().await?,
            "RSET" => {
                self.forget();
                self.say("250 2.0.0 ok");
            }
            "NOOP" => self.say("250 2.0.0 ok"),
            "QUIT" => {
                self.say("221 2.0.0 bye");
                return Err(End::Close);
            }
            _ => self.say("500 5.5.2 what"),
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.from.clear();
        self.rcpt = None;
    }

    fn hello(&mut self) {
        let options = &self.shared.options;
        let mut features = options.features.clone();
        if options.auth {
            features.push("AUTH PLAIN LOGIN");
        }
        if options.tokens.is_some() {
            features.push("AUTH LOGIN XOAUTH2");
        }
        if options.start_tls.is_some() && !self.encrypted {
            features.push("STARTTLS");
        }
        let mut lines = vec!["sink"];
        lines.extend(features);
        let last = lines.len() - 1;
        for (at, line) in lines.into_iter().enumerate() {
            self.say(&format!("250{}{line}", if at == last { ' ' } else { '-' }));
        }
    }

    async fn start_tls(&mut self) -> Result<(), End> {
        match self.shared.options.start_tls.clone() {
            Some(tls) if !self.encrypted => {
                self.say("220 2.0.0 go ahead");
                self.said
                    .extend_from_slice(self.shared.options.injected.as_bytes());
                self.flush().await?;
                Err(End::StartTls(tls))
            }
            _ => {
                self.say("502 5.5.1 no");
                Ok(())
            }
        }
    }

    /// PLAIN with its initial response, or LOGIN with two questions. The password is the last of
    /// the strings that follow; it is compared as base64, of which the end is enough.
    async fn auth(&mut self, line: &str) -> Result<(), End> {
        let mut words = line.split(' ').skip(1);
        let bad = if words.next() == Some("LOGIN") {
            self.say("334 VXNlcm5hbWU6");
            self.line().await?;
            self.say("334 UGFzc3dvcmQ6");
            self.line().await? == "YmFk"
        } else {
            let decoded = words.next().map(decode_base64).unwrap_or_default();
            decoded.ends_with(b"\0bad")
        };
        self.logged_in = !bad;
        self.say(if bad {
            "535 5.7.8 bad credentials"
        } else {
            "235 2.7.0 ok"
        });
        Ok(())
    }

    /// XOAUTH2, with what is said in the command or, where that would be too long, after a question.
    async fn auth_by_token(&mut self, line: &str) -> Result<(), End> {
        let said = match line.strip_prefix("AUTH XOAUTH2 ") {
            Some(_) if line.len() > 510 => {
                self.say("500 5.5.6 line too long");
                return Ok(());
            }
            Some(said) => said.to_owned(),
            None => {
                self.say("334 ");
                self.line().await?
            }
        };
        let said = String::from_utf8_lossy(&decode_base64(&said)).into_owned();
        let token = said
            .strip_prefix("user=ada\x01auth=Bearer ")
            .and_then(|rest| rest.strip_suffix("\x01\x01"))
            .unwrap_or_default();
        let known = self.shared.options.tokens.as_ref();
        self.logged_in = known.is_some_and(|known| locked(known).contains(token));
        locked(&self.shared.heard).push(format!("{}: token {token}", self.session));
        if self.logged_in {
            self.say("235 2.7.0 ok");
            return Ok(());
        }
        if !token.starts_with("flat") {
            self.say("334 eyJzdGF0dXMiOiI0MDEifQ==");
            if !self.line().await?.is_empty() {
                self.say("501 5.5.2 an empty line was expected");
                return Ok(());
            }
        }
        self.say("535 5.7.8 Username and Password not accepted");
        Ok(())
    }

    async fn data(&mut self) -> Result<(), End> {
        let rcpt = match self.rcpt.clone() {
            Some(rcpt) => rcpt,
            None if self.shared.options.grants_data_to_nobody => String::new(),
            None => {
                self.say("554 5.5.1 no valid recipients");
                return Ok(());
            }
        };
        if !self.behave("data", &rcpt).await? {
            return Ok(());
        }
        self.say("354 go");
        let raw = self.body().await?;
        if rcpt.is_empty() {
            self.say("554 5.5.1 no valid recipients");
            return Ok(());
        }
        if !self.behave("dot", &rcpt).await? {
            self.forget();
            return Ok(());
        }
        self.take(rcpt, raw).await
    }

    /// The message up to its final dot.
    async fn body(&mut self) -> Result<Vec<u8>, End> {
        let mut body = Vec::new();
        let mut searched = self.read;
        loop {
            // An empty message is the final dot alone.
            if self.heard[self.read..].starts_with(b".\r\n") {
                self.read += 3;
                return Ok(body);
            }
            let found = self.heard[searched..]
                .windows(5)
                .position(|five| five == b"\r\n.\r\n");
            if let Some(at) = found {
                let end = searched + at + 2;
                for line in self.heard[self.read..end].split_inclusive(|&byte| byte == b'\n') {
                    body.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
                }
                self.read = end + 3;
                return Ok(body);
            }
            self.listen().await?;
            searched = 0;
        }
    }

    /// The message is accepted; whether the sender hears of it is another matter.
    async fn take(&mut self, rcpt: String, raw: Vec<u8>) -> Result<(), End> {
        let local = local_part(&rcpt);
        let late = ["late-drop", "late-hang", "late-slow", "partial"]
            .into_iter()
            .find(|word| local.contains(word));
        let received = Received {
            message_id: header(&raw, "message-id"),
            subject: header(&raw, "subject"),
            from: std::mem::take(&mut self.from),
            raw: if self.shared.options.keep_bytes {
                raw
            } else {
                Vec::new()
            },
            acked: matches!(late, None | Some("late-slow")),
            session: self.session,
            at: self.shared.started.elapsed(),
            rcpt,
        };
        locked(&self.shared.ledger).push(received);
        self.shared.accepted.fetch_add(1, Ordering::SeqCst);
        self.forget();
        self.taken += 1;
        match late {
            Some("late-drop") => return Err(End::Reset),
            Some("late-hang") => return Err(self.hang().await),
            Some("partial") => {
                self.said.extend_from_slice(b"250 2.0");
                self.flush().await?;
                return Err(End::Close);
            }
            Some(_) => self.wait(self.shared.options.slow).await,
            None => {}
        }
        self.say("250 2.0.0 queued");
        if self
            .shared
            .options
            .close_after
            .is_some_and(|max| self.taken >= max)
        {
            return Err(End::Close);
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "being slow is what this server is asked for"
    )]
    async fn wait(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// Does what `address` asks for at `stage`; whether the stage is passed.
    async fn behave(&mut self, stage: &'static str, address: &str) -> Result<bool, End> {
        let local = local_part(address);
        if let Some(reply) = reply_for(&local, stage) {
            self.say(&format!("{reply} on purpose"));
            return Ok(false);
        }
        let Some((word, times)) = word_for(&local, stage) else {
            return Ok(true);
        };
        if let Some(times) = times {
            let mut tries = locked(&self.shared.tries);
            let tries = tries.entry((address.to_owned(), stage)).or_default();
            *tries += 1;
            if *tries > times {
                return Ok(true);
            }
        }
        match word {
            "soft" => self.say("451 4.3.0 try again later"),
            "hard" => self.say("550 5.1.1 user unknown"),
            "421" => {
                self.say("421 4.7.0 closing");
                return Err(End::Close);
            }
            // What was said before the reset arrives before it.
            "drop" => {
                self.flush().await?;
                return Err(End::Reset);
            }
            _ => {
                self.flush().await?;
                return Err(self.hang().await);
            }
        }
        Ok(false)
    }
}

/// The codes that `local` asks to be refused with at `stage`.
fn reply_for(local: &str, stage: &str) -> Option<String> {
    let asked = local.strip_prefix("reply-")?;
    let codes = asked.strip_suffix(stage)?.strip_suffix('-')?;
    Some(codes.replace('-', " "))
}

/// The word that `local` has for `stage`, and how many times it holds.
fn word_for(local: &str, stage: &str) -> Option<(&'static str, Option<u32>)> {
    let (before, _) = local.split_once(&format!("-{stage}"))?;
    let word = before.trim_end_matches(|char: char| char.is_ascii_digit());
    // 421 is a number itself.
    if before.ends_with("421") {
        return Some(("421", None));
    }
    let known = ["soft", "hard", "drop", "hang"]
        .into_iter()
        .find(|known| word.ends_with(known))?;
    Some((known, before[word.len()..].parse().ok()))
}

fn local_part(address: &str) -> String {
    address
        .rsplit_once('@')
        .map_or(address, |(local, _)| local)
        .to_ascii_lowercase()
}

/// What stands between the angle brackets of MAIL or RCPT.
fn path(line: &str) -> String {
    line.split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map(|(path, _)| path.to_owned())
        .unwrap_or_default()
}

/// A header's value, unfolded.
fn header(raw: &[u8], name: &str) -> String {
    let end = raw
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(raw.len());
    let mut value = String::new();
    let mut inside = false;
    for line in raw[..end].split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if inside {
                value.push_str(&String::from_utf8_lossy(line));
            }
            continue;
        }
        inside = line.len() > name.len()
            && line[..name.len()].eq_ignore_ascii_case(name.as_bytes())
            && line[name.len()] == b':';
        if inside {
            value = String::from_utf8_lossy(&line[name.len() + 1..]).into_owned();
        }
    }
    value.trim().to_owned()
}

fn decode_base64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for digit in text
        .bytes()
        .filter_map(|byte| alphabet.iter().position(|&a| a == byte))
    {
        bits = (bits << 6) | u32::try_from(digit).unwrap_or(0);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).unwrap_or(0));
        }
    }
    bytes
}
