//! A world in which the engine lives: a database, a clock, workers, people who interfere.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration as StdDuration;

use cadenza::app::token::{self, Terms};
use cadenza::app::{Caller, Role, Services};
use cadenza::clock::Clock;
use cadenza::engine::record::Ending;
use cadenza::engine::{Claimed, Engine, EngineConfig};
use cadenza::entropy::Entropy;
use cadenza::store::Db;
use cadenza::zones::ZoneDatabase;
use chrono::{DateTime, Duration, TimeZone, Utc};
use entity::{event, lead, person, suppression};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use crate::book::Book;
use crate::draws::Draws;
use crate::flows::Cast;
use crate::options::{Options, Press};
use crate::oracle::met::{self, Met};
use crate::oracle::story::{Ears, People, Story};
use crate::oracle::watch::Requests;
use crate::oracle::{ending, ledger, numbers};
use crate::provider::{Provider, Troubles};

/// What a run leaves for comparison.
pub struct Report {
    pub log: Vec<String>,
    pub met: Met,
    pub crossed: BTreeSet<&'static str>,
}

/// A virtual worker: an engine and what it holds between stages.
pub struct Worker {
    pub engine: Engine,
    pub claimed: Vec<Claimed>,
    pub granted: Vec<Claimed>,
    pub ended: Vec<(Claimed, Ending)>,
    pub asleep_until: Option<DateTime<Utc>>,
}

impl Worker {
    /// Whether it may still send, or record, an execution.
    pub fn holds(&self, execution: Uuid) -> bool {
        let ended = self.ended.iter().map(|(claimed, _)| claimed);
        let mut all = self.claimed.iter().chain(&self.granted).chain(ended);
        all.any(|claimed| claimed.execution_id.uuid() == execution)
    }

    /// Whether it may still send something of a lead.
    pub fn holds_lead(&self, lead: Uuid) -> bool {
        let mut all = self.claimed.iter().chain(&self.granted);
        all.any(|claimed| claimed.lead.id == lead)
    }
}

pub struct World {
    pub services: Services,
    pub caller: Caller,
    pub clock: Clock,
    pub entropy: Entropy,
    pub draws: Draws,
    pub provider: Provider,
    pub options: Options,
    pub workers: Vec<Worker>,
    pub cast: Cast,
    pub book: Book,
    /// Whether the oracles are asked. A run that only has to repeat another one needs none.
    pub is_watched: bool,
    pub story: Story,
    pub requests: Requests,
    /// People as they were when the log was last read.
    pub people: People,
    /// The clocks that people had when their messages were claimed, by execution.
    pub zones_at_claim: HashMap<Uuid, (Option<String>, Option<String>)>,
    /// By what the provider knows the messages of people who are erased, by execution.
    pub erased_keys: HashMap<Uuid, String>,
    /// Why publishing was last refused.
    pub last_refusal: String,
    pub crossed: BTreeSet<&'static str>,
    /// What the run met, where it is watched.
    pub met: Met,
    _folder: tempfile::TempDir,
}

async fn fresh_postgres(server: &str) -> String {
    use sea_orm::{ConnectionTrait, Database};
    let name = format!("sim_{}_{}", std::process::id(), Entropy::system().bits());
    let admin = Database::connect(server).await.expect("PostgreSQL answers");
    admin
        .execute_unprepared(&format!("CREATE DATABASE {name}"))
        .await
        .expect("a database");
    let (server, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{name}")
}

const LEASE: StdDuration = StdDuration::from_secs(60);

impl World {
    /// `postgres` names a server to make a database on; without it the world is a file of its own.
    pub async fn new(seed: u64, postgres: Option<&str>, is_watched: bool) -> Self {
        let options = Options::drawn(seed);
        // In memory where the machine has such a folder: the simulator is about order, not disks.
        let memory = std::path::Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_path_buf()
        } else {
            std::env::temp_dir()
        };
        let folder = tempfile::tempdir_in(parent).expect("a folder");
        let url = match postgres {
            Some(server) => fresh_postgres(server).await,
            None => format!("sqlite://{}", folder.path().join("sim.db").display()),
        };
        let db = Db::connect(&url).await.expect("connects");
        db.migrate().await.expect("migrates");
        let draws = Draws::seeded(seed ^ 0xf10e);
        // A Monday morning before the window opens, or a Thursday before the clocks of Europe change; where
        // much is to meet a holiday of contacts, the day before one of Japan.
        let day = match options.press {
            Some(Press::Caps) => 19,
            _ if options.plain => 9,
            _ => draws.pick(&[9, 26]),
        };
        let clock = Clock::manual(Utc.with_ymd_and_hms(2026, 3, day, 8, 30, 0).unwrap());
        let entropy = Entropy::seeded(seed);
        let provider = Provider::new(entropy.clone(), options.troubles);
        let services = Services::for_tests(db, clock.clone(), entropy.clone());
        let terms = Terms::of(Role::Admin);
        let made = token::create(&services.db, &clock, &entropy, "sim", &terms).await;
        let caller = made.expect("a token").caller;
        let mut world = Self {
            services,
            caller,
            clock,
            entropy,
            draws,
            provider,
            options,
            workers: Vec::new(),
            cast: Cast::default(),
            book: Book::default(),
            is_watched,
            story: Story::default(),
            requests: Requests::default(),
            people: People::new(),
            zones_at_claim: HashMap::new(),
            erased_keys: HashMap::new(),
            last_refusal: String::new(),
            crossed: BTreeSet::new(),
            met: Met::new(),
            _folder: folder,
        };
        world.furnish().await;
        world.listen().await;
        for _ in 0..2 {
            let worker = world.hire().await;
            world.workers.push(worker);
        }
        world
    }

    pub async fn hire(&self) -> Worker {
        let engine = Engine::new(
            self.services.db.clone(),
            self.clock.clone(),
            self.entropy.clone(),
            Arc::new(ZoneDatabase::load()),
            self.services.wake.clone(),
            Arc::new(self.provider.clone()),
            EngineConfig {
                lease: LEASE,
                ..EngineConfig::default()
            },
        );
        engine.enter().await.expect("enters");
        Worker {
            engine,
            claimed: Vec::new(),
            granted: Vec::new(),
            ended: Vec::new(),
            asleep_until: None,
        }
    }

    pub fn draw(&self, range: u64) -> u64 {
        self.entropy.bits() % range
    }

    pub fn index(&self, length: usize) -> usize {
        usize::try_from(self.draw(u64::try_from(length).expect("small"))).expect("small")
    }

    /// Days of life with everything that can go wrong.
    pub async fn live(&mut self) {
        for _ in 0..400 {
            let worker = self.index(self.workers.len());
            self.step(worker).await;
            if self.draw(1_000) < self.options.meddling {
                self.meddle().await;
                self.listen().await;
            }
            if self.draw(4) == 0 {
                let span = match self.draw(4) {
                    0 => Duration::seconds(1),
                    1 => Duration::minutes(2),
                    2 => Duration::minutes(45),
                    _ => Duration::hours(5),
                };
                self.pass(span).await;
            }
        }
    }

    /// Time passes; whoever is awake keeps its lease.
    async fn pass(&mut self, span: Duration) {
        let until = self.clock.now() + span;
        while self.clock.now() < until {
            let tick = (until - self.clock.now()).min(Duration::seconds(20));
            // A long time is crossed in larger bites once nobody sleeps: leases are kept anyway.
            let tick = if self
                .workers
                .iter()
                .all(|worker| worker.asleep_until.is_none())
            {
                until - self.clock.now()
            } else {
                tick
            };
            self.clock.advance_to(self.clock.now() + tick);
            for worker in &mut self.workers {
                match worker.asleep_until {
                    Some(until) if until > self.clock.now() => {}
                    _ => {
                        worker.asleep_until = None;
                        worker.engine.prolong().await.expect("prolongs");
                    }
                }
            }
            for worker in self
                .workers
                .iter()
                .filter(|worker| worker.asleep_until.is_none())
            {
                worker.engine.rescue(false).await.expect("rescues");
            }
        }
    }

    /// Reads what is new in the log, and checks it.
    pub async fn listen(&mut self) -> Vec<lead::Model> {
        if !self.is_watched {
            return Vec::new();
        }
        let db = self.services.db.read();
        let events = event::Entity::find()
            .filter(event::Column::Seq.gt(self.story.heard))
            .order_by_asc(event::Column::Seq)
            .all(db)
            .await
            .expect("events");
        let leads = lead::Entity::find().all(db).await.expect("leads");
        let people = person::Entity::find().all(db).await.expect("people");
        let people: People = people
            .into_iter()
            .map(|person| (person.id, person))
            .collect();
        let closed = suppression::Entity::find().all(db).await;
        let closed = closed.expect("suppressions");
        let ears = Ears {
            book: &self.book,
            leads: &leads,
            closed: &closed,
            before: &self.people,
            people: &people,
        };
        self.story.hear(&events, &ears);
        self.people = people;
        leads
    }

    /// Troubles end; everything that can must come to its end.
    pub async fn heal_and_drain(&mut self) {
        *self.provider.troubles.lock().expect("troubles") = Troubles::default();
        self.options.crashes = 0;
        self.options.naps = 0;
        for sender in 0..self.book.senders.len() {
            self.switch(sender, true).await;
        }
        for sequence in 0..self.book.sequences.len() {
            let sends = self.restore(sequence).await;
            assert!(sends, "it can be published: {}", self.last_refusal);
        }
        self.listen().await;
        self.pass(Duration::minutes(10)).await;
        let is_tidy = self.draws.percent(50);
        for _ in 0..4_000 {
            let now = self.clock.now();
            let mut next_at = now + Duration::hours(6);
            for index in 0..self.workers.len() {
                let at = self.claim(index, 50).await;
                next_at = next_at.min(at.unwrap_or(next_at));
                while !self.workers[index].claimed.is_empty() {
                    self.send_some(index).await;
                }
                self.record(index).await;
            }
            if self.is_quiet().await {
                return;
            }
            // Some clear away what waits for them.
            if is_tidy && self.draws.percent(30) {
                self.work().await;
                self.settle().await;
            }
            self.pass((next_at - now).max(Duration::seconds(1))).await;
        }
    }

    async fn is_quiet(&self) -> bool {
        let holding = self.workers.iter().any(|worker| {
            !worker.claimed.is_empty() || !worker.granted.is_empty() || !worker.ended.is_empty()
        });
        let waiting = lead::Entity::find()
            .filter(lead::Column::DueAt.is_not_null())
            .one(self.services.db.read())
            .await
            .expect("leads");
        !holding && waiting.is_none()
    }

    /// The last checks, and the log for comparison.
    pub async fn finish(mut self) -> Report {
        let leads = self.listen().await;
        let db = &self.services.db;
        if self.is_watched {
            ledger::check(&self.book);
            ending::everything_ended(db, &self.book, &self.story, &leads, &self.people).await;
            ending::log_explains_state(&self.story, &leads);
            ending::ledger_agrees(db, &self.book, &self.requests).await;
            numbers::add_up(&self.services, self.caller.workspace, &self.draws).await;
            numbers::are_told(&self.services, self.caller.workspace).await;
            met::limits(&self.book, &mut self.met);
            met::answers(db, &self.book, &mut self.met).await;
        }
        let events = event::Entity::find()
            .order_by_asc(event::Column::Seq)
            .all(db.read())
            .await
            .expect("events");
        Report {
            log: events
                .into_iter()
                .map(|event| format!("{event:?}"))
                .collect(),
            crossed: self.crossed,
            met: self.met,
        }
    }
}
