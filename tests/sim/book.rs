//! What the simulation knows by itself, for the oracles to reckon with: what was published, who the
//! senders are, and what was handed over.

use cadenza::domain::flow::{Channel, Flow, Step};
use cadenza::domain::id::{SenderId, SequenceId};
use cadenza::domain::settings::Settings;
use chrono::{DateTime, Duration, NaiveDate, Utc};
use uuid::Uuid;

/// What becomes of leads whose step is taken out.
#[derive(Debug, Clone)]
pub enum Removed {
    Next,
    Map(Vec<(String, String)>),
    Stop,
}

/// A published version.
#[derive(Debug, Clone)]
pub struct Edition {
    pub version: Uuid,
    pub flow: Flow,
    pub settings: Settings,
    /// What became of leads of the edition before, where their step is no more.
    pub removed: Removed,
}

impl Edition {
    pub fn step(&self, key: &str) -> Option<&Step> {
        self.flow.steps.iter().find(|step| step.key == key)
    }
}

#[derive(Debug, Clone)]
pub struct Sequence {
    pub id: SequenceId,
    /// In the order of their numbers, from 1.
    pub editions: Vec<Edition>,
}

#[derive(Debug, Clone)]
pub struct Sender {
    pub id: SenderId,
    pub zone: &'static str,
    pub cap: Option<u32>,
    pub gap: Duration,
    /// The most that is added to the gap by chance.
    pub jitter: Duration,
    /// First day, its cap, and by how much it grows each day.
    pub warm_up: Option<(NaiveDate, u32, u32)>,
}

/// A message or a request that was handed to the provider.
#[derive(Debug, Clone)]
pub struct Handed {
    pub at: DateTime<Utc>,
    pub claimed_at: DateTime<Utc>,
    /// When its step was first due.
    pub due_at: Option<DateTime<Utc>>,
    /// Whether the provider took it, whatever it said.
    pub taken: bool,
    pub channel: Channel,
    /// None of a request.
    pub sender: Option<SenderId>,
    /// By what the receiver knows a repetition: Message-ID, idempotency key, `webhook-id`.
    pub key: String,
    pub recipient: String,
    pub execution: Uuid,
    pub lead: Uuid,
    pub person: Uuid,
    /// The person's clock when it was claimed.
    pub person_zone: Option<String>,
    /// And its country.
    pub person_country: Option<String>,
    pub sequence: Uuid,
    pub version: Uuid,
    pub step: String,
    pub attempt: i32,
    /// The variant, as its text says.
    pub variant: Option<String>,
}

/// Two people who became one.
#[derive(Debug, Clone, Copy)]
pub struct Merged {
    pub at: DateTime<Utc>,
    pub survivor: Uuid,
    pub duplicate: Uuid,
}

#[derive(Debug, Default)]
pub struct Book {
    pub sequences: Vec<Sequence>,
    pub senders: Vec<Sender>,
    pub workspace_zone: &'static str,
    pub per_person: Option<u32>,
    pub per_domain: Option<u32>,
    pub handed: Vec<Handed>,
    /// In the order in which they were.
    pub merged: Vec<Merged>,
}

impl Book {
    /// Who somebody was at an instant.
    pub fn person_at(&self, person: Uuid, at: DateTime<Utc>) -> Uuid {
        let merged = self.merged.iter().filter(|one| one.at < at);
        merged.fold(person, |person, one| match one.duplicate == person {
            true => one.survivor,
            false => person,
        })
    }

    pub fn sequence(&self, id: Uuid) -> &Sequence {
        let found = self.sequences.iter().find(|one| one.id.uuid() == id);
        found.expect("the sequence is in the book")
    }

    pub fn edition(&self, sequence: Uuid, version: Uuid) -> &Edition {
        let editions = &self.sequence(sequence).editions;
        let found = editions.iter().find(|one| one.version == version);
        found.expect("the version is in the book")
    }

    pub fn sender(&self, id: SenderId) -> &Sender {
        let found = self.senders.iter().find(|one| one.id == id);
        found.expect("the sender is in the book")
    }

    /// The messages that the provider took; requests are none.
    pub fn messages(&self) -> impl Iterator<Item = (&Handed, SenderId)> {
        let taken = self.handed.iter().filter(|one| one.taken);
        taken.filter_map(|one| one.sender.map(|sender| (one, sender)))
    }
}
