//! A flow made ready to run: templates compiled, steps found by key, choices made by number.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::graph::{Graph, nearest};
use super::{Action, Answer, Channel, Flow, MessageAction, MissingPolicy, Predicate, Step};
use crate::domain::duration::WaitDuration;
use crate::domain::id::SenderId;
use crate::domain::message::{ContentProblem, EmailContent, TextContent};
use crate::domain::thread::Thread;

/// A flow that passed [`check`](super::check()), ready for the engine; made once for a version.
#[derive(Debug)]
pub struct CompiledFlow {
    entry: String,
    steps: HashMap<String, CompiledStep>,
}

/// A step ready to run.
#[derive(Debug)]
pub struct CompiledStep {
    /// Its identity across versions.
    pub key: String,
    /// How long after the step before it it is due.
    pub wait: WaitDuration,
    /// Count only the days that the send window opens.
    pub business_days: bool,
    /// How it reaches the person; none for a step that reaches nobody.
    pub channel: Option<Channel>,
    /// What it does.
    pub work: Work,
    /// What becomes of a lead that has no address for it.
    pub on_missing_address: MissingPolicy,
    /// What becomes of a lead for which a merge tag has no value.
    pub on_missing_data: MissingPolicy,
    /// Where a lead goes next, from a step with one way out.
    pub next: Option<String>,
}

/// What a step does.
#[derive(Debug)]
pub enum Work {
    /// Sends a message through a sender.
    Message {
        /// Who may send it.
        senders: Vec<SenderId>,
        /// The enabled texts.
        variants: Vec<CompiledVariant>,
        /// Send it as a reply in the lead's thread.
        in_thread: bool,
        /// Whether openings and clicks are noted.
        tracks: (bool, bool),
    },
    /// Gives work to a person.
    Task(CompiledTask),
    /// Asks a predicate.
    Condition(CompiledCondition),
    /// Divides leads.
    Split(CompiledSplit),
    /// Makes a request.
    Webhook(CompiledWebhook),
    /// Writes these fields into the person.
    Update(Map<String, Value>),
    /// Ends the sequence.
    End,
}

/// A text ready to be rendered.
#[derive(Debug)]
pub struct CompiledVariant {
    /// Its identity within the step.
    pub key: String,
    /// Its share.
    pub weight: u32,
    /// The compiled text.
    pub content: Content,
}

/// The compiled text of a message.
#[derive(Debug)]
pub enum Content {
    /// Of an email.
    Email(EmailContent),
    /// Of a text or WhatsApp message.
    Text(TextContent),
}

/// Work for a person, ready to be given.
#[derive(Debug)]
pub struct CompiledTask {
    /// What is to be done.
    pub title: TextContent,
    /// How.
    pub instructions: Option<TextContent>,
    /// Who is to do it.
    pub assignee: Option<String>,
    /// After how long the lead goes on without it.
    pub timeout: Option<WaitDuration>,
}

/// A condition, ready to be asked.
#[derive(Debug)]
pub struct CompiledCondition {
    /// What must hold.
    pub predicate: Predicate,
    /// How long it may take to come true.
    pub within: WaitDuration,
    yes: Option<String>,
    no: Option<String>,
}

/// A split, ready to divide leads.
#[derive(Debug)]
pub struct CompiledSplit {
    branches: Vec<(u32, Option<String>)>,
}

/// A request, ready to be filled in.
#[derive(Debug)]
pub struct CompiledWebhook {
    /// Where it goes.
    pub url: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body; none for the lead and its person.
    pub body: Option<TextContent>,
}

/// The flow cannot run: it was never checked, or was changed behind our back.
#[derive(Debug, thiserror::Error)]
#[error("the flow cannot run: {reason}")]
pub struct NotRunnable {
    reason: String,
}

impl CompiledFlow {
    /// Compiles a flow.
    ///
    /// # Errors
    /// [`NotRunnable`] where [`check`](super::check()) would have found an error.
    pub fn compile(flow: &Flow) -> Result<Self, NotRunnable> {
        let entry = flow
            .steps
            .first()
            .map(|step| step.key.clone())
            .ok_or_else(|| NotRunnable {
                reason: "it has no steps".into(),
            })?;
        let first_emails = Graph::of(flow).before_any_email();
        let steps = flow
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| {
                let first = first_emails.contains(&index);
                Ok((step.key.clone(), compile_step(step, first)?))
            })
            .collect::<Result<_, NotRunnable>>()?;
        Ok(Self { entry, steps })
    }

    /// The step where leads enter.
    pub fn entry(&self) -> Option<&CompiledStep> {
        self.steps.get(&self.entry)
    }

    /// The step with this key.
    pub fn step(&self, key: &str) -> Option<&CompiledStep> {
        self.steps.get(key)
    }

    /// The keys of the steps that make a request, in their order.
    pub fn requests(&self) -> Vec<&str> {
        let makes_one = |step: &&CompiledStep| matches!(step.work, Work::Webhook(_));
        let mut keys: Vec<&str> = self
            .steps
            .values()
            .filter(makes_one)
            .map(|step| step.key.as_str())
            .collect();
        keys.sort_unstable();
        keys
    }

    /// Every sender that some step names, each once.
    pub fn senders(&self) -> Vec<SenderId> {
        let all: BTreeSet<SenderId> = self
            .steps
            .values()
            .flat_map(CompiledStep::senders)
            .copied()
            .collect();
        all.into_iter().collect()
    }

    /// The keys of the steps that name both senders, in their order.
    pub fn shared_steps(&self, one: SenderId, other: SenderId) -> Vec<&str> {
        let names =
            |step: &&CompiledStep| step.senders().contains(&one) && step.senders().contains(&other);
        let mut keys: Vec<&str> = self
            .steps
            .values()
            .filter(names)
            .map(|step| step.key.as_str())
            .collect();
        keys.sort_unstable();
        keys
    }

    /// The other senders of the steps that name a sender, each once.
    pub fn colleagues(&self, sender: SenderId) -> BTreeSet<SenderId> {
        self.steps
            .values()
            .map(CompiledStep::senders)
            .filter(|senders| senders.contains(&sender))
            .flatten()
            .copied()
            .filter(|other| *other != sender)
            .collect()
    }

    /// The step after `step` by this way out, if the sequence goes on.
    pub fn after(&self, step: &CompiledStep, answer: Answer) -> Option<&CompiledStep> {
        step.exit(answer).and_then(|key| self.step(key))
    }

    /// The step after `step` by this way out that `current` still has: a sequence may have been
    /// published again while a message of its older version was on its way.
    pub fn next_in<'a>(
        &self,
        current: &'a Self,
        step: &str,
        answer: Answer,
    ) -> Option<&'a CompiledStep> {
        if let Some(known) = current.step(step) {
            return current.after(known, answer);
        }
        let to = self.step(step)?.exit(answer)?;
        if let Some(surviving) = current.step(to) {
            return Some(surviving);
        }
        let onward = |key: &str| self.step(key).map(CompiledStep::exits).unwrap_or_default();
        let key = nearest(to, onward, |key| current.step(key).is_some())?;
        current.step(key)
    }
}

pub(super) fn compile_step(step: &Step, first_email: bool) -> Result<CompiledStep, NotRunnable> {
    Ok(CompiledStep {
        key: step.key.clone(),
        wait: step.wait,
        business_days: step.business_days,
        channel: step.action.channel(),
        work: compile_work(step, first_email)?,
        on_missing_address: step.on_missing_address,
        on_missing_data: step.on_missing_data,
        next: step.next.clone(),
    })
}

fn compile_work(step: &Step, first_email: bool) -> Result<Work, NotRunnable> {
    let broken = |problems: Vec<ContentProblem>| NotRunnable {
        reason: format!("step {}: {problems:?}", step.key),
    };
    let messages = |message: &MessageAction| {
        let enabled = message.variants.iter().filter(|one| one.enabled);
        let variants = enabled.map(|variant| {
            Ok(CompiledVariant {
                key: variant.key.clone(),
                weight: variant.weight,
                content: Content::Text(variant.content().map_err(broken)?),
            })
        });
        Ok(Work::Message {
            senders: message.senders.clone(),
            variants: variants.collect::<Result<_, NotRunnable>>()?,
            in_thread: false,
            tracks: (false, false),
        })
    };
    Ok(match &step.action {
        Action::Email(email) => {
            let enabled = email.variants.iter().filter(|one| one.enabled);
            let variants = enabled.map(|variant| {
                let content = email.content(variant, first_email).map_err(broken)?;
                Ok(CompiledVariant {
                    key: variant.key.clone(),
                    weight: variant.weight,
                    content: Content::Email(content),
                })
            });
            Work::Message {
                senders: email.senders.clone(),
                variants: variants.collect::<Result<_, NotRunnable>>()?,
                in_thread: email.in_thread,
                tracks: (email.track_opens, email.track_clicks),
            }
        }
        Action::Sms(message) | Action::Whatsapp(message) => messages(message)?,
        Action::Task(task) => Work::Task(CompiledTask {
            title: TextContent::title(&task.title).map_err(broken)?,
            instructions: (task.instructions.as_deref())
                .map(TextContent::instructions)
                .transpose()
                .map_err(broken)?,
            assignee: task.assignee.clone(),
            timeout: task.timeout,
        }),
        Action::Condition(condition) => Work::Condition(CompiledCondition {
            predicate: condition.predicate.clone(),
            within: condition.within,
            yes: condition.yes.clone(),
            no: condition.no.clone(),
        }),
        Action::Split(split) => Work::Split(CompiledSplit {
            branches: split
                .branches
                .iter()
                .map(|branch| (branch.weight, branch.next.clone()))
                .collect(),
        }),
        Action::Webhook(webhook) => Work::Webhook(CompiledWebhook {
            url: webhook.url.clone(),
            headers: webhook
                .headers
                .iter()
                .flatten()
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
            body: (webhook.body.as_deref())
                .map(TextContent::json)
                .transpose()
                .map_err(broken)?,
        }),
        Action::Update(update) => Work::Update(update.set.clone()),
        Action::End(_) => Work::End,
    })
}

impl CompiledStep {
    /// The senders that it may use; none for a step that sends no message.
    pub fn senders(&self) -> &[SenderId] {
        match &self.work {
            Work::Message { senders, .. } => senders,
            _ => &[],
        }
    }

    /// Whether it sends a message through a sender.
    pub const fn is_message(&self) -> bool {
        matches!(self.work, Work::Message { .. })
    }

    /// Whether it is sent as a reply in the lead's thread.
    pub const fn in_thread(&self) -> bool {
        matches!(
            self.work,
            Work::Message {
                in_thread: true,
                ..
            }
        )
    }

    /// Whether it notes openings, and clicks.
    pub const fn tracks(&self) -> (bool, bool) {
        match self.work {
            Work::Message { tracks, .. } => tracks,
            _ => (false, false),
        }
    }

    /// Whether it keeps to the send windows: messages and work for people do, what the engine does by
    /// itself does not.
    pub const fn keeps_windows(&self) -> bool {
        matches!(self.work, Work::Message { .. } | Work::Task(_))
    }

    /// Where this way out leads; `None` ends the sequence. An answer that the step does not know, as
    /// it may have had another kind before, takes the first way.
    pub fn exit(&self, answer: Answer) -> Option<&str> {
        match &self.work {
            Work::Condition(condition) => match answer {
                Answer::Held(false) => condition.no.as_deref(),
                Answer::Held(true) | Answer::Next | Answer::Branch(_) => condition.yes.as_deref(),
            },
            Work::Split(split) => {
                let index = match answer {
                    Answer::Branch(index) => index,
                    Answer::Next | Answer::Held(_) => 0,
                };
                let branch = split.branches.get(index).or_else(|| split.branches.first());
                branch.and_then(|(_, to)| to.as_deref())
            }
            Work::End => None,
            Work::Message { .. } | Work::Task(_) | Work::Webhook(_) | Work::Update(_) => {
                self.next.as_deref()
            }
        }
    }

    /// Where its ways out lead, without those that end the sequence.
    pub fn exits(&self) -> Vec<&str> {
        let exits: Vec<Option<&str>> = match &self.work {
            Work::Condition(condition) => vec![condition.yes.as_deref(), condition.no.as_deref()],
            Work::Split(split) => split.branches.iter().map(|(_, to)| to.as_deref()).collect(),
            Work::End => Vec::new(),
            Work::Message { .. } | Work::Task(_) | Work::Webhook(_) | Work::Update(_) => {
                vec![self.next.as_deref()]
            }
        };
        exits.into_iter().flatten().collect()
    }

    /// The way out that an execution's word tells of, by [`Answer::word`].
    pub fn answer_of(&self, word: Option<&str>) -> Answer {
        match &self.work {
            Work::Condition(_) => Answer::Held(word == Some("yes")),
            Work::Split(_) => {
                Answer::Branch(word.and_then(|word| word.parse().ok()).unwrap_or_default())
            }
            _ => Answer::Next,
        }
    }

    /// The variant for a lead with this `bucket`: the same lead always gets the same one, and
    /// leads divide by weight. The step's key takes part, so that steps divide independently.
    pub fn variant(&self, bucket: i32) -> Option<&CompiledVariant> {
        let Work::Message { variants, .. } = &self.work else {
            return None;
        };
        let index = chosen(variants.iter().map(|one| one.weight), bucket, &self.key)?;
        variants.get(index)
    }

    /// The branch of a split for a lead with this `bucket`, as variants are chosen.
    pub fn branch(&self, bucket: i32) -> Option<usize> {
        let Work::Split(split) = &self.work else {
            return None;
        };
        chosen(
            split.branches.iter().map(|(weight, _)| *weight),
            bucket,
            &self.key,
        )
    }

    /// The sender for a lead: whoever sent the last message of its thread on the step's channel, else
    /// whoever has the lead now, as far as the step names them; else one by its bucket.
    pub fn sender_in(
        &self,
        thread: Option<&Thread>,
        current: Option<SenderId>,
        bucket: i32,
    ) -> Option<SenderId> {
        let known = thread.zip(self.channel);
        let known = known.and_then(|(thread, channel)| thread.sender_of(channel));
        let known = known.filter(|sender| self.senders().contains(sender));
        self.sender(known.or(current), bucket)
    }

    /// The sender for a lead: the one it has, if the step may use it, else one by its bucket.
    pub fn sender(&self, current: Option<SenderId>, bucket: i32) -> Option<SenderId> {
        let senders = self.senders();
        if let Some(sender) = current.filter(|sender| senders.contains(sender)) {
            return Some(sender);
        }
        let count = i64::try_from(senders.len()).ok()?;
        let index = i64::from(bucket).checked_rem_euclid(count)?;
        senders.get(usize::try_from(index).ok()?).copied()
    }
}

/// Which of several, by their weights, a lead with this bucket gets at the step `key`; none where
/// nothing has a weight.
pub fn chosen(weights: impl Iterator<Item = u32> + Clone, bucket: i32, key: &str) -> Option<usize> {
    let total: u64 = weights.clone().map(u64::from).sum();
    let mut point = spread(bucket, key).checked_rem(total)?;
    for (index, weight) in weights.enumerate() {
        let weight = u64::from(weight);
        if point < weight {
            return Some(index);
        }
        point -= weight;
    }
    None
}

/// FNV-1a over the step's key and the bucket, finished by a mix so that close buckets land far
/// apart: a stable, even spread that needs no state. (Fowler, Noll, Vo; the finisher is
/// SplitMix64's.)
fn spread(bucket: i32, key: &str) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in key.bytes().chain(bucket.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_divide_by_weight() {
        let count = |weights: &[u32], index| {
            let is_chosen = |bucket: &i32| {
                chosen(weights.iter().copied(), *bucket, "one").is_some_and(|it| it == index)
            };
            (0..10_000).filter(is_chosen).count()
        };
        let a = count(&[3, 1], 0);
        assert!(
            (7_300..7_700).contains(&a),
            "{a} of 10,000 for a weight of 3 in 4"
        );
        assert_eq!(count(&[0, 1], 0), 0, "no weight, no lead");
        assert_eq!(chosen([0, 0].into_iter(), 7, "one"), None);
    }
}
