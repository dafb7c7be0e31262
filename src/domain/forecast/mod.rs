//! When the leads of a sequence will be sent what, day by day. Owns the assumptions and the reckoning
//! with counts; knows no single lead.
//!
//! # What is assumed
//!
//! - The day is the sequence's, and so are the windows, whatever clock the settings read them on. A
//!   lead that is done with a step on a day is taken to be so at the day's first opening.
//! - The holidays of contacts' countries, the workspace's limits and `maxLateness` are left out.
//! - Nobody answers, and nothing fails. A condition does not come to hold; a split divides leads by its
//!   weights; a task is done at once.
//! - The sequence has its senders for itself: what others send through them on later days is not known.
//! - Follow-ups go before first messages, and of each the longest due first. A first message goes
//!   through another sender of its step where its own has no room left. A lead whose next step does not
//!   name its sender gets one of that step's, evenly.

mod days;
mod share;
mod today;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, Utc};

pub use self::days::{Day, days, rest_of_day};
use self::share::Shares;
pub use self::today::{AbleSender, Today};
use super::flow::{Action, Answer, Flow, STEPS_MAX, Step};
use super::id::SenderId;
use super::pace::Pace;
use super::planning;
use super::schedule::{self, Calendar};
use super::sender::{WarmUp, daily_cap_on};
use super::settings::Settings;
use super::zone::Zone;

/// The most days that a forecast looks ahead.
pub const DAYS_MAX: u32 = 90;

/// A sender that is switched on, as a forecast has need of it.
#[derive(Debug, Clone)]
pub struct ForecastSender {
    /// Its clock.
    pub zone: Zone,
    /// The most messages in a day.
    pub daily_cap: Option<u32>,
    /// The growth of its cap.
    pub warm_up: Option<WarmUp>,
    /// How far apart its messages are.
    pub pace: Pace,
    /// How many it has sent today.
    pub used: u64,
}

/// Leads that wait for the same on the same day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The step that they wait for.
    pub step_key: String,
    /// Who is to send it.
    pub sender: Option<SenderId>,
    /// Whether they had no message yet.
    pub is_first: bool,
    /// Whether the sender has not written to them, so that another of the step may.
    pub is_unbound: bool,
    /// Whether they are in the step already, and their condition or task is given up when it is due.
    pub is_in_step: bool,
    /// On which day, from 0 for today, they are due; the number of the days for any later one.
    pub due: usize,
    /// How many they are.
    pub count: u64,
}

/// What a forecast hangs on, beside the leads.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The flow that runs.
    pub flow: &'a Flow,
    /// Its settings.
    pub settings: &'a Settings,
    /// The sequence's clock.
    pub zone: &'a Zone,
    /// The senders that are switched on.
    pub senders: &'a BTreeMap<SenderId, ForecastSender>,
    /// How many messages the sequence has sent today.
    pub sends_used: u64,
    /// How many of them were a lead's first.
    pub new_leads_used: u64,
    /// The days to look at, by [`days`].
    pub days: &'a [Day],
}

/// What will be sent when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// The days in their order.
    pub days: Vec<ForecastDay>,
    /// The end of the send windows of the day on which the last message leaves; none where there is
    /// nothing to send, or not all of it leaves on these days.
    pub completed_by: Option<DateTime<Utc>>,
    /// Senders whose cap or pace made messages wait for another day.
    pub bottlenecks: BTreeSet<SenderId>,
    /// How many leads still wait when the days are over.
    pub waiting: u64,
}

/// What is sent on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForecastDay {
    /// The day, on the sequence's clock.
    pub date: NaiveDate,
    /// How many messages each sender sends; those that send none are left out.
    pub by_sender: BTreeMap<SenderId, u64>,
}

impl ForecastDay {
    /// How many messages are sent.
    pub fn sends(&self) -> u64 {
        self.by_sender.values().sum()
    }
}

/// Reckons with the leads that wait.
pub fn forecast(waiting: impl IntoIterator<Item = Waiting>, of: Circumstances<'_>) -> Forecast {
    let mut run = Run::new(of);
    for group in waiting {
        run.enter(group);
    }
    let days = (0..of.days.len()).map(|day| run.day(day)).collect();
    let waiting = run.messages.values().chain(run.own.values()).sum();
    Forecast {
        days,
        completed_by: run.last_close.filter(|_| waiting == 0),
        bottlenecks: run.bottlenecks,
        waiting,
    }
}

/// Leads that are alike. Their order is that in which they are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    is_first: bool,
    due: usize,
    step: usize,
    sender: Option<SenderId>,
    is_unbound: bool,
    is_in_step: bool,
}

/// What may still be sent on a day.
struct Room {
    senders: BTreeMap<SenderId, u64>,
    sends: u64,
    new_leads: u64,
}

impl Room {
    fn of(&self, sender: SenderId, is_first: bool) -> u64 {
        let own = self.senders.get(&sender).copied().unwrap_or(0);
        let new_leads = if is_first { self.new_leads } else { u64::MAX };
        own.min(self.sends).min(new_leads)
    }

    fn take(&mut self, sender: SenderId, is_first: bool, count: u64) {
        if let Some(own) = self.senders.get_mut(&sender) {
            *own = own.saturating_sub(count);
        }
        self.sends = self.sends.saturating_sub(count);
        if is_first {
            self.new_leads = self.new_leads.saturating_sub(count);
        }
    }
}

struct Run<'a> {
    of: Circumstances<'a>,
    calendar: Calendar<'a>,
    index_of: HashMap<&'a str, usize>,
    /// Whether a lead that comes to a step gets a message there or later.
    sends_later: Vec<bool>,
    /// Leads that wait for a message.
    messages: BTreeMap<Group, u64>,
    /// Leads that wait for what the engine does by itself, or for a person.
    own: BTreeMap<Group, u64>,
    /// How leads were divided at each step, among branches and among senders.
    branches: Shares,
    spread: Shares,
    /// The day on which a step is due that follows one done on a day.
    due: HashMap<(usize, usize), usize>,
    bottlenecks: BTreeSet<SenderId>,
    last_close: Option<DateTime<Utc>>,
}

impl<'a> Run<'a> {
    fn new(of: Circumstances<'a>) -> Self {
        let mut index_of = HashMap::new();
        for (index, step) in of.flow.steps.iter().enumerate().take(STEPS_MAX) {
            index_of.entry(step.key.as_str()).or_insert(index);
        }
        let mut run = Self {
            of,
            calendar: Calendar::new(of.zone, of.settings),
            sends_later: Vec::new(),
            index_of,
            messages: BTreeMap::new(),
            own: BTreeMap::new(),
            branches: Shares::default(),
            spread: Shares::default(),
            due: HashMap::new(),
            bottlenecks: BTreeSet::new(),
            last_close: None,
        };
        run.sends_later = run.senders_ahead();
        run
    }

    /// For each step whether a message is sent there or behind it, by the ways that leads take.
    fn senders_ahead(&self) -> Vec<bool> {
        let steps = &self.of.flow.steps;
        let mut ahead: Vec<bool> = steps.iter().map(|step| step.action.is_message()).collect();
        // Each round looks one step farther; a flow leads nowhere that is farther than its steps.
        for _ in 0..steps.len() {
            let round: Vec<bool> = (steps.iter().zip(&ahead))
                .map(|(step, is_known)| {
                    *is_known
                        || ways(step).iter().any(|(_, to, weight)| {
                            let to = to.and_then(|to| self.index_of.get(to));
                            let behind = to.and_then(|to| ahead.get(*to));
                            *weight > 0 && behind == Some(&true)
                        })
                })
                .collect();
            if round == ahead {
                break;
            }
            ahead = round;
        }
        ahead
    }

    fn step(&self, index: usize) -> Option<&'a Step> {
        self.of.flow.steps.get(index)
    }

    /// Takes up leads that wait.
    fn enter(&mut self, waiting: Waiting) {
        let Some(&step) = self.index_of.get(waiting.step_key.as_str()) else {
            return;
        };
        let group = Group {
            is_first: waiting.is_first,
            due: waiting.due,
            step,
            sender: waiting.sender,
            is_unbound: waiting.is_unbound,
            is_in_step: waiting.is_in_step,
        };
        self.put(group, waiting.count);
    }

    /// Puts leads where they wait. One that gets no message any more is of no interest.
    fn put(&mut self, group: Group, count: u64) {
        let Some(step) = self.step(group.step) else {
            return;
        };
        if count == 0 || self.sends_later.get(group.step) != Some(&true) {
            return;
        }
        if !step.action.is_message() {
            *self.own.entry(group).or_default() += count;
            return;
        }
        let senders = step.action.senders();
        let group = Group {
            is_in_step: false,
            ..group
        };
        if group.sender.is_some_and(|sender| senders.contains(&sender)) {
            *self.messages.entry(group).or_default() += count;
            return;
        }
        let evenly = vec![1; senders.len()];
        let parts = self.spread.divide(group.step, &evenly, count);
        for (sender, part) in senders.iter().zip(parts).filter(|(_, part)| *part > 0) {
            let of_sender = Group {
                sender: Some(*sender),
                is_unbound: true,
                ..group
            };
            *self.messages.entry(of_sender).or_default() += part;
        }
    }

    /// One day: what waits for nobody, then messages, until nothing more can happen.
    fn day(&mut self, day: usize) -> ForecastDay {
        let mut sent = BTreeMap::new();
        let mut room = self.room(day);
        // A message may be followed by another on the same day, and so on along the flow.
        for _ in 0..=STEPS_MAX {
            self.go_on(day);
            if !self.send(day, &mut room, &mut sent) {
                break;
            }
        }
        let today = self.of.days.get(day);
        if let Some(close) = today.and_then(|today| today.closes) {
            if !sent.is_empty() {
                self.last_close = Some(close);
            }
            let late = self.messages.keys().filter(|group| group.due <= day);
            let full = late
                .filter_map(|group| group.sender)
                .filter(|sender| room.senders.get(sender) == Some(&0));
            self.bottlenecks.extend(full);
        }
        ForecastDay {
            date: today.map(|today| today.date).unwrap_or_default(),
            by_sender: sent,
        }
    }

    fn room(&self, day: usize) -> Room {
        let left = |cap: Option<u32>, used: u64| {
            let used = if day == 0 { used } else { 0 };
            cap.map_or(u64::MAX, |cap| u64::from(cap).saturating_sub(used))
        };
        let today = self.of.days.get(day);
        let senders = self.of.senders.iter().map(|(id, sender)| {
            let room = match today.and_then(|today| today.opening.zip(Some(today))) {
                Some((opening, today)) => {
                    let date = schedule::local_day(opening, &sender.zone);
                    let cap = daily_cap_on(date, sender.daily_cap, sender.warm_up.as_ref());
                    today.room(left(cap, sender.used), sender.pace)
                }
                None => 0,
            };
            (*id, room)
        });
        let settings = self.of.settings;
        Room {
            senders: senders.collect(),
            sends: left(settings.max_sends_per_day, self.of.sends_used),
            new_leads: left(settings.max_new_leads_per_day, self.of.new_leads_used),
        }
    }

    /// Sends what is due, as far as there is room. Answers whether anything was sent.
    fn send(&mut self, day: usize, room: &mut Room, sent: &mut BTreeMap<SenderId, u64>) -> bool {
        let due = self.messages.iter().filter(|(group, _)| group.due <= day);
        let due: Vec<(Group, u64)> = due.map(|(group, count)| (*group, *count)).collect();
        let mut has_sent = false;
        let mut left = Vec::new();
        for (group, count) in due {
            let taken = group.sender.map_or(0, |sender| {
                self.take(day, (group, sender), count, room, sent)
            });
            has_sent |= taken > 0;
            left.push((group, count - taken));
        }
        for (group, mut count) in left.into_iter().filter(|(group, _)| group.is_unbound) {
            let senders = self.step(group.step).map(|step| step.action.senders());
            for sender in senders.unwrap_or_default() {
                let taken = self.take(day, (group, *sender), count, room, sent);
                has_sent |= taken > 0;
                count -= taken;
            }
        }
        has_sent
    }

    /// Sends at most so many messages through a sender, whose leads then go on; answers how many.
    fn take(
        &mut self,
        day: usize,
        (group, sender): (Group, SenderId),
        count: u64,
        room: &mut Room,
        sent: &mut BTreeMap<SenderId, u64>,
    ) -> u64 {
        let taken = count.min(room.of(sender, group.is_first));
        if taken == 0 {
            return 0;
        }
        room.take(sender, group.is_first, taken);
        *sent.entry(sender).or_default() += taken;
        if let Some(waiting) = self.messages.get_mut(&group) {
            *waiting -= taken;
            if *waiting == 0 {
                self.messages.remove(&group);
            }
        }
        let gone = Group {
            is_first: false,
            sender: Some(sender),
            is_unbound: false,
            ..group
        };
        self.leave(gone, taken, day);
        taken
    }

    /// Lets leads pass the steps that are due and send nothing.
    fn go_on(&mut self, day: usize) {
        for _ in 0..=STEPS_MAX {
            let due = self.own.extract_if(.., |group, _| group.due <= day);
            let due: Vec<(Group, u64)> = due.collect();
            if due.is_empty() {
                break;
            }
            for (group, count) in due {
                let until = self.given_up(group, day);
                if until > day {
                    let waits = Group {
                        due: until,
                        is_in_step: true,
                        ..group
                    };
                    self.put(waits, count);
                } else {
                    self.leave(group, count, day);
                }
            }
        }
    }

    /// The day on which leads stop waiting in a step.
    fn given_up(&self, group: Group, day: usize) -> usize {
        match self.step(group.step).map(|step| &step.action) {
            Some(Action::Condition(condition)) if !group.is_in_step => {
                let anchor = self.anchor(day);
                let until = planning::span_end(anchor, &condition.within, &self.calendar);
                self.day_of(until).max(day)
            }
            _ => day,
        }
    }

    /// Leads that are done with their step on a day go on, by the ways out that are assumed.
    fn leave(&mut self, group: Group, count: u64, day: usize) {
        let Some(step) = self.step(group.step) else {
            return;
        };
        let ways = ways(step);
        let parts = match ways.as_slice() {
            [] => Vec::new(),
            [_] => vec![count],
            _ => {
                let weights: Vec<u32> = ways.iter().map(|(_, _, weight)| *weight).collect();
                self.branches.divide(group.step, &weights, count)
            }
        };
        for ((_, to, _), part) in ways.into_iter().zip(parts) {
            let Some(&to) = to.and_then(|to| self.index_of.get(to)) else {
                continue;
            };
            let next = Group {
                step: to,
                due: self.due(to, day),
                is_in_step: false,
                ..group
            };
            self.put(next, part);
        }
    }

    /// The day on which a step is due whose predecessor was done on a day.
    fn due(&mut self, step: usize, day: usize) -> usize {
        if let Some(known) = self.due.get(&(step, day)) {
            return *known;
        }
        let due = self.step(step).map_or(day, |step| {
            let at = planning::draft_due_at(step, self.anchor(day), &self.calendar);
            self.day_of(at).max(day)
        });
        self.due.insert((step, day), due);
        due
    }

    /// When leads are taken to be done with a step on a day.
    fn anchor(&self, day: usize) -> DateTime<Utc> {
        let day = self.of.days.get(day);
        day.map(|day| day.opening.unwrap_or(day.start))
            .unwrap_or_default()
    }

    /// The day that holds an instant; the number of the days for a later one.
    fn day_of(&self, at: DateTime<Utc>) -> usize {
        self.of.days.partition_point(|day| day.end <= at)
    }
}

/// The ways out of a step that leads are taken to use, with their shares.
fn ways(step: &Step) -> Vec<(Answer, Option<&str>, u32)> {
    let weight = |answer| match (&step.action, answer) {
        (Action::Split(split), Answer::Branch(index)) => {
            split.branches.get(index).map_or(0, |branch| branch.weight)
        }
        _ => 1,
    };
    let exits = step.exits().into_iter();
    let taken = exits.filter(|exit| exit.answer != Answer::Held(true));
    taken
        .map(|exit| (exit.answer, exit.to, weight(exit.answer)))
        .collect()
}
