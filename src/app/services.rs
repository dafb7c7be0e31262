//! What every use case works with.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::analytics::Analytics;
use super::oauth::Grants;
use super::token::access::Access;
use crate::bus::Bus;
use crate::channel::dispatch::{Route, TransportConfig, Transports};
use crate::channel::dkim::SigningKey;
use crate::clock::Clock;
use crate::domain::tracking::{BaseUrl, Marks};
use crate::entropy::Entropy;
use crate::secrets::Secrets;
use crate::store::Db;
use crate::wake::Wake;
use crate::zones::ZoneDatabase;

/// The things that a process has once; cheap to clone.
#[derive(Clone, Debug)]
pub struct Services {
    /// The database.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// Randomness and ids.
    pub entropy: Entropy,
    /// Time zones.
    pub zones: Arc<ZoneDatabase>,
    /// The keys that seal what only this installation may read.
    pub secrets: Arc<Secrets>,
    /// What emails are marked with.
    pub marks: Marks,
    /// The ways by which messages leave.
    pub transports: Arc<Transports>,
    /// What senders' access tokens are got with.
    pub grants: Grants,
    /// The bells of the process.
    pub wake: Wake,
    /// The event log, live.
    pub bus: Bus,
    /// Who may come in.
    pub access: Access,
    /// What came of sequences.
    pub analytics: Analytics,
}

impl Services {
    /// The services of a process with these parts; the bus is made here, and does nothing until
    /// somebody runs it.
    pub fn new(
        db: Db,
        clock: Clock,
        entropy: Entropy,
        zones: Arc<ZoneDatabase>,
        secrets: Arc<Secrets>,
        transports: TransportConfig,
    ) -> Self {
        let (grants, transports) = ways_out(&db, &clock, &entropy, &secrets, transports);
        let seal = Arc::clone(&secrets) as _;
        let wake = Wake::default();
        let bus = Bus::new(db.clone(), wake.clone());
        let access = Access::new(db.clone(), clock.clone());
        let analytics = Analytics::new(db.clone());
        Self {
            db,
            clock,
            entropy,
            zones,
            secrets,
            marks: Marks { seal, base: None },
            transports,
            grants,
            wake,
            bus,
            access,
            analytics,
        }
    }

    /// The same, whose messages leave otherwise.
    #[must_use]
    pub fn by(mut self, transports: TransportConfig) -> Self {
        let (db, clock, entropy) = (&self.db, &self.clock, &self.entropy);
        (self.grants, self.transports) = ways_out(db, clock, entropy, &self.secrets, transports);
        self
    }

    /// The same, reached from outside by this address; `None`, by none.
    #[must_use]
    pub fn at(mut self, public_url: Option<BaseUrl>) -> Self {
        self.marks.base = public_url;
        self
    }

    /// Services whose time and randomness a test decides, with the bundled zone rules and a key
    /// that is no secret, reached by an address that leads nowhere.
    pub fn for_tests(db: Db, clock: Clock, entropy: Entropy) -> Self {
        let secrets = Arc::new(Secrets::from_key([7; 32]));
        Self::new(
            db,
            clock,
            entropy,
            Arc::new(ZoneDatabase::bundled()),
            secrets,
            TransportConfig {
                // Nobody can be asked there.
                name_servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
                ..TransportConfig::default()
            },
        )
        .at(BaseUrl::parse("https://go.cadenza.example").ok())
    }
}

/// The ways by which messages leave, and what senders' access tokens for them are got with.
fn ways_out(
    db: &Db,
    clock: &Clock,
    entropy: &Entropy,
    secrets: &Arc<Secrets>,
    config: TransportConfig,
) -> (Grants, Arc<Transports>) {
    let grants = Grants::new(
        db.clone(),
        clock.clone(),
        entropy.clone(),
        Arc::clone(secrets),
        config.web.clone(),
    );
    let transports = transports_with(config, Arc::clone(secrets), grants.clone());
    (grants, Arc::new(transports))
}

/// Transports that open with these keys what was sealed for senders, and make with them what requests
/// are signed with; access tokens are those of these grants.
fn transports_with(config: TransportConfig, secrets: Arc<Secrets>, grants: Grants) -> Transports {
    let of_keys = Arc::clone(&secrets);
    let open_key = move |workspace, key: &SigningKey| {
        let opened = of_keys.open(workspace, key.id.uuid(), &key.sealed);
        opened.map_err(|error| error.to_string())
    };
    let open = move |route: &Route| match route {
        Route::Sender(route) => {
            let sealed = route.secret.as_deref();
            let opened =
                sealed.map(|sealed| secrets.open(route.workspace, route.sender.uuid(), sealed));
            opened.transpose().map_err(|error| error.to_string())
        }
        Route::Webhook(workspace) => Ok(Some(secrets.webhook_secret(*workspace))),
    };
    Transports::new(config, Box::new(open), Box::new(open_key), Arc::new(grants))
}
