//! Who sends a message, and the texts that it has.

use std::collections::HashSet;

use super::content::UNSUBSCRIBE_URL;
use super::sentence::names_a_way_out;
use super::{FlowProblemCode, Place, Written, check_content, tell_all};
use crate::domain::flow::{
    EmailAction, MessageAction, STEP_SENDERS_MAX, SplitAction, VARIANTS_MAX,
};

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

    /// Whether contacts reach this server by what the email is marked with.
    pub(super) fn marks(&mut self, email: &EmailAction) {
        let Some(sender) = (email.senders.iter()).find(|id| self.facts.unmarked.contains(id))
        else {
            return;
        };
        let remedy = format!(
            "start the server with --public-url, or give the sender {sender} a trackingDomain"
        );
        let key = &self.step.key;
        for (is_on, field, what) in [
            (email.track_opens, "trackOpens", "opens"),
            (email.track_clicks, "trackClicks", "clicks"),
        ] {
            if is_on {
                let message = format!(
                    "Step {key} notes {what}, but contacts cannot reach this server, and none will be \
                     noted: {remedy}, or switch {field} off."
                );
                self.warning(FlowProblemCode::NoPublicUrl, &[field], message);
            }
        }
        for (position, variant) in email.variants.iter().enumerate() {
            let parts = [&variant.html, &variant.text];
            let has_tag = |part: &&Option<String>| {
                part.as_deref()
                    .is_some_and(|text| text.contains(UNSUBSCRIBE_URL))
            };
            if variant.enabled && parts.iter().any(has_tag) {
                let message = format!(
                    "Step {key} names {UNSUBSCRIBE_URL} (variant {}), but contacts cannot reach this \
                     server: {remedy}.",
                    variant.key
                );
                let field = ["variants", &position.to_string()];
                self.error(FlowProblemCode::NoPublicUrl, &field, message);
            }
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
            let field = ["variants", &index];
            let written = Written {
                base: &field,
                variant: &variant.key,
                enabled: variant.enabled,
            };
            let content = match email.content(variant, first) {
                Ok(content) => content,
                Err(problems) => {
                    tell_all(self, written, &problems);
                    continue;
                }
            };
            check_content(self, written, &content.fields(), content.excess());
            let parts = [&variant.html, &variant.text];
            let says = |part: &&Option<String>| part.as_deref().is_some_and(names_a_way_out);
            let is_sent = variant.enabled && variant.weight > 0;
            if first && is_sent && !parts.iter().any(says) {
                let message = format!(
                    "The email does not say how to receive no more (step {}, variant {}): add a \
                     sentence or a link to unsubscribe, as many laws and mailbox providers ask.",
                    self.step.key, variant.key
                );
                self.warning(FlowProblemCode::MissingUnsubscribe, &field, message);
            }
        }
    }

    /// The thread that an email replies in: whether there is one, and whose it is.
    pub(super) fn thread(&mut self, email: &EmailAction) {
        if !email.in_thread {
            return;
        }
        if let Some(skipped) = self.whole.perhaps_skipped_before(self.at) {
            for (position, variant) in email.variants.iter().enumerate() {
                let subject = variant.subject.as_deref().unwrap_or_default();
                if !variant.enabled || !subject.trim().is_empty() {
                    continue;
                }
                let message = format!(
                    "Step {key} replies in the thread of step {skipped}, which is skipped for a person \
                     who lacks data of its text; the reply then has no subject and fails (variant \
                     {variant}): give it a subject of its own, let onMissingData of step {skipped} be \
                     HOLD, or give the tags there a default.",
                    key = self.step.key,
                    variant = variant.key
                );
                let field = ["variants", &position.to_string(), "subject"];
                self.warning(FlowProblemCode::NoSubject, &field, message);
            }
        }
        if let Some((before, sender)) = self.whole.other_sender_before(self.at) {
            let message = format!(
                "Step {} replies in the thread of step {before}, but does not name its sender \
                 {sender}: who was written to by that sender gets the reply from another address. \
                 Let both steps name the same senders.",
                self.step.key
            );
            self.warning(FlowProblemCode::ThreadSender, &["senderIds"], message);
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
            let written = Written {
                base: &["variants", &index],
                variant: &variant.key,
                enabled: variant.enabled,
            };
            self.text(written, variant.content());
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
        if keys.len() > VARIANTS_MAX {
            let message = format!(
                "Step {key} has {} variants: leave at most {VARIANTS_MAX}.",
                keys.len()
            );
            self.error(FlowProblemCode::BadWeight, &["variants"], message);
        }
        let mut seen = HashSet::new();
        for (position, variant) in keys.take(VARIANTS_MAX).enumerate() {
            if !seen.insert(variant) {
                let message = format!(
                    "Two variants of step {key} have the key {variant}: give each its own."
                );
                let field = ["variants", &position.to_string(), "key"];
                self.error(FlowProblemCode::BadWeight, &field, message);
            }
        }
        if !weights.any(|(enabled, weight)| enabled && weight > 0) {
            let message = format!(
                "No variant of step {key} is enabled with a weight above 0: enable one, and give it \
                 a weight."
            );
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
