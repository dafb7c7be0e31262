//! The facts of one sequence, laid out for counting.
//!
//! Messages lie one after the other, those of a lead together, each as a few bytes that point into
//! lists of what occurs: what a million leads have in common is kept once. A lead that changed is put
//! again; what it had before stays behind as a gap until there are too many of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem::size_of;

use foldhash::fast::RandomState;
use strum::{EnumCount, IntoEnumIterator};
use uuid::Uuid;

use super::calendar::{Calendar, quarter};
use super::report::{Bucket, Funnel, MessageCounts, Report, StepReport};
use super::{Filter, LeadFacts, MessageFacts, Sending};
use crate::domain::flow::Channel;
use crate::domain::id::{LeadId, SenderId};

/// So many gaps are let be, however few messages there are.
const GAPS_LET_BE: usize = 10_000;

/// The facts of one sequence.
#[derive(Debug, Default)]
pub struct Table {
    leads: Vec<Lead>,
    by_id: HashMap<Uuid, u32, RandomState>,
    messages: Vec<Message>,
    gaps: usize,
    kinds: Known<MessageKind>,
    steps: Known<String>,
    variants: Known<String>,
    senders: Known<SenderId>,
}

/// Messages that are not laid out yet.
#[derive(Debug, Default)]
pub struct Loaded(Vec<(u32, Message)>);

/// Where the messages of a lead lie, and where it stands.
#[derive(Debug, Clone, Copy)]
struct Lead {
    first: u32,
    count: u32,
    interrupted: bool,
    waiting_at: Option<u32>,
}

/// A message; the quarter of an hour in which it was sent since 1970.
#[derive(Debug, Clone, Copy)]
struct Message {
    quarter: i32,
    kind: u32,
    opens: u16,
    clicks: u16,
    replies: u16,
    marks: u8,
}

const SENT: u8 = 1;
const DELIVERED: u8 = 1 << 1;
const FAILED: u8 = 1 << 2;
const BOUNCED: u8 = 1 << 3;
const UNSUBSCRIBED: u8 = 1 << 4;

/// What many messages have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct MessageKind {
    step: u32,
    variant: Option<u32>,
    sender: Option<u32>,
    channel: Channel,
}

/// Values that occur, each under a number.
#[derive(Debug)]
struct Known<T> {
    all: Vec<T>,
    numbers: HashMap<T, u32, RandomState>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            numbers: HashMap::default(),
        }
    }
}

impl<T: Clone + Eq + Hash> Known<T> {
    fn number(&mut self, value: &T) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = place(self.all.len());
        self.all.push(value.clone());
        self.numbers.insert(value.clone(), number);
        number
    }
}

impl Table {
    /// Puts a lead, in place of what was known of it.
    pub fn put(&mut self, facts: &LeadFacts) {
        let first = self.messages.len();
        for message in &facts.messages {
            let message = self.message(message);
            self.messages.push(message);
        }
        let waiting_at = facts
            .waiting_at
            .as_ref()
            .map(|step| self.steps.number(step));
        let lead = Lead {
            first: place(first),
            count: place(facts.messages.len()),
            interrupted: facts.interrupted,
            waiting_at,
        };
        let number = place(self.leads.len());
        match *self.by_id.entry(facts.lead.uuid()).or_insert(number) {
            new if new == number => self.leads.push(lead),
            known => self.replace(known, lead),
        }
    }

    fn replace(&mut self, number: u32, lead: Lead) {
        let Some(kept) = self.leads.get_mut(index(number)) else {
            return;
        };
        let before = std::mem::replace(kept, lead);
        if before.count == lead.count {
            // The usual change is of what is there: it is written where it was.
            let (old, new) = (index(before.first), index(lead.first));
            self.messages.copy_within(new.., old);
            self.messages.truncate(new);
            kept.first = before.first;
        } else {
            self.gaps += index(before.count);
        }
        if self.gaps > GAPS_LET_BE.max(self.messages.len() / 2) {
            self.close_gaps();
        }
    }

    fn close_gaps(&mut self) {
        let mut messages = Vec::with_capacity(self.messages.len() - self.gaps);
        for lead in &mut self.leads {
            let own = self.messages.get(lead.range()).unwrap_or_default();
            lead.first = place(messages.len());
            messages.extend_from_slice(own);
        }
        self.messages = messages;
        self.gaps = 0;
    }

    /// Reads messages of leads that were put before without any, to be laid out by [`Table::lay_out`]; one
    /// of a lead that was not put is left out. Those of one lead come oldest first.
    pub fn load<'f>(
        &mut self,
        messages: impl IntoIterator<Item = &'f (LeadId, MessageFacts)>,
    ) -> Loaded {
        let mut loaded = Loaded::default();
        for (lead, facts) in messages {
            if let Some(&number) = self.by_id.get(&lead.uuid()) {
                loaded.0.push((number, self.message(facts)));
            }
        }
        loaded
    }

    /// Lays out what was loaded.
    pub fn lay_out(&mut self, loaded: Vec<Loaded>) {
        let mut all: Vec<(u32, Message)> = loaded.into_iter().flat_map(|part| part.0).collect();
        // Stable: the messages of a lead stay in their order.
        all.sort_by_key(|(lead, _)| *lead);
        self.messages.reserve_exact(all.len());
        for (number, message) in all {
            let first = self.messages.len();
            self.messages.push(message);
            if let Some(lead) = self.leads.get_mut(index(number)) {
                if lead.count == 0 {
                    lead.first = place(first);
                }
                lead.count += 1;
            }
        }
    }

    fn message(&mut self, facts: &MessageFacts) -> Message {
        let kind = MessageKind {
            step: self.steps.number(&facts.step),
            variant: facts
                .variant
                .as_ref()
                .map(|name| self.variants.number(name)),
            sender: facts.sender.as_ref().map(|id| self.senders.number(id)),
            channel: facts.channel,
        };
        let mut marks = match facts.sending {
            Sending::Sent => SENT,
            Sending::Delivered => SENT | DELIVERED,
            Sending::Failed => FAILED,
        };
        if facts.bounced {
            marks |= BOUNCED;
        }
        if facts.unsubscribed {
            marks |= UNSUBSCRIBED;
        }
        let times = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
        Message {
            quarter: quarter(facts.at),
            kind: self.kinds.number(&kind),
            opens: times(facts.opens),
            clicks: times(facts.clicks),
            replies: times(facts.replies),
            marks,
        }
    }

    /// How many leads there are.
    pub fn len(&self) -> usize {
        self.leads.len()
    }

    /// Whether there is no lead.
    pub fn is_empty(&self) -> bool {
        self.leads.is_empty()
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.leads.capacity() * size_of::<Lead>()
            + self.by_id.capacity() * (size_of::<(Uuid, u32)>() + 1)
            + self.messages.capacity() * size_of::<Message>()
            + self.kinds.all.len() * 2 * size_of::<MessageKind>()
    }

    /// Counts what a filter lets through.
    pub fn report(&self, filter: &Filter) -> Report {
        let mut count = Count::new(self, filter);
        for (stamp, lead) in (1..).zip(&self.leads) {
            count.lead(
                stamp,
                lead,
                self.messages.get(lead.range()).unwrap_or_default(),
            );
        }
        count.report()
    }
}

impl Lead {
    fn range(self) -> std::ops::Range<usize> {
        index(self.first)..index(self.first) + index(self.count)
    }
}

/// A place in a list, of which there are fewer than 2³².
fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

const fn index(place: u32) -> usize {
    place as usize
}

/// Which kinds of messages, by their places.
type Belongs<'a> = dyn Fn(usize, &MessageKind) -> bool + 'a;
/// The sums over those that belong.
type SumOf<'a> = dyn Fn(&Belongs<'_>) -> Sums + 'a;

/// One counting of a table.
struct Count<'a> {
    table: &'a Table,
    is_all: bool,
    /// Whether messages of a kind count, by the number of the kind.
    admitted: Vec<bool>,
    /// The number of the day of each quarter from the first one on; `None`, it does not count.
    days: Calendar,
    /// By kind of message, and by day.
    of_kinds: Vec<Sums>,
    of_days: Vec<Sums>,
    total: Leads,
    steps: Vec<Leads>,
    variants: Vec<Leads>,
    /// The number of the step and variant of each kind of message.
    variant_of: Vec<u32>,
    senders: Vec<Leads>,
    channels: Vec<Leads>,
    by_day: Vec<Leads>,
    waiting: Vec<u64>,
    /// Those that left before they got anything.
    uncontacted: u64,
}

/// Sums over messages.
#[derive(Debug, Clone, Copy, Default)]
struct Sums(MessageCounts);

impl Sums {
    fn add(&mut self, message: &Message) {
        let one = |mark: u8| u64::from(message.marks & mark != 0);
        let sums = &mut self.0;
        sums.sent += one(SENT);
        sums.delivered += one(DELIVERED);
        sums.failed += one(FAILED);
        sums.bounces += one(BOUNCED);
        sums.unsubscribes += one(UNSUBSCRIBED);
        sums.opens += u64::from(message.opens);
        sums.clicks += u64::from(message.clicks);
        sums.replies += u64::from(message.replies);
    }

    fn is_empty(&self) -> bool {
        self.0 == MessageCounts::default()
    }

    fn join(&mut self, other: &Self) {
        let (sums, other) = (&mut self.0, &other.0);
        sums.sent += other.sent;
        sums.delivered += other.delivered;
        sums.failed += other.failed;
        sums.opens += other.opens;
        sums.clicks += other.clicks;
        sums.replies += other.replies;
        sums.bounces += other.bounces;
        sums.unsubscribes += other.unsubscribes;
    }
}

const CONTACTED: usize = 1;
const OPENED: usize = 1 << 1;
const INTERACTED: usize = 1 << 2;
const ANSWERED: usize = 1 << 3;

/// Distinct leads of one bucket. What a lead adds is counted by what was new of it, so that each fact
/// costs one addition whatever it says.
#[derive(Debug, Clone, Copy, Default)]
struct Leads {
    stamp: u32,
    seen: usize,
    new: [u32; 16],
    interrupted: u64,
}

impl Leads {
    fn mark(&mut self, stamp: u32, said: usize) {
        if self.stamp != stamp {
            self.stamp = stamp;
            self.seen = 0;
        }
        let new = said & !self.seen;
        self.seen |= said;
        // Never out of bounds: there are four bits.
        self.new[new & 15] += 1;
    }

    fn funnel(&self) -> Funnel {
        let with = |bit: usize| {
            let counts = self.new.iter().enumerate();
            let with = counts.filter(|(said, _)| said & bit != 0);
            with.map(|(_, count)| u64::from(*count)).sum()
        };
        Funnel {
            contacted: with(CONTACTED),
            opened: with(OPENED),
            interactions: with(INTERACTED),
            answered: with(ANSWERED),
            interrupted: self.interrupted,
        }
    }
}

impl<'a> Count<'a> {
    fn new(table: &'a Table, filter: &Filter) -> Self {
        let kinds = &table.kinds.all;
        let is_one_of = |kind: &MessageKind| {
            let sender = kind.sender.and_then(|at| table.senders.all.get(index(at)));
            let step = table.steps.all.get(index(kind.step));
            let has = |senders: &Vec<SenderId>| sender.is_some_and(|id| senders.contains(id));
            filter.senders.as_ref().is_none_or(has)
                && (filter.channels.as_ref()).is_none_or(|list| list.contains(&kind.channel))
                && (filter.steps.as_ref())
                    .is_none_or(|list| step.is_some_and(|step| list.contains(step)))
        };
        let mut variants = Known::default();
        let variant_of = kinds
            .iter()
            .map(|kind| variants.number(&(kind.step, kind.variant)))
            .collect();
        let days = Calendar::new(table.messages.iter().map(|of| of.quarter), filter);
        let leads = |count: usize| vec![Leads::default(); count];
        Self {
            table,
            is_all: filter.is_all(),
            admitted: kinds.iter().map(is_one_of).collect(),
            of_kinds: vec![Sums::default(); kinds.len()],
            of_days: vec![Sums::default(); days.dates.len()],
            total: Leads::default(),
            steps: leads(table.steps.all.len()),
            variants: leads(variants.all.len()),
            variant_of,
            senders: leads(table.senders.all.len()),
            channels: leads(Channel::COUNT),
            by_day: leads(days.dates.len()),
            waiting: vec![0; table.steps.all.len()],
            uncontacted: 0,
            days,
        }
    }

    fn lead(&mut self, stamp: u32, lead: &Lead, messages: &[Message]) {
        if let Some(step) = lead.waiting_at {
            self.waiting[index(step)] += 1;
        }
        let last = if lead.interrupted {
            messages
                .iter()
                .rposition(|message| message.marks & SENT != 0)
        } else {
            None
        };
        self.uncontacted += u64::from(lead.interrupted && last.is_none());
        for (at, message) in messages.iter().enumerate() {
            let of = index(message.kind);
            let (true, Some(day)) = (self.admitted[of], self.days.number(message.quarter)) else {
                continue;
            };
            self.of_kinds[of].add(message);
            self.of_days[index(day)].add(message);
            if message.marks & SENT == 0 {
                continue;
            }
            let mut said = CONTACTED;
            if message.opens > 0 {
                said |= OPENED;
            }
            if message.clicks > 0 || message.replies > 0 {
                said |= INTERACTED;
            }
            if message.replies > 0 {
                said |= ANSWERED;
            }
            let left = u64::from(last == Some(at));
            let mark = |leads: &mut Leads| {
                leads.mark(stamp, said);
                leads.interrupted += left;
            };
            let kind = &self.table.kinds.all[of];
            mark(&mut self.total);
            mark(&mut self.steps[index(kind.step)]);
            mark(&mut self.variants[index(self.variant_of[of])]);
            mark(&mut self.channels[kind.channel as usize]);
            mark(&mut self.by_day[index(day)]);
            if let Some(sender) = kind.sender {
                mark(&mut self.senders[index(sender)]);
            }
        }
    }

    fn report(self) -> Report {
        let kinds = &self.table.kinds.all;
        let sum = |belongs: &Belongs<'_>| {
            let mut all = Sums::default();
            for (at, kind) in kinds.iter().enumerate() {
                if belongs(at, kind) {
                    all.join(&self.of_kinds[at]);
                }
            }
            all
        };
        let bucket = |leads: &Leads, sums: Sums| Bucket {
            funnel: leads.funnel(),
            messages: sums.0,
        };
        let mut total = bucket(&self.total, sum(&|_, _| true));
        if self.is_all {
            total.funnel.interrupted += self.uncontacted;
        }
        let mut senders: Vec<_> = (0..)
            .zip(&self.table.senders.all)
            .zip(&self.senders)
            .map(|((at, id), leads)| (*id, leads, sum(&|_, kind| kind.sender == Some(at))))
            .filter(|(_, _, sums)| !sums.is_empty())
            .map(|(id, leads, sums)| (id, bucket(leads, sums)))
            .collect();
        senders.sort_by_key(|(id, _)| *id);
        let channels = Channel::iter()
            .zip(&self.channels)
            .map(|(channel, leads)| (channel, leads, sum(&|_, kind| kind.channel == channel)))
            .filter(|(_, _, sums)| !sums.is_empty())
            .map(|(channel, leads, sums)| (channel, bucket(leads, sums)))
            .collect();
        let days = self.days.dates.iter().zip(&self.by_day).zip(&self.of_days);
        let days = days
            .filter(|(_, sums)| !sums.is_empty())
            .map(|((date, leads), sums)| (*date, bucket(leads, *sums)))
            .collect();
        let mut steps: Vec<StepReport> = (0..)
            .zip(&self.table.steps.all)
            .map(|(at, key)| {
                let variants = self.variants_of(at, &bucket, &sum);
                let sums = sum(&|_, kind| kind.step == at);
                StepReport {
                    key: key.clone(),
                    bucket: bucket(&self.steps[index(at)], sums),
                    variants,
                    waiting: self.waiting[index(at)],
                }
            })
            .filter(|step| step.waiting > 0 || step.bucket != Bucket::default())
            .collect();
        steps.sort_by(|a, b| a.key.cmp(&b.key));
        Report {
            total,
            steps,
            senders,
            channels,
            days,
        }
    }

    fn variants_of(
        &self,
        step: u32,
        bucket: &dyn Fn(&Leads, Sums) -> Bucket,
        sum: &SumOf<'_>,
    ) -> Vec<(String, Bucket)> {
        let mut found: Vec<(String, Bucket)> = Vec::new();
        for (at, kind) in self.table.kinds.all.iter().enumerate() {
            let Some(variant) = kind.variant.filter(|_| kind.step == step) else {
                continue;
            };
            let name = &self.table.variants.all[index(variant)];
            if found.iter().any(|(known, _)| known == name) {
                continue;
            }
            let group = self.variant_of[at];
            let sums = sum(&|other, _| self.variant_of[other] == group);
            if !sums.is_empty() {
                let leads = &self.variants[index(group)];
                found.push((name.clone(), bucket(leads, sums)));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }
}

impl LeadFacts {
    /// A lead of which nothing has happened yet.
    pub const fn new(lead: LeadId, waiting_at: Option<String>, interrupted: bool) -> Self {
        Self {
            lead,
            waiting_at,
            interrupted,
            messages: Vec::new(),
        }
    }
}
