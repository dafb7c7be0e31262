//! Real servers for mail, as `.ci/mail-world` begins them, for one test.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// Who has a mailbox, with which password; a token of each that lasts is `token-of-` and the name, and the
/// first refresh token is `refresh-0-of-` and the name.
pub const ACCOUNTS: [(&str, &str); 3] = [("ada", "adapw"), ("bob", "bobpw"), ("carol", "carolpw")];

/// Postfix and Dovecot; they end when this is dropped.
pub struct MailWorld {
    folder: tempfile::TempDir,
    script: Child,
    pub tokens: TokenServer,
    pub smtp: u16,
    pub submission: u16,
    pub imap: u16,
    pub imaps: u16,
}

impl MailWorld {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        certify(folder.path());
        let accounts: String = ACCOUNTS
            .iter()
            .map(|(name, password)| format!("{name} {password}\n"))
            .collect();
        std::fs::write(folder.path().join("accounts"), accounts).expect("writes");
        let tokens = TokenServer::start().await;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/mail-world");
        let mut script = Command::new(script)
            .arg(folder.path())
            .arg(tokens.port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script begins");
        let stdout = script.stdout.take().expect("piped");
        let mut lines = BufReader::new(stdout).lines();
        // What is missing is installed first.
        let ready = tokio::time::timeout(Duration::from_secs(300), lines.next_line());
        let ready = ready.await.expect("within five minutes");
        let ready = ready.expect("text").expect("the servers begin");
        let port = |name: &str| {
            let mut words = ready.split_whitespace();
            let port = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            port.expect("a port").parse().expect("a port")
        };
        Self {
            tokens,
            smtp: port("smtp"),
            submission: port("submission"),
            imap: port("imap"),
            imaps: port("imaps"),
            folder,
            script,
        }
    }

    /// Ends the servers; without it they end by themselves a little later.
    pub async fn end(mut self) {
        drop(self.script.stdin.take());
        let ended = tokio::time::timeout(Duration::from_secs(30), self.script.wait()).await;
        let ended = ended.expect("the servers end").expect("ends");
        assert!(ended.success());
    }

    /// The certificate of who has certified the servers.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("tls/authority.pem")
    }

    /// The mails in somebody's mailbox, in no order; empty before the first.
    pub fn mails(&self, name: &str) -> Vec<String> {
        let mut mails = Vec::new();
        for part in ["new", "cur"] {
            let folder = self.folder.path().join("mail").join(name).join("Maildir");
            let Ok(entries) = std::fs::read_dir(folder.join(part)) else {
                continue;
            };
            for entry in entries {
                let read = std::fs::read(entry.expect("an entry").path());
                mails.push(String::from_utf8_lossy(&read.expect("readable")).into_owned());
            }
        }
        mails
    }

    /// How many mails of somebody nobody has seen: Maildir keeps the flag in the name.
    pub fn unseen(&self, name: &str) -> usize {
        let folder = self.folder.path().join("mail").join(name).join("Maildir");
        let names = ["new", "cur"].map(|part| std::fs::read_dir(folder.join(part)));
        let entries = names.into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .filter(|name| {
                let name = name.to_string_lossy();
                !name
                    .rsplit_once(":2,")
                    .is_some_and(|(_, flags)| flags.contains('S'))
            })
            .count()
    }

    /// Takes away what Dovecot knows of the order of somebody's mails: the folder is another one then.
    pub fn forget_uids(&self, name: &str) {
        let folder = self.folder.path().join("mail").join(name).join("Maildir");
        for entry in std::fs::read_dir(folder).expect("there") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            if name.starts_with("dovecot") {
                std::fs::remove_file(path).expect("goes");
            }
        }
    }
}

/// A certificate for this machine, and who has signed it.
fn certify(folder: &Path) {
    let tls = folder.join("tls");
    std::fs::create_dir(&tls).expect("a folder");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
    let authority = authority.expect("an authority");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(names).expect("parameters");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    for (name, content) in [
        ("authority.pem", authority.pem()),
        ("cert.pem", certificate.pem()),
        ("key.pem", key.serialize_pem()),
    ] {
        std::fs::write(tls.join(name), content).expect("writes");
    }
}

/// A server that knows whose a token is, as Dovecot asks one, and that gives out new ones for refresh tokens.
pub struct TokenServer {
    port: u16,
    state: Arc<Mutex<Tokens>>,
}

/// The tokens that are good by now.
#[derive(Default)]
struct Tokens {
    /// Whose an access token is, of those that were given out.
    access: HashMap<String, &'static str>,
    /// How often each account's refresh token was replaced.
    given: HashMap<&'static str, u32>,
}

impl TokenServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::<Mutex<Tokens>>::default();
        let tokens = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tokens = Arc::clone(&tokens);
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, &tokens).await {
                        eprintln!("an answer about a token was not wanted: {error}");
                    }
                });
            }
        });
        Self { port, state }
    }

    /// Where refresh tokens are taken.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/refresh", self.port)
    }

    /// How often somebody got an access token for a refresh token.
    pub fn given(&self, name: &str) -> u32 {
        let state = self.state.lock().expect("tokens");
        state.given.get(name).copied().unwrap_or(0)
    }

    /// Takes back every access token that was given out.
    pub fn take_back(&self) {
        self.state.lock().expect("tokens").access.clear();
    }
}

/// Answers one request.
async fn answer(mut stream: TcpStream, tokens: &Mutex<Tokens>) -> std::io::Result<()> {
    let mut heard = Vec::new();
    let text = loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse().ok())?
            });
            if body.len() >= length.unwrap_or(0_usize) {
                break text;
            }
        }
        if stream.read_buf(&mut heard).await? == 0 {
            return Ok(());
        }
    };
    let (status, body) = match text.starts_with("POST /refresh") {
        true => give(&text, &mut tokens.lock().expect("tokens")),
        false => tell(&text, &tokens.lock().expect("tokens")),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await
}

/// Whose the access token is that a request holds.
fn tell(request: &str, tokens: &Tokens) -> (&'static str, String) {
    let given = tokens.access.iter();
    let given = given.map(|(token, name)| (token.clone(), *name));
    let lasting = ACCOUNTS
        .iter()
        .map(|(name, _)| (format!("token-of-{name}"), *name));
    let known = given
        .chain(lasting)
        .find(|(token, _)| request.contains(token));
    match known {
        Some((_, name)) => {
            let body = format!(r#"{{"active":true,"email":"{name}@example.test"}}"#);
            ("200 OK", body)
        }
        None => ("401 Unauthorized", r#"{"active":false}"#.to_owned()),
    }
}

/// An access token for a refresh token, which is taken once: the next one comes with it.
fn give(request: &str, tokens: &mut Tokens) -> (&'static str, String) {
    let offered = ACCOUNTS.iter().find(|(name, _)| {
        let number = tokens.given.get(name).copied().unwrap_or(0);
        request.contains(&format!("refresh_token=refresh-{number}-of-{name}&"))
    });
    let Some((name, _)) = offered else {
        return ("400 Bad Request", r#"{"error":"invalid_grant"}"#.to_owned());
    };
    let number = tokens.given.entry(name).or_default();
    *number += 1;
    let access = format!("fresh-{number}-of-{name}");
    let body = format!(
        r#"{{"access_token":"{access}","token_type":"Bearer","expires_in":3600,
            "refresh_token":"refresh-{number}-of-{name}"}}"#
    );
    tokens.access.insert(access, name);
    ("200 OK", body)
}
