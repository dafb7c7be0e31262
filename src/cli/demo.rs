//! `cadenza demo`.

use std::net::SocketAddr;
use std::path::Path;

use clap::Args;

use super::serve::{RATE_LIMIT, ServeArgs};
use super::{DatabaseArgs, Failure, KeyArgs};
use crate::app::Role;
use crate::app::token::{self, Terms};
use crate::clock::Clock;
use crate::demo;
use crate::domain::tracking::BaseUrl;
use crate::http::{CONNECTIONS, CONNECTIONS_OF_ADDRESS, IMPORT_MAX, UPLOAD_MAX};
use crate::server;

pub(super) const EXAMPLES: &str = "\
People, senders, three sequences and their leads, on a clock that runs a day in a minute: messages
leave, are opened, clicked and answered while you watch. Nothing is sent outside: the senders are
outboxes. The demo's own file is made anew at every start.

Examples:
  cadenza demo
  cadenza demo --speed 60 --listen 127.0.0.1:9090";

/// The demo's own file, which nobody else uses.
const OWN_FILE: &str = "cadenza-demo.db";
/// The workspace that the demo fills.
const WORKSPACE: &str = "demo";

/// How to show the demo.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Where to listen for HTTP; port 0 takes a free one
    #[arg(
        long,
        env = "CADENZA_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    listen: SocketAddr,
    /// Another database than the demo's own file: an empty one, as the demo's clock runs ahead
    // Not --database: who has CADENZA_DATABASE set for a real server must not fill it by accident.
    #[arg(
        long,
        env = "CADENZA_DEMO_DATABASE",
        hide_env_values = true,
        value_name = "URL"
    )]
    demo_database: Option<String>,
    /// How many times as fast as real time the clock runs
    #[arg(long, env = "CADENZA_SPEED", default_value_t = 1440, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    speed: u32,
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) async fn run(arguments: DemoArgs) -> Result<(), Failure> {
    let database = match arguments.demo_database {
        Some(url) => url,
        None => {
            let lock = server::FileLock::take(Path::new(OWN_FILE))?;
            start_anew()?;
            drop(lock);
            format!("sqlite://{OWN_FILE}")
        }
    };
    let serving = ServeArgs {
        listen: arguments.listen,
        database: DatabaseArgs {
            database,
            connect_seconds: 30,
        },
        key: arguments.key,
        lease_seconds: 30,
        shutdown_seconds: 30,
        public_url: BaseUrl::parse(&format!("http://{}", arguments.listen)).ok(),
        upload_mebibytes: UPLOAD_MAX >> 20,
        import_mebibytes: IMPORT_MAX >> 20,
        trusted_documents: None,
        allowed_origins: Vec::new(),
        rate_limit: RATE_LIMIT.per_second,
        rate_burst: RATE_LIMIT.burst,
        connections: CONNECTIONS,
        connections_per_address: CONNECTIONS_OF_ADDRESS,
        trusted_proxies: Vec::new(),
        allow_networks: Vec::new(),
        allow_smtp_networks: Vec::new(),
        name_servers: Vec::new(),
        hello_name: None,
    };
    let mut server = serving.server(Clock::accelerated(arguments.speed)).await?;
    let services = server.services().clone();
    let made = token::create(
        &services.db,
        &services.clock,
        &services.entropy,
        WORKSPACE,
        &Terms::of(Role::Admin),
    )
    .await?;
    let caller = made.caller;
    demo::furnish(server.schema(), &services, &caller).await?;
    server.spawn(|shutdown| demo::live(services, caller.workspace, shutdown));
    say(&server, &made.secret, arguments.speed);
    server.run_until(server::told_to_end()).await?;
    Ok(())
}

fn say(server: &server::Server, token: &str, speed: u32) {
    let address = server.address();
    println!("listening on http://{address}");
    println!();
    println!("  The demo runs: every real second is {speed} seconds of its clock.");
    println!("  Open        http://{address}/");
    println!("  and give it this header: {{ \"Authorization\": \"Bearer {token}\" }}");
    println!();
    println!("  Watch everything happen:");
    println!(
        "    subscription {{ executionEvents {{ cursor at kind stepKey lead {{ person {{ email }} }} }} }}"
    );
    println!("  See where everybody is:");
    println!(
        "    {{ sequences {{ nodes {{ name leadCounts {{ pending completed stopped total }} }} }} }}"
    );
    println!("  Or from a shell:");
    println!("    curl -s http://{address}/graphql -H 'Authorization: Bearer {token}' \\");
    println!("      -H 'Content-Type: application/json' \\");
    println!(
        "      -d '{{\"query\":\"{{ sequences {{ nodes {{ name leadCounts {{ total }} }} }} }}\"}}'"
    );
    println!();
    println!("  Ctrl-C ends it.");
}

/// Removes what the demo left when it last ended: its clock had run ahead.
fn start_anew() -> Result<(), Failure> {
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::remove_file(format!("{OWN_FILE}{suffix}")) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(format!("{OWN_FILE} cannot be made anew: {error}").into());
            }
        }
    }
    Ok(())
}
