//! The event log: reading it page by page, and following it live.

mod written;

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Context, Enum, Error, ID, InputObject, Object, Result, Subscription};
use entity::event;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, future};
use tokio::sync::oneshot;

pub use self::written::Writer;
use super::channel::Channel;
use super::context::ContextExt;
use super::error::bad_input;
use super::execution::{self, Execution};
use super::lead::{self, Lead};
use super::node;
use super::page::{PAGE_DEFAULT, page_size};
use super::problems::{Problems, each_once, told};
use super::prompt::{Prompt, Promptly};
use super::scalar::{DateTime, EventCursor, Json};
use super::sender::{self, Sender};
use super::sequence::{self, Sequence};
use crate::bus::Entry;
use crate::domain;
use crate::domain::id::{Id, Kind};
use crate::domain::person_filter::LIST_MAX;
use crate::domain::scope::SequenceScope;
use crate::store::event as log;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::event::EventKind")]
pub enum EventKind {
    /// A sequence began, or began again, to send.
    SequencePublished,
    /// All sends of a sequence were paused.
    SequenceDisabled,
    /// A sequence was put away.
    SequenceArchived,
    /// A person became a lead; where a bulk operation did that, the detail names it (`operationId`).
    LeadEnrolled,
    /// A lead went on to another step.
    LeadAdvanced,
    /// Somebody held a lead; the detail names the operation (`operationId`) and says when the lead was
    /// due (`dueAt`), and until when it would have waited in its step (`untilAt`).
    LeadPaused,
    /// Somebody let a lead go on; the detail names the operation (`operationId`) and says how much of the
    /// lead's wait was left (`restMs`, in milliseconds). That of an operation that undoes another names
    /// that one, too (`undoes`).
    LeadResumed,
    /// A lead finished its sequence.
    LeadCompleted,
    /// A lead left its sequence early; the detail says why.
    LeadStopped,
    /// A message was claimed for sending.
    ExecutionStarted,
    /// A message was accepted by the receiving server.
    ExecutionSent,
    /// A message is known to have arrived.
    ExecutionDelivered,
    /// A message will not be sent; the execution's error says why.
    ExecutionFailed,
    /// There was nothing to do for this lead at this step.
    ExecutionSkipped,
    /// A message may or may not have left, and is not sent again by itself.
    ExecutionUnconfirmed,
    /// A message was opened.
    Opened,
    /// A link was clicked.
    Clicked,
    /// The contact read a WhatsApp message, as WhatsApp tells of those who let it. It counts as no opening, and
    /// no condition comes true by it: who does not let it may have read the message all the same.
    Read,
    /// The contact answered.
    Replied,
    /// A machine answered for the contact; where that keeps the lead quiet, the detail says until when
    /// (`quietUntil`).
    AutoReplied,
    /// A message came back.
    Bounced,
    /// The contact opted out.
    Unsubscribed,
    /// The contact complained to its provider.
    Complained,
    /// Work for a person came up.
    TaskCreated,
    /// Work for a person was done, or somebody decided against it: `detail` has the outcome. Work whose
    /// time is up has no event of its own: the EXECUTION_SKIPPED of its step says so in `detail`.
    TaskCompleted,
    /// A sender was switched off, as its login was refused time and again; `detail` has the server's
    /// words.
    SenderDisabled,
    /// A machine fetched the image that tells of openings; it counts as none, and no condition comes true by
    /// it. `machine` of `detail` says which kind: ROBOT, PRIVACY_PROXY or SCANNER. Of each message only the
    /// first few are noted.
    MachineOpened,
    /// A machine followed a link, as those do that look into messages for harm; it counts as no click, and
    /// no condition comes true by it. `machine` of `detail` says which kind.
    MachineClicked,
    /// A webhook subscription was switched off, as its receiver is gone or has taken nothing for days;
    /// `detail` names it (`webhookSubscriptionId`) and has the `reason` and the last failure (`message`).
    WebhookSwitchedOff,
}

/// Which events; every field that is given must hold, and a list means any of its entries. An
/// empty list is as if it were not given.
#[derive(Debug, Clone, Default, InputObject)]
pub struct EventFilter {
    /// Of any of these sequences.
    pub sequence_ids: Option<Vec<ID>>,
    /// Of this lead.
    pub lead_id: Option<ID>,
    /// Of any of these kinds.
    pub kinds: Option<Vec<EventKind>>,
    /// On any of these channels.
    pub channel: Option<Vec<Channel>>,
    /// Through any of these senders.
    pub sender_ids: Option<Vec<ID>>,
}

impl EventFilter {
    /// The filter that is meant, of what the scope admits.
    ///
    /// # Errors
    /// BAD_USER_INPUT for a list that is too long.
    fn read(self, scope: &SequenceScope) -> Result<log::Filter> {
        let mut problems = Problems::of(&["filter"]);
        let lists = [
            ("sequenceIds", &self.sequence_ids),
            ("senderIds", &self.sender_ids),
        ];
        for (name, list) in lists {
            problems.bound(list.as_ref().map_or(0, Vec::len), LIST_MAX, &[name]);
        }
        if !problems.found.is_empty() {
            return Err(bad_input(told(problems.found)));
        }
        let filter = self;
        // An id that is none belongs to nothing, like the id of something that is not there.
        fn ids<K: Kind>(ids: Vec<ID>) -> Vec<Id<K>> {
            ids.iter().filter_map(node::maybe).collect()
        }
        fn uuids<K: Kind>(list: Vec<ID>) -> Vec<uuid::Uuid> {
            ids::<K>(list).into_iter().map(Id::uuid).collect()
        }
        let given = |list: Option<Vec<ID>>| list.filter(|list| !list.is_empty());
        Ok(log::Filter {
            sequences: scope
                .narrow(given(filter.sequence_ids).map(ids::<domain::id::kind::Sequence>))
                .map(|ids| ids.into_iter().map(Id::uuid).collect()),
            leads: filter
                .lead_id
                .map(|id| uuids::<domain::id::kind::Lead>(vec![id])),
            kinds: filter
                .kinds
                .filter(|kinds| !kinds.is_empty())
                .map(|kinds| each_once(kinds.into_iter().map(Into::into))),
            channels: filter
                .channel
                .filter(|channels| !channels.is_empty())
                .map(|channels| each_once(channels.into_iter().map(Into::into))),
            senders: given(filter.sender_ids).map(uuids::<domain::id::kind::Sender>),
        })
    }
}

/// One entry of the workspace's event log: everything that happened, in order, once.
pub struct ExecutionEvent(Arc<event::Model>);

/// One entry of the workspace's event log: everything that happened, in order, once.
#[Object]
impl ExecutionEvent {
    /// The position of this entry, to read or follow the log from here on.
    async fn cursor(&self) -> EventCursor {
        EventCursor(self.0.seq)
    }

    /// When it happened.
    async fn at(&self) -> DateTime {
        DateTime::from_ms(self.0.at)
    }

    /// What happened.
    async fn kind(&self) -> Result<EventKind> {
        let kind = domain::event::EventKind::from_str(&self.0.kind);
        Ok(kind
            .map_err(|error| corrupt("kind of event", error))?
            .into())
    }

    /// The sequence concerned; null where no sequence is.
    async fn sequence(&self, ctx: &Context<'_>) -> Result<Option<Promptly<Sequence>>> {
        match self.0.sequence_id.map(Id::from_uuid) {
            Some(id) => Ok(sequence::load(ctx, id).await?.map(Promptly)),
            None => Ok(None),
        }
    }

    /// The lead concerned; null where no lead is.
    async fn lead(&self, ctx: &Context<'_>) -> Result<Option<Promptly<Lead>>> {
        match self.0.lead_id.map(Id::from_uuid) {
            Some(id) => Ok(lead::load(ctx, id).await?.map(Promptly)),
            None => Ok(None),
        }
    }

    /// The execution concerned; null where no execution is.
    async fn execution(&self, ctx: &Context<'_>) -> Result<Option<Promptly<Execution>>> {
        match self.0.execution_id.map(Id::from_uuid) {
            Some(id) => Ok(execution::load(ctx, id).await?.map(Promptly)),
            None => Ok(None),
        }
    }

    /// The sender of the message concerned; null where no message is.
    async fn sender(&self, ctx: &Context<'_>) -> Result<Option<Promptly<Sender>>> {
        match self.0.sender_id.map(Id::from_uuid) {
            Some(id) => Ok(sender::load(ctx, id).await?.map(Promptly)),
            None => Ok(None),
        }
    }

    /// The key of the step concerned; null where no step is.
    async fn step_key(&self) -> Option<&str> {
        self.0.step_key.as_deref()
    }

    /// The channel of the message concerned; null where no message is.
    async fn channel(&self) -> Result<Option<Channel>> {
        let channel = self
            .0
            .channel
            .as_deref()
            .map(domain::flow::Channel::from_str)
            .transpose();
        Ok(channel
            .map_err(|error| corrupt("channel of an event", error))?
            .map(Into::into))
    }

    /// What else is worth knowing, by kind of event; null where there is nothing.
    async fn detail(&self) -> Option<Json> {
        self.0.detail.clone().map(Json)
    }
}

impl Prompt for ExecutionEvent {
    const AT_ONCE: &'static [&'static str] =
        &["cursor", "at", "kind", "stepKey", "channel", "detail"];
    const SOON: &'static [(&'static str, &'static [&'static str])] = &[
        ("sequence", Sequence::AT_ONCE),
        ("lead", Lead::AT_ONCE),
        ("execution", Execution::AT_ONCE),
        ("sender", Sender::AT_ONCE),
    ];
}

fn shown(entry: Entry) -> Promptly<ExecutionEvent> {
    Promptly(ExecutionEvent(entry))
}

fn corrupt(what: &'static str, error: strum::ParseError) -> crate::store::StoreError {
    crate::store::StoreError::corrupt(what, error)
}

/// Reading the log.
#[derive(Default)]
pub struct EventQuery;

#[Object]
impl EventQuery {
    /// The event log, oldest first.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which events; all, if it is not given.")] filter: Option<EventFilter>,
        #[graphql(
            desc = "Only events after this position; from the beginning, if it is not given."
        )]
        after: Option<EventCursor>,
        #[graphql(desc = "How many, from 1 to 250; 50 if it is not given.")] first: Option<i32>,
    ) -> Result<Vec<Promptly<ExecutionEvent>>> {
        let caller = ctx.caller_within()?;
        let limit = first.map_or(Ok(PAGE_DEFAULT), |first| page_size(first, "first"))?;
        let filter = filter.unwrap_or_default().read(&caller.scope)?;
        let after = reached(ctx, after).await?.unwrap_or(0);
        let db = ctx.services().db.read();
        let rows = log::page(db, caller.workspace, &filter, after, limit).await?;
        Ok(rows
            .into_iter()
            .map(|row| Promptly(ExecutionEvent(Arc::new(row))))
            .collect())
    }
}

/// The number of a cursor that the workspace's log has reached.
///
/// # Errors
/// BAD_USER_INPUT for one that it has not: whoever waited for it would miss all that lies between.
async fn reached(ctx: &Context<'_>, cursor: Option<EventCursor>) -> Result<Option<i64>> {
    let Some(EventCursor(seq)) = cursor else {
        return Ok(None);
    };
    let workspace = ctx.caller_within()?.workspace;
    if seq > log::last_seq(ctx.services().db.read(), workspace).await? {
        return Err(ahead_of_log());
    }
    Ok(Some(seq))
}

/// The error of a cursor that the log has not reached.
pub fn ahead_of_log() -> Error {
    let message = "`after` is ahead of this workspace's log: it is a cursor of another one, or of a \
                   state of the log that was given up. Read `events` anew.";
    bad_input(message)
}

/// Which entries a subscription answers.
pub type Passes = Box<dyn Fn(&Entry) -> bool + Send + Sync>;

/// Where a subscription takes its events from, in place of the bus, or who wants to know which of them
/// it would answer. In the data of a request whose results go to many.
pub struct Feed(Mutex<Feeding>);

enum Feeding {
    Entries {
        entries: BoxStream<'static, Entry>,
        judged: Box<dyn Fn(i64, bool) + Send + Sync>,
    },
    Asked(oneshot::Sender<Passes>),
    Over,
}

impl Feed {
    /// A feed of these entries. `judged` is told each one's number and whether it passes, before
    /// the next one is taken.
    pub fn new(
        entries: impl Stream<Item = Entry> + Send + 'static,
        judged: impl Fn(i64, bool) + Send + Sync + 'static,
    ) -> Self {
        Self(Mutex::new(Feeding::Entries {
            entries: entries.boxed(),
            judged: Box::new(judged),
        }))
    }

    /// No feed, but a question: the subscription tells which entries pass, and ends without a result.
    /// One that is refused answers why, and tells nothing.
    pub fn ask() -> (Self, oneshot::Receiver<Passes>) {
        let (tell, told) = oneshot::channel();
        (Self(Mutex::new(Feeding::Asked(tell))), told)
    }

    fn follow(&self, passes: Passes) -> BoxStream<'static, Promptly<ExecutionEvent>> {
        let mut feeding = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *feeding, Feeding::Over) {
            Feeding::Entries { entries, judged } => {
                let passes = move |entry: &Entry| {
                    let passes = passes(entry);
                    judged(entry.seq, passes);
                    future::ready(passes)
                };
                entries.filter(passes).map(shown).boxed()
            }
            Feeding::Asked(tell) => {
                // Whoever asked may be gone.
                drop(tell.send(passes));
                stream::empty().boxed()
            }
            Feeding::Over => stream::empty().boxed(),
        }
    }
}

/// Following the log.
#[derive(Default)]
pub struct EventSubscription;

#[Subscription]
impl EventSubscription {
    /// Events in log order. With `after`, first all that the log holds since then, then live, with
    /// no gap and no repeat between.
    async fn execution_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which events; all, if it is not given.")] filter: Option<EventFilter>,
        #[graphql(
            desc = "Only events after this position; from now on, if it is not given. To resume, give the cursor of the last event received."
        )]
        after: Option<EventCursor>,
    ) -> Result<BoxStream<'static, Promptly<ExecutionEvent>>> {
        let caller = ctx.caller_within()?;
        let filter = filter.unwrap_or_default().read(&caller.scope)?;
        let passes = move |entry: &Entry| filter.matches(entry);
        if let Some(feed) = ctx.data_opt::<Feed>() {
            return Ok(feed.follow(Box::new(passes)));
        }
        let after = reached(ctx, after).await?;
        let entries = ctx.services().bus.subscribe(caller.workspace, after);
        Ok(entries
            .filter(move |entry| future::ready(passes(entry)))
            .map(shown)
            .boxed())
    }
}
