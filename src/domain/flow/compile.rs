//! A flow made ready to run: templates compiled, steps found by key, choices made by number.

use std::collections::HashMap;

use super::{Action, Channel, Flow, Step};
use crate::domain::duration::WaitDuration;
use crate::domain::id::SenderId;
use crate::domain::message::EmailContent;

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
    /// How it reaches the person.
    pub channel: Channel,
    /// Who may send it.
    pub senders: Vec<SenderId>,
    /// The enabled texts.
    pub variants: Vec<CompiledVariant>,
    /// Send it as a reply in the lead's thread.
    pub in_thread: bool,
    /// Where a lead goes next.
    pub next: Option<String>,
}

/// A text ready to be rendered.
#[derive(Debug)]
pub struct CompiledVariant {
    /// Its identity within the step.
    pub key: String,
    /// Its share.
    pub weight: u32,
    /// The compiled text.
    pub content: EmailContent,
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
        let steps = flow
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| Ok((step.key.clone(), compile_step(step, index == 0)?)))
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

    /// The step after `step`, if the sequence goes on.
    pub fn after(&self, step: &CompiledStep) -> Option<&CompiledStep> {
        step.next.as_deref().and_then(|key| self.step(key))
    }

    /// The step after `step` that `current` still has: a sequence may have been published again
    /// while a message of its older version was on its way.
    pub fn next_in<'a>(&self, current: &'a Self, step: &str) -> Option<&'a CompiledStep> {
        if let Some(known) = current.step(step) {
            return current.after(known);
        }
        let mut at = self.step(step)?;
        // Published flows have no cycle; the bound holds for any data.
        for _ in 0..super::STEPS_MAX {
            let next = self.after(at)?;
            if let Some(surviving) = current.step(&next.key) {
                return Some(surviving);
            }
            at = next;
        }
        None
    }
}

fn compile_step(step: &Step, first: bool) -> Result<CompiledStep, NotRunnable> {
    let Action::Email(email) = &step.action;
    let variants = email
        .variants
        .iter()
        .filter(|variant| variant.enabled && variant.weight > 0)
        .map(|variant| {
            let content = email
                .content(variant, first)
                .map_err(|problems| NotRunnable {
                    reason: format!("step {}, variant {}: {problems:?}", step.key, variant.key),
                })?;
            Ok(CompiledVariant {
                key: variant.key.clone(),
                weight: variant.weight,
                content,
            })
        })
        .collect::<Result<Vec<_>, NotRunnable>>()?;
    Ok(CompiledStep {
        key: step.key.clone(),
        wait: step.wait,
        business_days: step.business_days,
        channel: step.action.channel(),
        senders: email.senders.clone(),
        variants,
        in_thread: email.in_thread,
        next: step.next.clone(),
    })
}

impl CompiledStep {
    /// The variant for a lead with this `bucket`: the same lead always gets the same one, and
    /// leads divide by weight. The step's key takes part, so that steps divide independently.
    pub fn variant(&self, bucket: i32) -> Option<&CompiledVariant> {
        let total: u64 = self
            .variants
            .iter()
            .map(|variant| u64::from(variant.weight))
            .sum();
        let mut point = spread(bucket, &self.key).checked_rem(total)?;
        for variant in &self.variants {
            let weight = u64::from(variant.weight);
            if point < weight {
                return Some(variant);
            }
            point -= weight;
        }
        None
    }

    /// The sender for a lead: the one it has, if the step may use it, else one by its bucket.
    pub fn sender(&self, current: Option<SenderId>, bucket: i32) -> Option<SenderId> {
        if let Some(sender) = current.filter(|sender| self.senders.contains(sender)) {
            return Some(sender);
        }
        let count = i64::try_from(self.senders.len()).ok()?;
        let index = i64::from(bucket).checked_rem_euclid(count)?;
        self.senders.get(usize::try_from(index).ok()?).copied()
    }
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
        let content = || EmailContent::compile(Some("s"), None, Some("t")).expect("compiles");
        let step = CompiledStep {
            key: "one".into(),
            wait: WaitDuration::default(),
            business_days: false,
            channel: Channel::Email,
            senders: vec![],
            variants: vec![
                CompiledVariant {
                    key: "a".into(),
                    weight: 3,
                    content: content(),
                },
                CompiledVariant {
                    key: "b".into(),
                    weight: 1,
                    content: content(),
                },
            ],
            in_thread: false,
            next: None,
        };
        let a = (0..10_000)
            .filter(|bucket| {
                step.variant(*bucket)
                    .is_some_and(|variant| variant.key == "a")
            })
            .count();
        assert!(
            (7_300..7_700).contains(&a),
            "{a} of 10,000 for a weight of 3 in 4"
        );
    }
}
