//! A database, a token and a running server, made for one test and taken away after it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::Client;

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// Where a test lives.
pub struct World {
    pub url: String,
    pub token: String,
    pub folder: tempfile::TempDir,
}

/// A running `cadenza serve`.
pub struct Server {
    pub child: Child,
    pub address: String,
}

pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_cadenza"))
}

impl World {
    pub async fn new(database: Database) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = match database {
            Database::Sqlite => {
                format!("sqlite://{}", folder.path().join("cadenza.db").display())
            }
            Database::Postgres => fresh_postgres().await,
        };
        let mut world = Self {
            url,
            token: String::new(),
            folder,
        };
        let made = world
            .command(&["token", "create", "--workspace", "test", "--role", "admin"])
            .output()
            .await
            .expect("the binary runs");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        world.token = String::from_utf8(made.stdout)
            .expect("text")
            .trim()
            .to_owned();
        world
    }

    /// The binary with the world's database and key.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("CADENZA_DATABASE", &self.url)
            .env("CADENZA_LOG", "warn")
            // Who waits for something asks as often as there is something to tell.
            .env("CADENZA_RATE_LIMIT", "100000")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub async fn serve(&self) -> Server {
        self.serve_with(&[]).await
    }

    /// Serves with more flags.
    pub async fn serve_with(&self, flags: &[&str]) -> Server {
        self.serve_as(flags, &[]).await
    }

    /// Serves where these variables are set.
    pub async fn serve_in(&self, variables: &[(&str, &str)]) -> Server {
        self.serve_as(&[], variables).await
    }

    async fn serve_as(&self, flags: &[&str], variables: &[(&str, &str)]) -> Server {
        let mut child = self
            .command(&["serve", "--listen", "127.0.0.1:0", "--lease-seconds", "2"])
            .args(flags)
            .envs(variables.iter().copied())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary runs");
        let stdout = child.stdout.take().expect("piped");
        let mut lines = BufReader::new(stdout).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if let Some((_, address)) = line.split_once("listening on http://") {
                    return address
                        .split_whitespace()
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                }
            }
            panic!("the server ended before it listened");
        };
        let address = tokio::time::timeout(Duration::from_secs(60), listening)
            .await
            .expect("the server listens within a minute");
        // Whatever else it prints is read, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Server { child, address }
    }
}

impl Server {
    pub fn client(&self, world: &World) -> Client {
        Client::new(&self.address, &world.token)
    }

    /// Ends it as a power cut would.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("dies");
    }

    /// Ends it as an operator would; answers whether it said goodbye properly.
    pub async fn terminate(mut self) -> bool {
        let id = self.child.id().expect("runs").to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .await
            .expect("kill runs");
        assert!(sent.success());
        let ended = tokio::time::timeout(Duration::from_secs(40), self.child.wait()).await;
        ended
            .expect("ends within its deadline")
            .expect("ends")
            .success()
    }
}

async fn fresh_postgres() -> String {
    use sea_orm::{ConnectionTrait, Database};
    let base = std::env::var("TEST_POSTGRES_URL").expect(
        "TEST_POSTGRES_URL names the PostgreSQL server of the tests: run them by `make test`",
    );
    let name = format!(
        "e2e_{}_{}",
        std::process::id(),
        cadenza::entropy::Entropy::system().bits()
    );
    let admin = Database::connect(&base).await.expect("PostgreSQL answers");
    admin
        .execute_unprepared(&format!("CREATE DATABASE {name}"))
        .await
        .expect("a database");
    let (server, _) = base.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{name}")
}

/// Waits until `look` answers something; level-triggered, bounded, and never a fixed wait.
pub async fn until<T>(what: &str, seconds: u64, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tick.tick().await;
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within {seconds} s: {what}"
        );
    }
}
