//! A world in which the engine lives: a database, a clock, workers, people who interfere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use cadenza::app::token::{self, Terms};
use cadenza::app::{Caller, Role, Services};
use cadenza::bulk;
use cadenza::clock::Clock;
use cadenza::domain::bulk::BulkKind;
use cadenza::domain::flow::{Action, EmailAction, EmailVariant, Flow, MissingPolicy, Step};
use cadenza::domain::id::SenderId;
use cadenza::domain::settings::{Settings, WindowClock};
use cadenza::engine::last_look::FRESH;
use cadenza::engine::record::Ending;
use cadenza::engine::{Claimed, Engine, EngineConfig};
use cadenza::entropy::Entropy;
use cadenza::store::Db;
use cadenza::zones::ZoneDatabase;
use chrono::{DateTime, Duration, NaiveDate, TimeZone, Utc};
use entity::{lane, lead, person, sender, sequence, sequence_version};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use tokio_util::sync::CancellationToken;

use crate::oracle;
use crate::provider::{Provider, Troubles};

/// Where a worker can die.
pub const CRASH_POINTS: [&str; 4] = ["claimed", "about to leave", "sent", "recorded"];

/// What a seed draws.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    people: usize,
    steps: usize,
    senders: usize,
    cap: u32,
    gap: Duration,
    troubles: Troubles,
    crashes: u64,
    naps: u64,
    meddling: u64,
}

impl Options {
    pub fn drawn(seed: u64) -> Self {
        let entropy = Entropy::seeded(seed ^ 0x5eed);
        let draw = |range: u64| entropy.bits() % range;
        Self {
            people: 6 + usize::try_from(draw(18)).expect("small"),
            steps: 1 + usize::try_from(draw(4)).expect("small"),
            senders: 1 + usize::try_from(draw(3)).expect("small"),
            cap: 3 + u32::try_from(draw(12)).expect("small"),
            gap: Duration::seconds(if draw(2) == 0 { 0 } else { 90 }),
            troubles: Troubles {
                soft: draw(2) * 150,
                hard: draw(2) * 60,
                sender: draw(2) * 60,
                ambiguous: draw(2) * 60,
            },
            crashes: draw(2) * 40,
            naps: draw(2) * 25,
            meddling: draw(2) * 60,
        }
    }
}

/// What a run leaves for comparison.
pub struct Report {
    pub log: Vec<String>,
    pub crossed: BTreeSet<&'static str>,
}

/// A virtual worker: an engine and what it holds between stages.
struct Worker {
    engine: Engine,
    claimed: Vec<Claimed>,
    granted: Vec<Claimed>,
    ended: Vec<(Claimed, Ending)>,
    asleep_until: Option<DateTime<Utc>>,
}

pub struct World {
    services: Services,
    caller: Caller,
    clock: Clock,
    entropy: Entropy,
    provider: Provider,
    options: Options,
    workers: Vec<Worker>,
    sequence: uuid::Uuid,
    crossed: BTreeSet<&'static str>,
    _folder: tempfile::TempDir,
}

fn holiday() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, 11).expect("a date")
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
    pub async fn new(seed: u64, options: Options, postgres: Option<&str>) -> Self {
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
        // A Monday morning before the window opens.
        let clock = Clock::manual(Utc.with_ymd_and_hms(2026, 3, 9, 8, 30, 0).unwrap());
        let entropy = Entropy::seeded(seed);
        let provider = Provider::new(clock.clone(), entropy.clone(), options.troubles);
        let services = Services::for_tests(db, clock.clone(), entropy.clone());
        let terms = Terms::of(Role::Admin);
        let made = token::create(&services.db, &clock, &entropy, "sim", &terms).await;
        let caller = made.expect("a token").caller;
        let mut world = Self {
            services,
            caller,
            clock,
            entropy,
            provider,
            options,
            workers: Vec::new(),
            sequence: uuid::Uuid::nil(),
            crossed: BTreeSet::new(),
            _folder: folder,
        };
        world.furnish().await;
        for _ in 0..2 {
            let worker = world.hire().await;
            world.workers.push(worker);
        }
        world
    }

    async fn furnish(&mut self) {
        let db = self.services.db.clone();
        let (now, workspace) = (
            self.clock.now().timestamp_millis(),
            self.caller.workspace.uuid(),
        );
        let mut senders = Vec::new();
        for number in 0..self.options.senders {
            let id: SenderId = self.entropy.id(self.clock.now());
            sender::ActiveModel {
                id: Set(id.uuid()),
                workspace_id: Set(workspace),
                name: Set(format!("Sender {number}")),
                channel: Set("EMAIL".into()),
                address: Set(format!("s{number}@example.com")),
                enabled: Set(true),
                time_zone: Set("UTC".into()),
                daily_cap: Set(Some(i32::try_from(self.options.cap).expect("small"))),
                min_gap_ms: Set(self.options.gap.num_milliseconds()),
                gap_jitter_ms: Set(0),
                warm_up: Set(None),
                transport: Set(serde_json::json!({ "kind": "outbox" })),
                secret: Set(None),
                revision: Set(1),
                next_free_at: Set(0),
                unhealthy_until: Set(None),
                unhealthy_reason: Set(None),
                failures: Set(0),
                created_at: Set(now),
                updated_at: Set(now),
            }
            .insert(db.write())
            .await
            .expect("sender");
            senders.push(id);
        }
        self.publish_sequence(&senders).await;
        let mut people = Vec::new();
        for number in 0..self.options.people {
            let id = self
                .entropy
                .id::<cadenza::domain::id::kind::Person>(self.clock.now());
            let email = format!("p{number}@example.org");
            person::ActiveModel {
                id: Set(id.uuid()),
                workspace_id: Set(workspace),
                email: Set(Some(email.clone())),
                email_key: Set(Some(email.clone())),
                first_name: Set(Some(format!("P{number}"))),
                attributes: Set(serde_json::json!({})),
                search_text: Set(email),
                created_at: Set(now),
                updated_at: Set(now),
                ..Default::default()
            }
            .insert(db.write())
            .await
            .expect("person");
            people.push(id.to_string());
        }
        // People are selected as they were a moment ago.
        self.clock
            .advance_to(self.clock.now() + Duration::seconds(1));
        let sequence = cadenza::domain::id::SequenceId::from_uuid(self.sequence).to_string();
        let request = serde_json::json!({ "sequenceId": sequence, "people": { "ids": people } });
        self.bulk(BulkKind::Enrol, request).await;
    }

    async fn publish_sequence(&mut self, senders: &[SenderId]) {
        let db = self.services.db.clone();
        let (now, workspace) = (
            self.clock.now().timestamp_millis(),
            self.caller.workspace.uuid(),
        );
        let step = |number: usize| Step {
            key: format!("step-{number}"),
            name: None,
            wait: if number == 0 { "PT0S" } else { "P1DT2H" }
                .parse()
                .expect("a duration"),
            business_days: number == 2,
            action: Action::Email(EmailAction {
                senders: senders.to_vec(),
                variants: vec![EmailVariant {
                    key: "a".into(),
                    weight: 1,
                    enabled: true,
                    subject: Some(format!("Step {number}")),
                    html: None,
                    text: Some("Hello {{ first_name }}".into()),
                }],
                in_thread: number > 0,
                track_opens: false,
                track_clicks: false,
            }),
            on_missing_address: MissingPolicy::Skip,
            on_missing_data: MissingPolicy::Hold,
            next: (number + 1 < self.options.steps).then(|| format!("step-{}", number + 1)),
        };
        let flow = Flow {
            steps: (0..self.options.steps).map(step).collect(),
        };
        let settings = Settings {
            window_clock: WindowClock::Contact,
            holidays: [holiday()].into(),
            ..Settings::default()
        };
        let (flow, settings) = (
            serde_json::to_value(flow).expect("json"),
            serde_json::to_value(settings).expect("json"),
        );
        self.sequence = self
            .entropy
            .id::<cadenza::domain::id::kind::Sequence>(self.clock.now())
            .uuid();
        let version = self
            .entropy
            .id::<cadenza::domain::id::kind::Version>(self.clock.now())
            .uuid();
        sequence::ActiveModel {
            id: Set(self.sequence),
            workspace_id: Set(workspace),
            name: Set("Sim".into()),
            search_text: Set("sim".into()),
            status: Set("PUBLISHED".into()),
            revision: Set(1),
            flow: Set(flow.clone()),
            settings: Set(settings.clone()),
            published_version_id: Set(Some(version)),
            created_at: Set(now),
            updated_at: Set(now),
            published_at: Set(Some(now)),
        }
        .insert(db.write())
        .await
        .expect("sequence");
        sequence_version::ActiveModel {
            id: Set(version),
            workspace_id: Set(workspace),
            sequence_id: Set(self.sequence),
            number: Set(1),
            flow: Set(flow),
            settings: Set(settings),
            published_at: Set(now),
            published_by: Set("sim".into()),
        }
        .insert(db.write())
        .await
        .expect("version");
        for sender in senders {
            lane::ActiveModel {
                sequence_id: Set(self.sequence),
                sender_id: Set(sender.uuid()),
                workspace_id: Set(workspace),
            }
            .insert(db.write())
            .await
            .expect("lane");
        }
    }

    async fn hire(&self) -> Worker {
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

    fn draw(&self, range: u64) -> u64 {
        self.entropy.bits() % range
    }

    fn index(&self, length: usize) -> usize {
        usize::try_from(self.draw(u64::try_from(length).expect("small"))).expect("small")
    }

    /// Days of life with everything that can go wrong.
    pub async fn live(&mut self) {
        for _ in 0..400 {
            let worker = self.index(self.workers.len());
            self.step(worker).await;
            if self.draw(1_000) < self.options.meddling {
                self.meddle().await;
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
            self.check();
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

    async fn step(&mut self, index: usize) {
        if self.workers[index].asleep_until.is_some() {
            return;
        }
        if self.draw(1_000) < self.options.naps {
            let until = self.clock.now() + Duration::seconds(200);
            self.workers[index].asleep_until = Some(until);
            return;
        }
        let stage = self.draw(3);
        let worker = &mut self.workers[index];
        let point = match stage {
            0 => {
                let claim = worker.engine.claim(5, &|_| 5).await.expect("claims");
                for claimed in &claim.messages {
                    oracle::may_go(&self.services.db, claimed.execution_id.uuid()).await;
                }
                let worker = &mut self.workers[index];
                worker.claimed.extend(claim.messages);
                "claimed"
            }
            1 => self.send_some(index).await,
            _ => {
                let ended = std::mem::take(&mut worker.ended);
                worker.engine.record(&ended).await.expect("records");
                "recorded"
            }
        };
        self.maybe_crash(index, point).await;
    }

    async fn send_some(&mut self, index: usize) -> &'static str {
        let count = self.index(self.workers[index].claimed.len() + 1);
        let worker = &mut self.workers[index];
        let batch: Vec<Claimed> = worker.claimed.drain(..count).collect();
        for claimed in batch {
            if !worker.engine.may_leave(&claimed).await.expect("looks") {
                worker.ended.push((claimed, Ending::Released));
                continue;
            }
            if self.clock.now() - claimed.claimed_at > FRESH {
                oracle::may_go(&self.services.db, claimed.execution_id.uuid()).await;
            }
            worker.granted.push(claimed);
        }
        if self.draw(1_000) < self.options.crashes && !self.workers[index].granted.is_empty() {
            return "about to leave";
        }
        let worker = &mut self.workers[index];
        for claimed in std::mem::take(&mut worker.granted) {
            use cadenza::channel::dispatch::Channel as _;
            let prepared = self.provider.prepare(&claimed.letter).expect("composes");
            let sent = self
                .provider
                .send(&claimed.route, prepared, &CancellationToken::new())
                .await;
            oracle::in_window(self.clock.now(), holiday());
            worker
                .ended
                .push((claimed, Ending::Dispatched(sent.outcome, sent.kept)));
        }
        "sent"
    }

    async fn maybe_crash(&mut self, index: usize, point: &'static str) {
        let dies = point == "about to leave" && !self.workers[index].granted.is_empty();
        if dies || self.draw(1_000) < self.options.crashes {
            self.crossed.insert(point);
            // Whatever it held in memory is gone; a new process takes its place.
            self.workers[index] = self.hire().await;
        }
    }

    /// People interfere: they hold, release and take out leads, and switch the sequence off and on.
    async fn meddle(&mut self) {
        let filter = serde_json::json!({ "leads": { "ids": [self.some_lead().await] } });
        match self.draw(5) {
            0 => self.bulk(BulkKind::Pause, filter).await,
            1 | 2 => self.bulk(BulkKind::Resume, filter).await,
            3 => self.bulk(BulkKind::Remove, filter).await,
            _ => {
                let status = if self.draw(3) == 0 {
                    "DISABLED"
                } else {
                    "PUBLISHED"
                };
                self.set_status(status).await;
            }
        }
    }

    async fn set_status(&self, status: &str) {
        sequence::Entity::update_many()
            .col_expr(
                sequence::Column::Status,
                sea_orm::sea_query::Expr::value(status),
            )
            .filter(sequence::Column::Id.eq(self.sequence))
            .exec(self.services.db.write())
            .await
            .expect("status");
    }

    async fn some_lead(&self) -> String {
        let leads = lead::Entity::find()
            .all(self.services.db.read())
            .await
            .expect("leads");
        let lead = &leads[self.index(leads.len())];
        cadenza::domain::id::LeadId::from_uuid(lead.id).to_string()
    }

    async fn bulk(&self, kind: BulkKind, request: serde_json::Value) {
        bulk::submit(&self.services, &self.caller, kind, request, None, None)
            .await
            .expect("the operation is taken");
    }

    fn check(&self) {
        let ledger = self.provider.ledger.lock().expect("ledger");
        oracle::nothing_twice(&ledger);
        oracle::under_cap(&ledger, usize::try_from(self.options.cap).expect("small"));
        if self.options.gap > Duration::zero() {
            oracle::paced(&ledger, self.options.gap);
        }
    }

    /// Troubles end; everything that can must come to its end.
    pub async fn heal_and_drain(&mut self) {
        *self.provider.troubles.lock().expect("troubles") = Troubles::default();
        self.options.crashes = 0;
        self.options.naps = 0;
        self.set_status("PUBLISHED").await;
        self.pass(Duration::minutes(10)).await;
        for _ in 0..4_000 {
            let now = self.clock.now();
            let mut next_at = now + Duration::hours(6);
            for index in 0..self.workers.len() {
                let claim = self.workers[index]
                    .engine
                    .claim(50, &|_| 50)
                    .await
                    .expect("claims");
                next_at = next_at.min(claim.next_at.unwrap_or(next_at));
                self.workers[index].claimed.extend(claim.messages);
                while !self.workers[index].claimed.is_empty() {
                    self.send_some(index).await;
                }
                let worker = &mut self.workers[index];
                let ended = std::mem::take(&mut worker.ended);
                worker.engine.record(&ended).await.expect("records");
            }
            self.check();
            if self.is_quiet().await {
                return;
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
    pub async fn finish(self) -> Report {
        let db = &self.services.db;
        oracle::everything_ended(db).await;
        let events = oracle::log_explains_state(db).await;
        let ledger = self.provider.ledger.lock().expect("ledger").clone();
        oracle::ledger_agrees(db, &ledger).await;
        let log = events
            .into_iter()
            .map(|event| format!("{event:?}"))
            .collect();
        Report {
            log,
            crossed: self.crossed,
        }
    }
}
