//! `cadenza serve`.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{DatabaseArgs, Failure, KeyArgs};
use crate::app::token::access::RateLimit;
use crate::channel::web::WebConfig;
use crate::clock::Clock;
use crate::domain::network::{Networks, NotANetwork, Reach};
use crate::domain::tracking::BaseUrl;
use crate::entropy::Entropy;
use crate::http::{
    self, CONNECTIONS, CONNECTIONS_OF_ADDRESS, Connections, Documents, IMPORT_MAX, Origins,
    Proxies, UPLOAD_MAX,
};
use crate::server::{self, Config, Server};
use crate::store::workspace;

/// What a token may do where nothing is said: enough for a dashboard and a script side by side.
pub const RATE_LIMIT: RateLimit = RateLimit {
    per_second: 200,
    burst: 1_000,
};

pub(super) const EXAMPLES: &str = "\
It brings the schema of the database up to date at its start, and ends gracefully on SIGTERM: no
new messages are begun, those on their way are finished and recorded, streams are closed.

Examples:
  cadenza serve
  cadenza serve --listen 0.0.0.0:80 --database postgres://cadenza@db.example/cadenza
  CADENZA_LOG=debug cadenza serve --database sqlite:///var/lib/cadenza/cadenza.db";

/// How to serve.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Where to listen for HTTP; port 0 takes a free one
    #[arg(
        long,
        env = "CADENZA_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub key: KeyArgs,
    /// How long a server that gives no sign of life keeps what it holds; then the others, or the
    /// same one after its restart, take over
    #[arg(long, env = "CADENZA_LEASE_SECONDS", default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub lease_seconds: u64,
    /// How long the end may take after SIGTERM
    #[arg(long, env = "CADENZA_SHUTDOWN_SECONDS", default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub shutdown_seconds: u64,
    /// The largest request of an editor or admin, in mebibytes: a CSV file is imported as one text
    #[arg(long, env = "CADENZA_UPLOAD_MEBIBYTES", default_value_t = UPLOAD_MAX >> 20, value_name = "MIB", value_parser = mebibytes)]
    pub upload_mebibytes: usize,
    /// The largest CSV file that is taken in by POST /import/people, in mebibytes
    #[arg(long, env = "CADENZA_IMPORT_MEBIBYTES", default_value_t = IMPORT_MAX >> 20, value_name = "MIB", value_parser = mebibytes)]
    pub import_mebibytes: usize,
    /// Run only the documents of this file: an Apollo persisted query manifest, or an object of
    /// hashes and documents as Relay writes it. Without it, any document is run
    #[arg(long, env = "CADENZA_TRUSTED_DOCUMENTS", value_name = "FILE")]
    pub trusted_documents: Option<PathBuf>,
    /// The origins of web pages elsewhere that may use the API from a browser, separated by commas:
    /// https://app.example.com
    #[arg(
        long,
        env = "CADENZA_ALLOWED_ORIGINS",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub allowed_origins: Vec<String>,
    /// How many requests a token may make in a second, on all nodes together; 0 for any number
    #[arg(
        long,
        env = "CADENZA_RATE_LIMIT",
        default_value_t = RATE_LIMIT.per_second,
        value_name = "REQUESTS"
    )]
    pub rate_limit: u32,
    /// How many requests a token may make at once, before the limit counts; 0 for those of a second
    #[arg(
        long,
        env = "CADENZA_RATE_BURST",
        default_value_t = RATE_LIMIT.burst,
        value_name = "REQUESTS"
    )]
    pub rate_burst: u32,
    /// How many connections are open at a time
    #[arg(long, env = "CADENZA_CONNECTIONS", default_value_t = CONNECTIONS, value_name = "CONNECTIONS", value_parser = connections)]
    pub connections: usize,
    /// How many of them come from one address, and how many requests and sockets of one address a
    /// trusted proxy hands on at a time; 0 for any number
    #[arg(
        long,
        env = "CADENZA_CONNECTIONS_PER_ADDRESS",
        default_value_t = CONNECTIONS_OF_ADDRESS,
        value_name = "CONNECTIONS"
    )]
    pub connections_per_address: usize,
    /// The addresses or networks of proxies in front of this server, separated by commas; the
    /// address of a client is read from what they add to X-Forwarded-For or Forwarded
    #[arg(
        long,
        env = "CADENZA_TRUSTED_PROXIES",
        value_name = "NETWORK",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<String>,
    /// The private addresses or networks that webhooks and providers of text messages may be at,
    /// separated by commas; without it, only those of the Internet at large
    #[arg(
        long,
        env = "CADENZA_ALLOW_NETWORKS",
        value_name = "NETWORK",
        value_delimiter = ','
    )]
    pub allow_networks: Vec<String>,
    /// The private addresses or networks that mail servers may be at, separated by commas, or none
    /// for those of the Internet at large alone; without it, mail servers may be anywhere
    #[arg(
        long,
        env = "CADENZA_ALLOW_SMTP_NETWORKS",
        value_name = "NETWORK",
        value_delimiter = ','
    )]
    pub allow_smtp_networks: Vec<String>,
    /// The name servers to ask about the domains of senders, separated by commas, such as 9.9.9.9 or
    /// 127.0.0.1:5353; without it, those of the machine
    #[arg(
        long,
        env = "CADENZA_NAME_SERVERS",
        value_name = "ADDRESS",
        value_delimiter = ',',
        value_parser = name_server
    )]
    pub name_servers: Vec<SocketAddr>,
    /// The name that this server gives when it says hello to a mail server; without it, the name
    /// of the machine
    #[arg(long, env = "CADENZA_HELLO_NAME", value_name = "NAME")]
    pub hello_name: Option<String>,
    /// The address by which contacts reach this server, such as https://mail.example.com: links and
    /// opt-outs in emails lead there. Without it, emails are not tracked and have no opt-out by one
    /// click, unless their sender has a tracking domain of its own
    #[arg(long, env = "CADENZA_PUBLIC_URL", value_name = "URL", value_parser = BaseUrl::parse)]
    pub public_url: Option<BaseUrl>,
}

/// Where mail servers may be, as it is written.
fn smtp_reach(written: &[String]) -> Result<Reach, NotANetwork> {
    match written {
        [] => Ok(Reach::Anywhere),
        [only] if only.trim().eq_ignore_ascii_case("none") => {
            Ok(Reach::InternetAnd(Networks::default()))
        }
        written => Networks::read(written.iter().map(String::as_str)).map(Reach::InternetAnd),
    }
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let with_port = text.parse::<SocketAddr>();
    let plain = || {
        text.parse::<IpAddr>()
            .map(|address| SocketAddr::new(address, 53))
    };
    with_port
        .or_else(|_| plain())
        .map_err(|_| "give the address of a name server, such as 9.9.9.9 or 127.0.0.1:5353".into())
}

fn mebibytes(text: &str) -> Result<usize, String> {
    let number = text
        .parse::<usize>()
        .ok()
        .filter(|number| (1..=2048).contains(number));
    number.ok_or_else(|| "give a number from 1 to 2048".into())
}

fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().ok();
    let number = number.filter(|number| (1..=1_000_000).contains(number));
    number.ok_or_else(|| "give a number from 1 to 1000000".into())
}

impl ServeArgs {
    /// Opens everything and gets ready to serve, on this clock.
    ///
    /// # Errors
    /// Where the database cannot be reached or used, the key is not the database's, or the address
    /// cannot be listened on.
    pub async fn server(&self, clock: Clock) -> Result<Server, Failure> {
        let lock = match self.database.sqlite_file() {
            Some(file) => Some(server::FileLock::take(&file)?),
            None => None,
        };
        let entropy = Entropy::system();
        let db = self.database.open().await?;
        let bound = workspace::bound_key(db.read()).await?;
        let secrets = self.key.load(&self.database, &entropy, bound.as_deref())?;
        let documents = match &self.trusted_documents {
            Some(file) => Documents::trusted(file)?,
            None => Documents::registered_by_clients(),
        };
        let origins = Origins::read(self.allowed_origins.iter().map(String::as_str))?;
        let proxies = Proxies::read(self.trusted_proxies.iter().map(String::as_str))?;
        let allowed_networks = Networks::read(self.allow_networks.iter().map(String::as_str))?;
        let connections = Connections {
            most: self.connections,
            of_address: self.connections_per_address,
            ..Connections::default()
        };
        let config = Config {
            listen: self.listen,
            lease: Duration::from_secs(self.lease_seconds),
            shutdown_within: Duration::from_secs(self.shutdown_seconds),
            http: http::Options {
                upload_max: self.upload_mebibytes << 20,
                import_max: self.import_mebibytes << 20,
                documents,
                origins,
                proxies,
                connections: connections.fitting(),
            },
            rate_limit: RateLimit {
                per_second: self.rate_limit,
                burst: self.rate_burst,
            },
            web: WebConfig {
                allowed_networks,
                ..WebConfig::default()
            },
            smtp_reach: smtp_reach(&self.allow_smtp_networks)?,
            name_servers: self.name_servers.clone(),
            hello_name: self.hello_name.clone(),
            public_url: self.public_url.clone(),
            lock,
        };
        Ok(Server::start(config, db, clock, entropy, secrets).await?)
    }
}

pub(super) async fn run(arguments: ServeArgs) -> Result<(), Failure> {
    let shown = arguments.database.shown();
    let server = arguments.server(Clock::system()).await?;
    let address = server.address();
    let welcome = format!(
        "listening on http://{address}
  API       http://{address}/graphql (POST, GET, SSE; WebSocket graphql-transport-ws)
  GraphiQL  http://{address}/
  health    http://{address}/healthz
  database  {shown}"
    );
    // Whoever started it may not listen, which is no reason not to serve.
    if let Err(error) = writeln!(std::io::stdout(), "{welcome}") {
        tracing::warn!(%error, "nothing can be written to standard output");
    }
    server.run_until(server::told_to_end()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(written: &[&str]) -> Result<Reach, NotANetwork> {
        let written: Vec<String> = written.iter().map(ToString::to_string).collect();
        smtp_reach(&written)
    }

    #[test]
    fn mail_servers_may_be_anywhere_until_networks_are_named() {
        let here = "127.0.0.1".parse().expect("an address");
        let other = "10.0.0.1".parse().expect("an address");
        let allowed = |written: &[&str]| {
            let reach = reach(written).expect("networks");
            (reach.allows(here), reach.allows(other))
        };
        assert_eq!(allowed(&[]), (true, true));
        assert_eq!(allowed(&["none"]), (false, false));
        assert_eq!(allowed(&["127.0.0.0/8"]), (true, false));
        assert_eq!(allowed(&["127.0.0.1", " 10.0.0.0/8"]), (true, true));
        for wrong in [&[""][..], &["any"], &["none", "10.0.0.0/8"]] {
            assert!(reach(wrong).is_err(), "{wrong:?}");
        }
    }
}
