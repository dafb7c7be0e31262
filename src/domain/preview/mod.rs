//! What a flow would do for one person: every path from its entry to an end, with the texts and the
//! times. Owns what a preview assumes and its bounds; sends nothing and knows no lead.
//!
//! # What is assumed
//!
//! Each step is done at the moment when it is due: no cap, no pace, no outage delays it, and a task
//! is completed at once. A condition that is taken to hold is passed when it is first asked, one that
//! is taken not to hold when its `within` is over. The sender of a message is the first of its step
//! that is switched on, and its text the variant that the lead gets, where that is known, else the first
//! that leads get. What an update writes is the person's for the steps behind it. An email that would be
//! skipped or fail begins no thread. Whether the person's address may be written to is not asked.
//!
//! # Flows with problems
//!
//! A step whose text cannot be compiled has no text, only its problems. A way to a step that does not
//! exist ends its path, and so does one that leads back to a step of the path.

mod contact;
mod render;
mod scenario;
mod ways;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

pub use self::contact::Contact;
use self::render::Rendered;
pub use self::scenario::{Scenario, ScenarioAnswer, ScenarioError};
use self::ways::{Way, Ways};
use super::flow::{Action, Answer, Channel, Flow, FlowProblem, Step};
use super::id::SenderId;
use super::planning::{self, Clocks};
use super::schedule::Calendar;
use super::settings::Settings;
use super::thread::reply_subject;
use super::zone::Zone;

/// The most paths that a preview shows. A path has at most as many entries as a flow has steps
/// ([`STEPS_MAX`](super::flow::STEPS_MAX)).
pub const PATHS_MAX: usize = 64;
/// The most bytes of texts and problems of a preview: paths beyond are left out, and what the first
/// path has beyond stays without text.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most days that the entries of a preview wait in all, beyond which paths are left out: what it
/// takes to find when a step is due grows with them. It suffices for the longest path there can be.
const DAYS_MAX: i64 = 1_000_000;

/// A sender as a preview has need of it.
#[derive(Debug, Clone)]
pub struct PreviewSender {
    /// The name that recipients see.
    pub name: String,
    /// The address that recipients see.
    pub address: String,
    /// What stands for the address where contacts opt out, where this server is reached from outside.
    pub unsubscribe_url: Option<String>,
    /// Its clock.
    pub zone: Zone,
}

/// What a preview hangs on, beside the flow.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The settings of the sequence.
    pub settings: &'a Settings,
    /// The sequence's clock.
    pub zone: &'a Zone,
    /// The senders of the flow that are switched on.
    pub senders: &'a HashMap<SenderId, PreviewSender>,
    /// For whom.
    pub contact: &'a Contact,
    /// The clocks that updates of the flow name.
    pub zones: &'a HashMap<String, Zone>,
    /// What the lead's variants hang on; none where nobody is enrolled yet.
    pub bucket: Option<i32>,
    /// What the contact does, and which variants it gets.
    pub scenario: &'a Scenario,
    /// When the lead is enrolled.
    pub start_at: DateTime<Utc>,
    /// The problems that the flow has for everybody.
    pub problems: &'a [FlowProblem],
}

/// Paths through a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowPreview {
    /// The paths, in the order of the ways out: yes before no, branches as listed.
    pub paths: Vec<PreviewPath>,
    /// How many more there are; no more than can be counted.
    pub paths_left_out: u64,
}

/// One way from the entry to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewPath {
    /// How each condition and split on it is answered, by step key.
    pub answers: Vec<(String, Answer)>,
    /// Its steps in their order.
    pub entries: Vec<PreviewEntry>,
}

/// One step on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewEntry {
    /// The step.
    pub step_key: String,
    /// When it is due.
    pub at: DateTime<Utc>,
    /// How it reaches the person.
    pub channel: Option<Channel>,
    /// The subject of an email, the title of a task.
    pub subject: Option<Arc<str>>,
    /// The HTML part of an email.
    pub html: Option<Arc<str>>,
    /// The text of a message, the instructions of a task, the body of a request.
    pub text: Option<Arc<str>>,
    /// What is wrong with the step, for everybody or for this person.
    pub problems: Arc<[FlowProblem]>,
}

impl PreviewEntry {
    fn bytes(&self) -> usize {
        let texts = [&self.subject, &self.html, &self.text];
        let texts = texts.into_iter().flatten().map(|text| text.len());
        let problems = self.problems.iter().map(|one| one.message.len());
        texts.chain(problems).sum()
    }
}

/// The paths through a flow that the scenario leaves open.
pub fn preview(flow: &Flow, circumstances: Circumstances<'_>) -> FlowPreview {
    let ways = Ways::of(flow, circumstances.scenario);
    let mut walk = Walk {
        ways: &ways,
        circumstances,
        rendered: HashMap::new(),
        updated: HashMap::new(),
        answers: Vec::new(),
        entries: Vec::new(),
        paths: Vec::new(),
        bytes: 0,
        days: 0,
        is_full: false,
    };
    if !flow.steps.is_empty() {
        let so_far = SoFar {
            contact: Cow::Borrowed(circumstances.contact),
            state: 0,
            thread: Thread::default(),
        };
        walk.step(0, circumstances.start_at, &so_far);
    }
    let shown = u64::try_from(walk.paths.len()).unwrap_or(u64::MAX);
    FlowPreview {
        paths: walk.paths,
        paths_left_out: ways.paths().saturating_sub(shown),
    }
}

/// What has become of the person on a path.
struct SoFar<'a> {
    contact: Cow<'a, Contact>,
    /// Which of the walk's states of the person it is: the same number, the same person.
    state: usize,
    thread: Thread,
}

/// What is known of the thread of emails on a path.
#[derive(Debug, Clone, Default)]
struct Thread {
    /// Whether an email came before.
    is_begun: bool,
    /// Its subject, where that could be rendered.
    subject: Option<Arc<str>>,
}

/// A walk along the ways, each path after the other.
struct Walk<'a> {
    ways: &'a Ways<'a>,
    circumstances: Circumstances<'a>,
    /// By the step, the state of the person, and whether the step's email replies to one before it.
    rendered: HashMap<(usize, usize, bool), Arc<Rendered>>,
    /// By a state of the person and the step that writes into it, what state that makes.
    updated: HashMap<(usize, usize), usize>,
    answers: Vec<(String, Answer)>,
    entries: Vec<PreviewEntry>,
    paths: Vec<PreviewPath>,
    /// What the paths so far have in texts and problems.
    bytes: usize,
    /// How long the entries so far wait, in days.
    days: i64,
    is_full: bool,
}

impl Walk<'_> {
    /// Goes on from a step whose predecessor was done at `anchor`. It calls itself as deep as the
    /// path is long.
    fn step(&mut self, index: usize, anchor: DateTime<Utc>, so_far: &SoFar<'_>) {
        let Some(step) = self.ways.step(index) else {
            return;
        };
        let at = self.due_at(step, anchor, &so_far.contact);
        let (entry, thread) = self.entry(step, index, at, so_far);
        let (contact, state) = self.after(step, index, so_far);
        let so_far = SoFar {
            contact,
            state,
            thread,
        };
        self.entries.push(entry);
        if self.ways.out(index).is_empty() {
            self.end_path();
        }
        for way in self.ways.out(index) {
            if self.is_full {
                break;
            }
            let is_answer = way.answer != Answer::Next;
            if is_answer {
                self.answers.push((step.key.clone(), way.answer));
            }
            match way.to {
                Some(to) => {
                    let done_at = self.done_at(step, at, *way, &so_far.contact);
                    self.step(to, done_at, &so_far);
                }
                None => self.end_path(),
            }
            if is_answer {
                self.answers.pop();
            }
        }
        self.entries.pop();
    }

    /// The person behind the step, and the number of its state.
    fn after<'b>(
        &mut self,
        step: &Step,
        index: usize,
        so_far: &'b SoFar<'_>,
    ) -> (Cow<'b, Contact>, usize) {
        let (contact, state) = (&*so_far.contact, so_far.state);
        if let Action::Update(update) = &step.action {
            let updated = contact.updated(&update.set, self.circumstances.zones);
            if updated != *contact {
                let next = self.updated.len() + 1;
                let state = *self.updated.entry((state, index)).or_insert(next);
                return (Cow::Owned(updated), state);
            }
        }
        (Cow::Borrowed(contact), state)
    }

    fn due_at(&mut self, step: &Step, anchor: DateTime<Utc>, contact: &Contact) -> DateTime<Utc> {
        let at = planning::draft_due_at(step, anchor, &self.calendar(step, contact));
        self.days += (at - anchor).num_days();
        at
    }

    /// When a lead goes on from a step that was due at `at`.
    fn done_at(
        &self,
        step: &Step,
        at: DateTime<Utc>,
        way: Way,
        contact: &Contact,
    ) -> DateTime<Utc> {
        match &step.action {
            Action::Condition(condition) if way.answer == Answer::Held(false) => {
                planning::span_end(at, &condition.within, &self.calendar(step, contact))
            }
            _ => at,
        }
    }

    fn calendar<'b>(&'b self, step: &Step, contact: &'b Contact) -> Calendar<'b> {
        let of = self.circumstances;
        let clocks = Clocks {
            sequence: of.zone,
            sender: sender(step, of).map_or(of.zone, |sender| &sender.zone),
            person: &contact.whereabouts,
        };
        planning::calendar(of.settings, clocks)
    }

    fn entry(
        &mut self,
        step: &Step,
        index: usize,
        at: DateTime<Utc>,
        so_far: &SoFar<'_>,
    ) -> (PreviewEntry, Thread) {
        let of = Circumstances {
            contact: &so_far.contact,
            ..self.circumstances
        };
        let thread = &so_far.thread;
        let replies = thread.is_begun && in_thread(&step.action);
        // What is shown of no path is not rendered.
        let rendered = if bytes(&self.entries) > BYTES_MAX {
            Arc::default()
        } else {
            let rendered = self.rendered.entry((index, so_far.state, replies));
            let render = || Arc::new(render::render(step, index, replies, of));
            Arc::clone(rendered.or_insert_with(render))
        };
        let mut subject = rendered.subject.clone();
        let mut after = thread.clone();
        if matches!(step.action, Action::Email(_)) {
            // An email without a subject of its own has its thread's.
            if replies && subject.as_deref().is_none_or(str::is_empty) && rendered.text.is_some() {
                let thread = thread.subject.as_deref();
                subject = thread.map(|subject| Arc::from(reply_subject(subject)));
            }
            if rendered.is_sent && !replies {
                after.is_begun = true;
                after.subject = subject.clone();
            }
        }
        let entry = PreviewEntry {
            step_key: step.key.clone(),
            at,
            channel: step.action.channel(),
            subject,
            html: rendered.html.clone(),
            text: rendered.text.clone(),
            problems: Arc::clone(&rendered.problems),
        };
        (entry, after)
    }

    /// Keeps the path that has come to its end, if there is room for it.
    fn end_path(&mut self) {
        let bytes = bytes(&self.entries);
        let is_first = self.paths.is_empty();
        let is_over = self.bytes + bytes > BYTES_MAX || self.days > DAYS_MAX;
        if is_over && !is_first {
            self.is_full = true;
            return;
        }
        let mut entries = self.entries.clone();
        if is_first {
            shorten(&mut entries);
        }
        self.bytes += bytes;
        self.paths.push(PreviewPath {
            answers: self.answers.clone(),
            entries,
        });
        self.is_full = is_over || self.paths.len() >= PATHS_MAX;
    }
}

fn bytes(entries: &[PreviewEntry]) -> usize {
    entries.iter().map(PreviewEntry::bytes).sum()
}

/// Takes the texts and the problems from the entries beyond the bound.
fn shorten(entries: &mut [PreviewEntry]) {
    let mut bytes = 0;
    for entry in entries {
        bytes += entry.bytes();
        if bytes > BYTES_MAX {
            (entry.subject, entry.html, entry.text) = (None, None, None);
            entry.problems = Arc::default();
        }
    }
}

fn in_thread(action: &Action) -> bool {
    matches!(action, Action::Email(email) if email.in_thread)
}

/// Who sends a step's message: the first of its senders that is switched on.
fn sender<'a>(step: &Step, of: Circumstances<'a>) -> Option<&'a PreviewSender> {
    let mut senders = step.action.senders().iter();
    senders.find_map(|id| of.senders.get(id))
}
