//! What checks of single steps ask of the flow around them, worked out once.

use std::collections::HashMap;

use serde_json::Value;

use crate::domain::flow::graph::{Graph, Set};
use crate::domain::flow::{Action, EmailAction, Flow, MissingPolicy, Step};
use crate::domain::id::SenderId;
use crate::domain::settings::Settings;
use crate::domain::template::TagUse;

/// A flow as the checks of its steps see it.
pub(super) struct Whole<'a> {
    flow: &'a Flow,
    pub graph: &'a Graph<'a>,
    pub settings: &'a Settings,
    /// For each step, those from which ways lead to it.
    pub before: Vec<Set>,
    /// For each step, those before it since which some time has passed.
    pub long_before: Vec<Set>,
    /// The emails that note openings.
    pub opens: Set,
    /// The emails that note clicks.
    pub clicks: Set,
    /// By the name of an attribute, the steps that give it a value.
    writers: HashMap<&'a str, Set>,
    /// The emails that are skipped for people who lack data.
    skippable: Set,
    /// The steps to which a lead may come without any email, if those are skipped.
    perhaps_first: Set,
    threads: Threads,
}

impl<'a> Whole<'a> {
    pub(super) fn of(flow: &'a Flow, graph: &'a Graph<'a>, settings: &'a Settings) -> Self {
        let before = graph.before();
        let (mut opens, mut clicks) = (Set::default(), Set::default());
        let mut writers: HashMap<&str, Set> = HashMap::new();
        for (index, step) in flow.steps.iter().enumerate() {
            match &step.action {
                Action::Email(email) => {
                    if email.track_opens {
                        opens.insert(index);
                    }
                    if email.track_clicks {
                        clicks.insert(index);
                    }
                }
                Action::Update(update) => {
                    let attributes = update.set.get("attributes").and_then(Value::as_object);
                    let given = attributes.into_iter().flatten();
                    for (name, _) in given.filter(|(_, value)| !value.is_null()) {
                        writers.entry(name).or_default().insert(index);
                    }
                }
                _ => {}
            }
        }
        let emails = flow.steps.iter().enumerate();
        let skippable = emails.filter(|(_, step)| match &step.action {
            Action::Email(email) => may_be_skipped(step, email),
            _ => false,
        });
        let skippable: Set = skippable.map(|(at, _)| at).collect();
        let is_sent = |step: &Step| {
            let at = graph.index_of(&step.key);
            matches!(step.action, Action::Email(_)) && !at.is_some_and(|at| skippable.contains(at))
        };
        let perhaps_first = graph.before_any(is_sent).into_iter().collect();
        let (long_before, threads) = (long_before(flow, graph, &before), Threads::of(flow, graph));
        Self {
            flow,
            graph,
            settings,
            before,
            long_before,
            opens,
            clicks,
            writers,
            skippable,
            perhaps_first,
            threads,
        }
    }

    fn key(&self, at: usize) -> Option<&'a str> {
        self.flow.steps.get(at).map(|step| step.key.as_str())
    }

    /// Whether some step on the way to this one gives the attribute a value.
    pub(super) fn is_written_before(&self, at: usize, name: &str) -> bool {
        let both = self.writers.get(name).zip(self.before.get(at));
        both.is_some_and(|(writers, before)| writers.meets(before))
    }

    /// The attributes that steps on the way to this one give a value.
    pub(super) fn written_before(&self, at: usize) -> impl Iterator<Item = &str> {
        let names = self.writers.keys().copied();
        names.filter(move |name| self.is_written_before(at, name))
    }

    /// The email before this one that may be skipped, where on some way all of them may; none where
    /// there is a way without any, too, which is no matter of chance.
    pub(super) fn perhaps_skipped_before(&self, at: usize) -> Option<&'a str> {
        let last = self.threads.last_emails.get(at)?;
        if !self.perhaps_first.contains(at) || self.threads.first_emails.contains(at) {
            return None;
        }
        let skipped = last.shared(&self.skippable).iter().next()?;
        self.key(skipped)
    }

    /// An email right before this one, and somebody who may have sent it and whom this one does not name.
    pub(super) fn other_sender_before(&self, at: usize) -> Option<(&'a str, SenderId)> {
        let threads = &self.threads;
        let own = threads.named.get(at)?;
        let other = threads.senders_before.get(at)?.without(own).iter().next()?;
        let by_other = |email: &usize| {
            let senders = threads.may_send.get(*email);
            senders.is_some_and(|senders| senders.contains(other))
        };
        let email = threads.last_emails.get(at)?.iter().find(by_other)?;
        Some((self.key(email)?, *threads.senders.get(other)?))
    }
}

/// Whether the email is skipped for people who lack data.
fn may_be_skipped(step: &Step, email: &EmailAction) -> bool {
    // Who has no address for one email has none for the next, and everybody knows a sender's name.
    let may_lack = |tag: &TagUse| {
        let root = tag.path.first().map_or("", String::as_str);
        !tag.has_default && !matches!(root, "email" | "sender")
    };
    step.on_missing_data == MissingPolicy::Skip
        && (email.variants.iter())
            .filter(|variant| variant.enabled && variant.weight > 0)
            .any(|variant| {
                let content = email.content(variant, false);
                content.is_ok_and(|content| content.tags().iter().any(may_lack))
            })
}

/// For each step, those before it since which a lead has spent some time: waited, or been at a step that
/// does not let it go on in the same moment.
fn long_before(flow: &Flow, graph: &Graph<'_>, before: &[Set]) -> Vec<Set> {
    let mut found = vec![Set::default(); flow.steps.len()];
    for at in graph.in_order() {
        let (Some(step), Some(all)) = (flow.steps.get(at), before.get(at)) else {
            continue;
        };
        if !step.wait.is_zero()
            && let Some(found) = found.get_mut(at)
        {
            found.add(all);
        }
        let takes_time = match &step.action {
            Action::Update(_) | Action::Split(_) | Action::End(_) => false,
            Action::Condition(condition) => !condition.within.is_zero(),
            // A message is sent when its sender and the windows let it.
            Action::Email(_)
            | Action::Sms(_)
            | Action::Whatsapp(_)
            | Action::Task(_)
            | Action::Webhook(_) => true,
        };
        let passed = if takes_time {
            all.clone()
        } else {
            found.get(at).cloned().unwrap_or_default()
        };
        for to in graph.onward(at) {
            if let Some(found) = found.get_mut(*to) {
                found.add(&passed);
            }
        }
    }
    found
}

/// Which emails follow which, and who sends them. Senders are numbers here.
#[derive(Default)]
struct Threads {
    senders: Vec<SenderId>,
    /// The steps to which a way leads without any email.
    first_emails: Set,
    /// For each step, the emails that may be the last before it.
    last_emails: Vec<Set>,
    /// For each step, who may have sent the last email before it.
    senders_before: Vec<Set>,
    /// For each email, the senders that it names.
    named: Vec<Set>,
    /// For each email, who of them may send it: the sender of the one before, if it is named.
    may_send: Vec<Set>,
}

impl Threads {
    fn of(flow: &Flow, graph: &Graph<'_>) -> Self {
        let in_thread = |step: &Step| matches!(&step.action, Action::Email(it) if it.in_thread);
        if !flow.steps.iter().any(in_thread) {
            return Self::default();
        }
        let count = flow.steps.len();
        let senders = flow.senders();
        let number: HashMap<SenderId, usize> = (senders.iter().enumerate())
            .map(|(number, id)| (*id, number))
            .collect();
        let mut threads = Self {
            senders,
            first_emails: graph.before_any_email().into_iter().collect(),
            last_emails: vec![Set::default(); count],
            senders_before: vec![Set::default(); count],
            named: vec![Set::default(); count],
            may_send: vec![Set::default(); count],
        };
        for at in graph.in_order() {
            let Some(step) = flow.steps.get(at) else {
                continue;
            };
            let mut emails = threads.last_emails.get(at).cloned().unwrap_or_default();
            let mut senders = threads.senders_before.get(at).cloned().unwrap_or_default();
            if let Action::Email(email) = &step.action {
                let ids = email.senders.iter();
                let own: Set = ids.filter_map(|id| number.get(id).copied()).collect();
                let mut may_send = senders.shared(&own);
                let changes = senders.without(&own).iter().next().is_some();
                // Nobody is known to have sent the one before where it names nobody.
                if changes || may_send.iter().next().is_none() || threads.first_emails.contains(at)
                {
                    may_send.add(&own);
                }
                emails = Set::from_iter([at]);
                senders = may_send.clone();
                if let Some(entry) = threads.named.get_mut(at) {
                    *entry = own;
                }
                if let Some(entry) = threads.may_send.get_mut(at) {
                    *entry = may_send;
                }
            }
            for to in graph.onward(at) {
                if let Some(entry) = threads.last_emails.get_mut(*to) {
                    entry.add(&emails);
                }
                if let Some(entry) = threads.senders_before.get_mut(*to) {
                    entry.add(&senders);
                }
            }
        }
        threads
    }
}
