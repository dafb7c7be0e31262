//! Taking in one mail.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::DatabaseTransaction;

use crate::app::engagement::{self, Engagement};
use crate::app::returned::{self, key};
use crate::app::suppression::Reason;
use crate::app::{AppError, Services, execution};
use crate::domain::event::NewEvent;
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, LeadId, MailId, SenderId, WorkspaceId};
use crate::domain::inbound::{self as mail, Class, Concern, Failure, Mail};
use crate::domain::inbox::{MailKind, MatchedBy, execution_of, tag_of};
use crate::secrets::sha256_hex;
use crate::store::inbound::{self, Addresses, Found, Kept, NewMail};
use crate::store::mailbox::{self, Cursor, Held};
use crate::store::{StoreError, event};

/// How often it is tried while others are in the way.
const TRIES: usize = 4;
/// How many of the mails that one answers are looked up.
const ANSWERS_MAX: usize = 50;
/// A report that names only an address is about an email of these last days.
const RECENT: TimeDelta = TimeDelta::days(7);
/// The longest address that is kept, in characters.
const ADDRESS_CHARS_MAX: usize = 320;
/// The longest subject that is kept, in characters.
const SUBJECT_CHARS_MAX: usize = 500;

/// Who settles whether a message left, as the event of it names them.
const SETTLED_BY: &str = "mail that came back";

/// A mail that came in.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// In whose mailbox it was, where it was in one.
    pub sender: Option<SenderId>,
    /// The mail as it came over the wire.
    pub raw: Arc<[u8]>,
}

/// Where in a mailbox a mail was: that it was read is written with what comes of it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Who reads the mailbox.
    pub held: Held,
    /// How far it is read with this mail.
    pub cursor: Cursor,
}

/// What a mail was taken as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// What kind of mail it is.
    pub kind: MailKind,
    /// Whether it was taken in now, and not before.
    pub is_new: bool,
    /// By what it was found to belong to a lead; `None`, it belongs to none.
    pub matched_by: Option<MatchedBy>,
    /// The lead.
    pub lead: Option<LeadId>,
    /// The message.
    pub execution: Option<ExecutionId>,
}

/// Why a mail was not taken in. Then nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The mailbox that it is from is read by another node, or in another way.
    #[error("the mailbox is not this node's any more")]
    Lost,
    /// It cannot be read.
    #[error("the mail cannot be read")]
    Unreadable,
    /// The database, or what is stored.
    #[error(transparent)]
    App(#[from] AppError),
}

impl From<StoreError> for TakeError {
    fn from(error: StoreError) -> Self {
        Self::App(error.into())
    }
}

impl TakeError {
    /// Whether the same mail may be taken in later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Lost => true,
            Self::Unreadable => false,
            Self::App(AppError::Store(error)) => error.may_pass(),
            Self::App(_) => false,
        }
    }
}

/// Takes in a mail: reads it, files it, finds the lead that it is about, and does what follows. One that
/// was taken in before changes nothing.
///
/// # Errors
/// [`TakeError`]; then nothing has changed.
pub async fn take_in(
    services: &Services,
    incoming: Incoming,
    place: Option<Place>,
) -> Result<Taken, TakeError> {
    let raw = Arc::clone(&incoming.raw);
    // A large mail takes a while to read; one that cannot be read costs itself alone.
    let today = Some(services.clock.now().date_naive());
    let read = tokio::task::spawn_blocking(move || (mail::read_on(&raw, today), sha256_hex(&*raw)));
    let (mail, of_bytes) = read.await.map_err(|_| TakeError::Unreadable)?;
    let digest = match &mail.message_id {
        Some(id) => {
            let from = mail.from.as_deref().unwrap_or_default();
            sha256_hex(format!("{id}\n{from}"))
        }
        None => of_bytes,
    };
    let taking = Taking {
        services,
        workspace: incoming.workspace,
        sender: incoming.sender,
        mail,
        digest,
        now: services.clock.now(),
    };
    let mut tries = 0;
    let taken = loop {
        tries += 1;
        match taking.attempt(place).await {
            Err(TakeError::App(AppError::Store(error))) if error.may_pass() && tries < TRIES => {}
            ended => break ended?,
        }
    };
    // Afterwards: that a message left lets its lead go on, which an opt-out is to come before.
    taking.settle().await;
    Ok(taken)
}

struct Taking<'a> {
    services: &'a Services,
    workspace: WorkspaceId,
    sender: Option<SenderId>,
    mail: Mail,
    digest: String,
    now: DateTime<Utc>,
}

/// What a mail is about, and by what that was found.
type Matched = Option<(Found, MatchedBy)>;

/// What follows from a mail: what it is about, and the events that tell it.
#[derive(Default)]
struct Followed {
    matched: Matched,
    /// Whether its contact is erased: then it is about nobody.
    is_of_erased: bool,
    events: Vec<NewEvent>,
}

impl Followed {
    fn of_erased() -> Self {
        Self {
            is_of_erased: true,
            ..Self::default()
        }
    }

    /// What follows from one of the things that a mail reports; it belongs to the first.
    fn with(&mut self, matched: (Found, MatchedBy), events: Vec<NewEvent>) {
        self.matched.get_or_insert(matched);
        self.is_of_erased = false;
        self.events.extend(events);
    }

    /// What it reports is about somebody who is erased.
    fn with_erased(&mut self) {
        self.is_of_erased = self.matched.is_none();
    }
}

impl Taking<'_> {
    /// Notes of the messages that the mail answers or returns, and of which nobody knew whether they left, that
    /// they did. That it names one by its address alone proves nothing of the kind.
    async fn settle(&self) {
        let named: Vec<ExecutionId> = match &self.mail.class {
            Class::Bounce(failures) => {
                let originals = failures.iter().filter_map(|one| one.original.as_deref());
                originals.filter_map(execution_of).collect()
            }
            Class::Complaint(concerns) => {
                let originals = concerns.iter().filter_map(|one| one.original.as_deref());
                originals.filter_map(execution_of).collect()
            }
            Class::Reply | Class::AutoReply { .. } | Class::OptOut | Class::Notice => {
                let answers = self.mail.answers.iter().take(ANSWERS_MAX);
                let tagged = self.tagged();
                answers
                    .filter_map(|id| execution_of(id))
                    .chain(tagged)
                    .collect()
            }
        };
        if named.is_empty() {
            return;
        }
        let (services, workspace) = (self.services, self.workspace);
        match inbound::unconfirmed(services.db.read(), workspace, &named).await {
            Ok(found) => {
                for message in found {
                    execution::note_left_if_possible(services, workspace, message, SETTLED_BY)
                        .await;
                }
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "whether a mail shows that a message left could not be looked up"
            ),
        }
    }

    /// The messages whose answers were asked for at the addresses that the mail went to.
    fn tagged(&self) -> impl Iterator<Item = ExecutionId> {
        let recipients = self.mail.recipients.iter().take(ANSWERS_MAX);
        recipients.filter_map(|recipient| {
            let tag = tag_of(recipient)?;
            let signed = self.services.secrets.read_tag(self.workspace, tag)?;
            Some(ExecutionId::from_uuid(signed))
        })
    }

    async fn attempt(&self, place: Option<Place>) -> Result<Taken, TakeError> {
        let services = self.services;
        let tx = services.db.begin().await?;
        if let Some(place) = place
            && !mailbox::advance(&tx, place.held, place.cursor, self.now).await?
        {
            return Err(TakeError::Lost);
        }
        let id: MailId = services.entropy.id(self.now);
        let new = NewMail {
            id,
            digest: &self.digest,
            kind: MailKind::from(&self.mail.class),
            sender: self.sender,
            at: self.now,
        };
        if !inbound::file(&tx, self.workspace, &new).await? {
            let known = inbound::filed(&tx, self.workspace, &self.digest).await?;
            tx.commit().await.map_err(StoreError::from)?;
            return self.known(known);
        }
        let followed = self.follow(&tx).await?;
        let matched = followed.matched;
        // Of somebody who is erased nothing is kept but that a mail came: asked once more, now that the lead
        // is locked.
        let is_erased = match matched {
            Some((found, _)) => self.addresses(&tx, found).await?.is_none(),
            None => false,
        };
        if !followed.is_of_erased && !is_erased {
            inbound::keep(&tx, id, &self.kept(matched)).await?;
        }
        event::append(&tx, self.workspace, followed.events).await?;
        tx.commit().await.map_err(StoreError::from)?;
        services.wake.log();
        // A condition may have waited for it.
        services.wake.due();
        Ok(Taken {
            kind: new.kind,
            is_new: true,
            matched_by: matched.map(|(_, by)| by),
            lead: matched.map(|(found, _)| found.lead),
            execution: matched.and_then(|(found, _)| found.execution),
        })
    }

    /// What a mail was taken as that is filed already.
    fn known(&self, row: Option<inbound::Row>) -> Result<Taken, TakeError> {
        let row = row.ok_or_else(|| StoreError::corrupt("mail", "it was filed and is gone"))?;
        let kind = row.class.parse();
        let by = row.matched_by.as_deref().map(str::parse).transpose();
        Ok(Taken {
            kind: kind.map_err(|_| StoreError::corrupt("mail's class", &row.class))?,
            is_new: false,
            matched_by: by.map_err(|_| StoreError::corrupt("mail's match", "another word"))?,
            lead: row.lead_id.map(LeadId::from_uuid),
            execution: row.execution_id.map(ExecutionId::from_uuid),
        })
    }

    /// What is kept of it: its words only where they are a contact's to a lead.
    fn kept(&self, found: Matched) -> Kept<'_> {
        let mail = &self.mail;
        let of_contact = matches!(
            mail.class,
            Class::Reply | Class::AutoReply { .. } | Class::OptOut
        );
        let text = Some(mail.text.as_str()).filter(|text| !text.is_empty());
        Kept {
            found,
            from: mail
                .from
                .as_deref()
                .map(|from| cut(from, ADDRESS_CHARS_MAX)),
            subject: Some(cut(&mail.subject, SUBJECT_CHARS_MAX)),
            text: text.filter(|_| of_contact && found.is_some()),
        }
    }

    async fn follow(&self, tx: &DatabaseTransaction) -> Result<Followed, TakeError> {
        match &self.mail.class {
            Class::Reply => {
                let matched = self.of_author(tx).await?;
                self.engaged(tx, matched, Engagement::Replied).await
            }
            Class::AutoReply { returns } => {
                let matched = self.of_author(tx).await?;
                let until = match (matched, returns) {
                    (Some((found, _)), Some(day)) => {
                        let lead = found.lead;
                        engagement::day_begins(self.services, tx, self.workspace, lead, *day)
                            .await?
                    }
                    _ => None,
                };
                self.engaged(tx, matched, Engagement::AutoReplied { until })
                    .await
            }
            Class::Bounce(failures) => self.bounced(tx, failures).await,
            Class::Complaint(concerns) => self.complained(tx, concerns).await,
            Class::OptOut => self.opted_out(tx).await,
            Class::Notice => {
                let Some((found, by)) = self.by_what_it_names(tx).await? else {
                    return Ok(Followed::default());
                };
                let mut followed = Followed::default();
                match self.addresses(tx, found).await? {
                    Some(_) => followed.with((found, by), Vec::new()),
                    None => followed.with_erased(),
                }
                Ok(followed)
            }
        }
    }

    /// The addresses of a lead's contact; `None` of somebody who is erased.
    async fn addresses(
        &self,
        tx: &DatabaseTransaction,
        found: Found,
    ) -> Result<Option<Addresses>, StoreError> {
        inbound::addresses_of(tx, found, Channel::Email).await
    }

    async fn engaged(
        &self,
        tx: &DatabaseTransaction,
        matched: Matched,
        engagement: Engagement,
    ) -> Result<Followed, TakeError> {
        let Some((found, _)) = matched else {
            return Ok(Followed::default());
        };
        let of = (found.lead, found.execution);
        let (services, workspace) = (self.services, self.workspace);
        let told = engagement::record_within(services, tx, workspace, of, engagement, self.now);
        Ok(match told.await? {
            Some(events) => Followed {
                matched,
                events,
                is_of_erased: false,
            },
            None => Followed::of_erased(),
        })
    }

    /// What its author answers: a message that it names, one whose answers were asked for at the address
    /// that it went to, or else the lead of its author.
    async fn of_author(&self, tx: &DatabaseTransaction) -> Result<Matched, TakeError> {
        let from = self.mail.from.as_deref().and_then(key);
        let named = self.by_what_it_names(tx).await?;
        if let Some((found, _)) = named {
            let own = match &from {
                Some(from) if inbound::is_sender(tx, self.workspace, from).await? => from,
                _ => return Ok(named),
            };
            let contact = self.addresses(tx, found).await?;
            // What the team itself writes into a thread is no answer to it.
            return Ok(named.filter(|_| contact.is_some_and(|contact| contact.has(own))));
        }
        let Some(from) = from else {
            return Ok(None);
        };
        let found = inbound::active_of_address(tx, self.workspace, self.sender, &from).await?;
        Ok(found.map(|found| (found, MatchedBy::Address)))
    }

    async fn by_what_it_names(&self, tx: &DatabaseTransaction) -> Result<Matched, TakeError> {
        for answered in self.mail.answers.iter().take(ANSWERS_MAX) {
            if let Some(found) = self.email(tx, execution_of(answered)).await? {
                return Ok(Some((found, MatchedBy::MessageId)));
            }
        }
        for execution in self.tagged() {
            if let Some(found) = self.email(tx, Some(execution)).await? {
                return Ok(Some((found, MatchedBy::ReplyAddress)));
            }
        }
        Ok(None)
    }

    async fn email(
        &self,
        tx: &DatabaseTransaction,
        execution: Option<ExecutionId>,
    ) -> Result<Option<Found>, TakeError> {
        match execution {
            Some(execution) => Ok(inbound::email(tx, self.workspace, execution).await?),
            None => Ok(None),
        }
    }

    /// The message that a report is about: the one whose Message-ID it returns, else the latest to the
    /// address that it names.
    async fn reported(
        &self,
        tx: &DatabaseTransaction,
        original: Option<&str>,
        address: Option<&str>,
    ) -> Result<Matched, TakeError> {
        let execution = original.and_then(execution_of);
        if let Some(found) = self.email(tx, execution).await? {
            return Ok(Some((found, MatchedBy::MessageId)));
        }
        let Some(address) = address.and_then(key) else {
            return Ok(None);
        };
        let since = self.now - RECENT;
        let (workspace, sender) = (self.workspace, self.sender);
        let found = inbound::recent_to_address(tx, workspace, sender, &address, since).await?;
        Ok(found.map(|found| (found, MatchedBy::Address)))
    }

    async fn bounced(
        &self,
        tx: &DatabaseTransaction,
        failures: &[Failure],
    ) -> Result<Followed, TakeError> {
        let mut followed = Followed::default();
        for failure in failures {
            let (original, address) = (failure.original.as_deref(), failure.address.as_deref());
            let Some((found, by)) = self.reported(tx, original, address).await? else {
                continue;
            };
            let Some(addresses) = self.addresses(tx, found).await? else {
                followed.with_erased();
                continue;
            };
            let of = (found, &addresses, by == MatchedBy::MessageId);
            let events = returned::came_back(tx, self.workspace, of, failure, self.now).await?;
            followed.with((found, by), events);
        }
        Ok(followed)
    }

    async fn complained(
        &self,
        tx: &DatabaseTransaction,
        concerns: &[Concern],
    ) -> Result<Followed, TakeError> {
        let mut followed = Followed::default();
        for concern in concerns {
            let (original, address) = (concern.original.as_deref(), concern.address.as_deref());
            let Some((found, by)) = self.reported(tx, original, address).await? else {
                continue;
            };
            let Some(addresses) = self.addresses(tx, found).await? else {
                followed.with_erased();
                continue;
            };
            // Whatever else it names: anybody can write a complaint.
            let addresses = (Channel::Email, addresses.all());
            let (workspace, message) = (self.workspace, found.execution);
            let reason = Reason::Complained;
            let events = returned::unwanted(tx, workspace, addresses, reason, message, self.now);
            followed.with((found, by), events.await?);
        }
        Ok(followed)
    }

    /// Who asks for no more mail is heard also where no lead is under way.
    async fn opted_out(&self, tx: &DatabaseTransaction) -> Result<Followed, TakeError> {
        let matched = self.of_author(tx).await?;
        let from = self.mail.from.as_deref().and_then(key);
        let own = match matched {
            Some((found, _)) => self.addresses(tx, found).await?,
            None => None,
        };
        let is_of_erased = matched.is_some() && own.is_none();
        let is_known = match &from {
            Some(from) => inbound::is_of_a_person(tx, self.workspace, from).await?,
            None => false,
        };
        if matched.is_none() && !is_known {
            return Ok(Followed::default());
        }
        let message = matched.and_then(|(found, _)| found.execution);
        let own = own.unwrap_or_default().all();
        let addresses = (Channel::Email, own.chain(from));
        let (workspace, reason) = (self.workspace, Reason::Unsubscribed);
        let events = returned::unwanted(tx, workspace, addresses, reason, message, self.now);
        Ok(Followed {
            matched: matched.filter(|_| !is_of_erased),
            is_of_erased,
            events: events.await?,
        })
    }
}

/// At most so many characters of a text.
fn cut(text: &str, chars_max: usize) -> &str {
    let end = text.char_indices().nth(chars_max);
    end.map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
}
