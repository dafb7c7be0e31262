//! Who sends a message, and the texts that it has.

use std::collections::HashSet;

use super::{FlowProblemCode, Place, check_content};
use crate::domain::flow::{
    EmailAction, MessageAction, STEP_SENDERS_MAX, SplitAction, VARIANTS_MAX,
};

/// Words by which an email tells how to receive no more, in the languages of the examples; one of them
/// in any part is enough.
const WAYS_OUT: [&str; 14] = [
    "unsubscribe",
    "opt out",
    "opt-out",
    "optout",
    "abmeld",
    "abbestell",
    "désabonn",
    "désinscri",
    "cancelar",
    "darse de baja",
    "disiscri",
    "uitschrijv",
    "afmeld",
    "no longer wish",
];

impl Place<'_> {
    /// The senders of a step that sends a message.
    pub(super) fn senders(&mut self) {
        let (step, ids) = (self.step, self.step.action.senders());
        let field = ["senderIds"];
        if ids.is_empty() {
            let message = format!("Step {} has no sender: name at least one.", step.key);
            self.error(FlowProblemCode::NoSender, &field, message);
            return;
        }
        if ids.len() > STEP_SENDERS_MAX {
            let message = format!(
                "Step {} names more than {STEP_SENDERS_MAX} senders: name fewer.",
                step.key
            );
            self.error(FlowProblemCode::NoSender, &field, message);
        }
        let (mut enabled, mut disabled) = (0, 0);
        for (position, id) in ids.iter().enumerate() {
            let position = position.to_string();
            let field = ["senderIds", &position];
            match self.facts.senders.get(id) {
                None => {
                    let message = format!(
                        "Step {} names the sender {id}, which does not exist.",
                        step.key
                    );
                    self.error(FlowProblemCode::NoSender, &field, message);
                }
                Some(sender) if Some(sender.channel) != step.action.channel() => {
                    let wanted = step.action.channel().map_or("nothing", Into::into);
                    let message = format!(
                        "Step {} sends {wanted}, but the sender {id} is for {}: choose another sender.",
                        step.key, sender.channel
                    );
                    self.error(FlowProblemCode::WrongChannel, &field, message);
                }
                Some(sender) if sender.enabled => enabled += 1,
                Some(_) => disabled += 1,
            }
        }
        if enabled == 0 && disabled > 0 {
            let message = format!(
                "Every sender of step {} is switched off: enable one.",
                step.key
            );
            self.error(FlowProblemCode::SenderDisabled, &field, message);
        }
    }

    /// The texts of an email; `first` where it may be the first that a lead gets.
    pub(super) fn email(&mut self, email: &EmailAction, first: bool) {
        let variants = &email.variants;
        let keys = variants.iter().map(|one| one.key.as_str());
        let weights = variants.iter().map(|one| (one.enabled, one.weight));
        self.variants(keys, weights);
        for (position, variant) in variants.iter().enumerate() {
            let index = position.to_string();
            let content = email.content(variant, first);
            let fields = content.as_ref().map(|content| content.fields());
            let fields = fields.map_err(Clone::clone);
            check_content(self, &["variants", &index], &variant.key, fields);
            let parts = [&variant.html, &variant.text];
            let says = |part: &&Option<String>| {
                part.as_deref().is_some_and(|part| {
                    let part = part.to_lowercase();
                    WAYS_OUT.iter().any(|word| part.contains(word))
                })
            };
            if first && variant.enabled && content.is_ok() && !parts.iter().any(says) {
                let message = format!(
                    "The email does not say how to receive no more (step {}, variant {}): add a \
                     sentence or a link to unsubscribe, as many laws and mailbox providers ask.",
                    self.step.key, variant.key
                );
                let field = ["variants", &index];
                self.warning(FlowProblemCode::MissingUnsubscribe, &field, message);
            }
        }
    }

    /// The texts of a text or WhatsApp message.
    pub(super) fn text_message(&mut self, message: &MessageAction) {
        let variants = &message.variants;
        let keys = variants.iter().map(|one| one.key.as_str());
        let weights = variants.iter().map(|one| (one.enabled, one.weight));
        self.variants(keys, weights);
        for (position, variant) in variants.iter().enumerate() {
            let index = position.to_string();
            self.text(&["variants", &index], &variant.key, variant.content());
        }
    }

    fn variants<'b>(
        &mut self,
        keys: impl ExactSizeIterator<Item = &'b str>,
        mut weights: impl Iterator<Item = (bool, u32)>,
    ) {
        let key = &self.step.key;
        if keys.len() == 0 {
            let message = format!("Step {key} has no text: add a variant.");
            self.error(FlowProblemCode::EmptyMessage, &["variants"], message);
            return;
        }
        let too_many = keys.len() > VARIANTS_MAX;
        let mut seen = HashSet::new();
        if too_many || !keys.into_iter().all(|key| seen.insert(key)) {
            let message = format!(
                "Step {key} may have up to {VARIANTS_MAX} variants, each with a key of its own."
            );
            self.error(FlowProblemCode::BadWeight, &["variants"], message);
        }
        if !weights.any(|(enabled, weight)| enabled && weight > 0) {
            let message = format!("No variant of step {key} is enabled with a weight above 0.");
            self.error(FlowProblemCode::BadWeight, &["variants"], message);
        }
    }

    /// The branches of a split.
    pub(super) fn split(&mut self, split: &SplitAction) {
        if !split.branches.iter().any(|branch| branch.weight > 0) {
            let message = format!(
                "No branch of step {} has a weight above 0: give one to each branch that leads \
                 should take.",
                self.step.key
            );
            self.error(FlowProblemCode::BadWeight, &["branches"], message);
        }
    }
}
