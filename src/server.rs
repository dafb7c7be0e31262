//! The composition root: puts the parts together, starts them, and ends them in order.
//!
//! Everything that runs by itself is a task in one list, with one token that ends it; nothing is
//! started elsewhere. The server begins to listen before anything works, so that an address in use
//! is found out first.

use std::fs::{File, OpenOptions, TryLockError};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, interval_at, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::app::Services;
use crate::app::oauth::Grants;
use crate::app::token::access::RateLimit;
use crate::bulk::runner::Runner;
use crate::channel::dispatch::{Channel, TransportConfig};
use crate::channel::web::WebConfig;
use crate::clock::Clock;
use crate::domain::holidays;
use crate::domain::network::Reach;
use crate::domain::tracking::BaseUrl;
use crate::engine::{Engine, EngineConfig, EngineError};
use crate::entropy::Entropy;
use crate::graphql::CadenzaSchema;
use crate::http::{self, Http};
use crate::inbound;
use crate::secrets::Secrets;
use crate::store::{Db, StoreError, dialect, workspace};
use crate::wake::Wake;
use crate::webhook;
use crate::workflow;
use crate::zones::ZoneDatabase;

/// How far the database's clock may be off: leases and caps are reckoned with this machine's.
const SKEW_MAX_MS: i64 = 2_000;
/// The pauses before listening to the database again, first and longest.
const RECONNECT_FIRST: Duration = Duration::from_millis(200);
const RECONNECT_MOST: Duration = Duration::from_secs(10);

/// How to serve.
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long a worker that gives no sign of life keeps what it holds.
    pub lease: Duration,
    /// How long the end may take.
    pub shutdown_within: Duration,
    /// How HTTP is spoken.
    pub http: http::Options,
    /// How many requests a token may make.
    pub rate_limit: RateLimit,
    /// Where requests to addresses of users may go.
    pub web: WebConfig,
    /// Where mail servers may be.
    pub smtp_reach: Reach,
    /// The name servers that are asked about the domains of senders; empty, those of the machine.
    pub name_servers: Vec<SocketAddr>,
    /// How this server introduces itself to mail servers; without it, by the machine's name.
    pub hello_name: Option<String>,
    /// The address by which contacts reach this server; none, emails are neither tracked nor do they say
    /// how to opt out by one click, unless their sender has an address of its own.
    pub public_url: Option<BaseUrl>,
    /// The lock of a SQLite file, held for as long as the server lives.
    pub lock: Option<FileLock>,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another server works on the file.
    #[error(
        "another server works on {file} (it holds {file}.lock); stop it first, or give this one another database. For several servers on one database, use PostgreSQL"
    )]
    Locked {
        /// The database's file.
        file: String,
    },
    /// The lock's file cannot be made or opened.
    #[error(
        "the lock {file}.lock cannot be taken; the database's folder must be there and be writable"
    )]
    NoLock {
        /// The database's file.
        file: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The key is not the one that sealed what the database holds.
    #[error(
        "the database was used with another secret key (fingerprint {bound}, and this one has {given}); give the right one with --secret-key-file or --secret-key"
    )]
    WrongKey {
        /// The fingerprint of the key that the database knows.
        bound: String,
        /// The fingerprint of the key that was given.
        given: String,
    },
    /// The clocks disagree.
    #[error(
        "the clocks of this machine and of the database are {skew_ms} ms apart, and at most {SKEW_MAX_MS} are safe; set both by NTP"
    )]
    ClockSkew {
        /// By how much the database's is ahead.
        skew_ms: i64,
    },
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on; give another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The engine cannot begin.
    #[error("the engine could not begin")]
    Engine(#[from] EngineError),
    /// The store failed.
    #[error("the database could not be made ready")]
    Store(#[from] StoreError),
}

/// The lock of a SQLite file: one server at a time. The system lets go of it when the process
/// ends, however it ends.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "held, not read: the lock lives as long")] File);

impl FileLock {
    /// Takes the lock of a database's file: a file beside it, as SQLite locks its own.
    ///
    /// # Errors
    /// [`StartError::Locked`] if another server holds it, [`StartError::NoLock`] if it cannot be
    /// made.
    pub fn take(database: &Path) -> Result<Self, StartError> {
        let file = database.display().to_string();
        let mut path = database.to_path_buf();
        path.as_mut_os_string().push(".lock");
        let failed = |source| StartError::NoLock {
            file: file.clone(),
            source,
        };
        let mut options = OpenOptions::new();
        let opened = options.create(true).truncate(false).write(true).open(&path);
        let opened = opened.map_err(failed)?;
        match opened.try_lock() {
            Ok(()) => Ok(Self(opened)),
            Err(TryLockError::WouldBlock) => Err(StartError::Locked { file }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// A server that is ready: it listens and works from [`Server::run_until`] on.
pub struct Server {
    config: Config,
    services: Services,
    schema: CadenzaSchema,
    listener: TcpListener,
    address: SocketAddr,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

/// Holidays are known for some years ahead: whoever runs an old release is told in time.
fn warn_of_unknown_holidays(today: NaiveDate) {
    let Some(until) = holidays::known_at_most_until() else {
        return;
    };
    if (until - today).num_days() < 365 {
        tracing::warn!(
            known.until = %until,
            "the public holidays of countries are known for less than a year: update the server"
        );
    }
}

impl Server {
    /// Checks what must hold and puts the parts together. The database's schema is up to date.
    ///
    /// # Errors
    /// [`StartError`] with what does not hold.
    pub async fn start(
        config: Config,
        db: Db,
        clock: Clock,
        entropy: Entropy,
        secrets: Secrets,
    ) -> Result<Self, StartError> {
        let bound = workspace::bind_key(db.write(), secrets.fingerprint()).await?;
        if bound != secrets.fingerprint() {
            let given = secrets.fingerprint().to_owned();
            return Err(StartError::WrongKey { bound, given });
        }
        // Only a clock that is the machine's can be compared with the database's.
        if clock.factor() == 1 {
            let skew_ms = dialect::clock_skew_ms(&db, clock.now().timestamp_millis()).await?;
            if skew_ms.abs() > SKEW_MAX_MS {
                return Err(StartError::ClockSkew { skew_ms });
            }
        }
        warn_of_unknown_holidays(clock.now().date_naive());
        let zones = Arc::new(ZoneDatabase::load());
        let transports = TransportConfig {
            hello_name: config.hello_name.clone().unwrap_or_else(machine_name),
            connections_max: EngineConfig::default().sends_per_sender,
            smtp_reach: config.smtp_reach.clone(),
            web: config.web.clone(),
            public_url: config.public_url.clone(),
            name_servers: config.name_servers.clone(),
        };
        let secrets = Arc::new(secrets);
        let services = Services::new(db, clock, entropy, zones, secrets, transports)
            .at(config.public_url.clone());
        let address = config.listen;
        let refused = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        services.access.limit(config.rate_limit);
        let schema = CadenzaSchema::new(services.clone());
        let mut server = Self {
            config,
            services,
            schema,
            listener,
            address,
            shutdown: CancellationToken::new(),
            tasks: JoinSet::new(),
        };
        server.start_tasks().await?;
        Ok(server)
    }

    /// Everything that works by itself.
    async fn start_tasks(&mut self) -> Result<(), StartError> {
        let bus = self.services.bus.clone();
        self.spawn(|shutdown| async move { bus.run(shutdown).await });
        let access = self.services.access.clone();
        self.spawn(|shutdown| async move { access.run(shutdown).await });
        let (db, wake) = (self.services.db.clone(), self.services.wake.clone());
        self.spawn(|shutdown| hear_others(db, wake, shutdown));
        self.start_engine().await
    }

    /// The engine, and the runner of bulk operations, which works under the engine's name.
    async fn start_engine(&mut self) -> Result<(), StartError> {
        let services = self.services.clone();
        let engine_config = EngineConfig {
            lease: self.config.lease,
            marks: Some(services.marks.clone()),
            ..EngineConfig::default()
        };
        let transports = Arc::clone(&services.transports);
        let engine = Arc::new(Engine::new(
            services.db.clone(),
            services.clock.clone(),
            services.entropy.clone(),
            Arc::clone(&services.zones),
            services.wake.clone(),
            Arc::clone(&transports) as Arc<dyn Channel>,
            engine_config,
        ));
        engine.join().await?;
        let (worker, reader) = (Arc::clone(&engine), Arc::clone(&engine));
        let mailboxes = inbound::reading::Reader::new(services.clone(), move || reader.worker());
        let workflows = workflow::Runner::new(services.clone());
        let worker_of_webhooks = Arc::clone(&engine);
        let webhooks =
            webhook::runner::Runner::new(services.clone(), move || worker_of_webhooks.worker());
        let runner = Runner::new(services, move || worker.worker());
        self.spawn(|shutdown| runner.run(shutdown));
        self.spawn(|shutdown| workflows.run(shutdown));
        self.spawn(|shutdown| mailboxes.run(shutdown));
        self.spawn(|shutdown| webhooks.run(shutdown));
        self.spawn(|shutdown| async move {
            engine.run(shutdown).await;
            transports.close().await;
        });
        Ok(())
    }

    /// Runs a task until the server ends; it must end by itself once its token is cancelled.
    pub fn spawn<F>(&mut self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(task(shutdown));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it works with.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The API that it serves.
    pub fn schema(&self) -> &CadenzaSchema {
        &self.schema
    }

    /// Serves until `end` is ready, then ends in order and in bounded time: nothing new is taken,
    /// what is under way is finished and recorded, streams are closed. A refresh of an access token that is
    /// under way is waited for beyond that time, as long as its token server may take.
    ///
    /// # Errors
    /// Where the listener failed.
    pub async fn run_until(self, end: impl Future<Output = ()>) -> std::io::Result<()> {
        let Self {
            config,
            services,
            schema,
            listener,
            address,
            shutdown,
            mut tasks,
        } = self;
        tracing::info!(%address, "listening");
        let http = Http::new(schema, config.http, shutdown.clone());
        let mut serving = tokio::spawn(http.clone().serve(listener));
        let ended_early = tokio::select! {
            () = end => None,
            served = &mut serving => Some(served),
            // A server that answers but sends nothing would deceive everybody who watches it.
            error = failed(&mut tasks) => Some(Err(error)),
        };
        tracing::info!("ending: no new work is begun");
        shutdown.cancel();
        let deadline = Instant::now() + config.shutdown_within;
        let finish = async {
            http.closed().await;
            while let Some(ended) = tasks.join_next().await {
                report(ended);
            }
            if ended_early.is_none() {
                report((&mut serving).await);
            }
        };
        if timeout_at(deadline, finish).await.is_err() {
            tracing::warn!(
                seconds = config.shutdown_within.as_secs(),
                "not everything ended in time; what was left is taken up at the next start"
            );
            serving.abort();
            tasks.abort_all();
        }
        // Nobody begins one any more, and what a token server gives once it may not give again.
        let settled = timeout(Grants::SETTLED_WITHIN, services.grants.settled());
        if settled.await.is_err() {
            tracing::warn!(
                "a refresh of an access token did not end in time; what it brings is lost"
            );
        }
        if timeout(Duration::from_secs(5), services.db.close())
            .await
            .is_err()
        {
            tracing::warn!("the database's connections did not close in time");
        }
        match ended_early {
            Some(Err(error)) => Err(std::io::Error::other(error)),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

/// Returns when a task has failed; those that have done their work are no failure.
async fn failed(tasks: &mut JoinSet<()>) -> JoinError {
    loop {
        match tasks.join_next().await {
            Some(Err(error)) => return error,
            Some(Ok(())) => {}
            None => std::future::pending().await,
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task of the server ended badly");
    }
}

/// The machine's name, or `localhost` where it has none to tell.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name.to_owned()
    }
}

/// Ready when the operating system asks the process to end.
pub async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (terminated, interrupted) = match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(terminated), Ok(interrupted)) => (terminated, interrupted),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signals cannot be heard; end the server with SIGKILL");
            return std::future::pending().await;
        }
    };
    tokio::pin!(terminated, interrupted);
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
}

/// Rings this process's bells when another node committed something. A bell that is lost costs a
/// moment: who waits for one also looks by itself.
async fn hear_others(db: Db, wake: Wake, shutdown: CancellationToken) {
    let mut pause = RECONNECT_FIRST;
    while !shutdown.is_cancelled() {
        let heard = tokio::select! {
            () = shutdown.cancelled() => return,
            heard = listen(&db, &wake) => heard,
        };
        match heard {
            // There are no other nodes.
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "listening to the database failed; trying again"
                );
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = async { interval_at(Instant::now() + pause, pause).tick().await } => {}
        }
        pause = (pause * 2).min(RECONNECT_MOST);
    }
}

/// Listens until it fails; ends at once where there is nobody to listen to.
async fn listen(db: &Db, wake: &Wake) -> Result<(), StoreError> {
    let Some(mut listener) = dialect::listen(db).await? else {
        return Ok(());
    };
    loop {
        // What was said while nobody listened is unknown.
        wake.due();
        wake.log();
        dialect::heard(&mut listener).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_fails_is_noticed_among_those_that_are_done() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async {});
        tasks.spawn(async { panic!("on purpose") });
        assert!(failed(&mut tasks).await.is_panic());
    }
}
