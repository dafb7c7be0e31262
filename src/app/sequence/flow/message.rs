//! Emails, text messages and WhatsApp messages as they are written.

use super::{Reader, shown};
use crate::domain::flow::{
    EmailAction, EmailVariant, MessageAction, MessageVariant, STEP_SENDERS_MAX, VARIANTS_MAX,
};
use crate::domain::id::SenderId;
use crate::domain::template::MAX_SOURCE_BYTES;

/// An email as it is written.
#[derive(Debug, Clone)]
pub struct EmailInput {
    /// The ids of those who may send it.
    pub sender_ids: Vec<String>,
    /// Its texts.
    pub variants: Vec<VariantInput>,
    /// Whether it is a reply in the lead's thread.
    pub in_thread: bool,
    /// Whether openings are noted.
    pub track_opens: bool,
    /// Whether clicks are noted.
    pub track_clicks: bool,
}

/// A text of an email as it is written.
#[derive(Debug, Clone)]
pub struct VariantInput {
    /// Its key.
    pub key: String,
    /// Its share.
    pub weight: i32,
    /// Whether leads get it.
    pub enabled: bool,
    /// The subject.
    pub subject: Option<String>,
    /// The HTML part.
    pub html: Option<String>,
    /// The text part.
    pub text: Option<String>,
}

/// A text or WhatsApp message as it is written.
#[derive(Debug, Clone)]
pub struct MessageInput {
    /// The ids of those who may send it.
    pub sender_ids: Vec<String>,
    /// Its texts.
    pub variants: Vec<MessageVariantInput>,
}

/// A text of a text or WhatsApp message as it is written.
#[derive(Debug, Clone)]
pub struct MessageVariantInput {
    /// Its key.
    pub key: String,
    /// Its share.
    pub weight: i32,
    /// Whether leads get it.
    pub enabled: bool,
    /// The text.
    pub body: String,
}

impl Reader<'_> {
    pub(super) fn email(&mut self, base: &[&str], input: EmailInput) -> EmailAction {
        let senders = self.senders(base, &input.sender_ids);
        let variants = self.variants(base, input.variants, Self::email_variant);
        EmailAction {
            senders,
            variants,
            in_thread: input.in_thread,
            track_opens: input.track_opens,
            track_clicks: input.track_clicks,
        }
    }

    pub(super) fn message(&mut self, base: &[&str], input: MessageInput) -> MessageAction {
        let senders = self.senders(base, &input.sender_ids);
        let variants = self.variants(base, input.variants, Self::message_variant);
        MessageAction { senders, variants }
    }

    fn senders(&mut self, base: &[&str], ids: &[String]) -> Vec<SenderId> {
        let path = [base, &["senderIds"]].concat();
        self.limit(ids.len(), STEP_SENDERS_MAX, "senderIds", &path);
        let mut senders: Vec<SenderId> = Vec::new();
        for (position, id) in ids.iter().take(STEP_SENDERS_MAX).enumerate() {
            match id.parse() {
                // A sender named twice would get twice its share.
                Ok(id) if senders.contains(&id) => {}
                Ok(id) => senders.push(id),
                Err(error) => {
                    let position = position.to_string();
                    let path = [&path[..], &[&position]].concat();
                    self.invalid(format!("\"{}\": {error}.", shown(id)), &path);
                }
            }
        }
        senders
    }

    fn variants<I, O>(
        &mut self,
        base: &[&str],
        inputs: Vec<I>,
        read: impl Fn(&mut Self, &[&str], I) -> O,
    ) -> Vec<O> {
        let path = [base, &["variants"]].concat();
        self.limit(inputs.len(), VARIANTS_MAX, "variants", &path);
        let inputs = inputs.into_iter().take(VARIANTS_MAX).enumerate();
        inputs
            .map(|(position, variant)| {
                let position = position.to_string();
                read(self, &[&path[..], &[&position]].concat(), variant)
            })
            .collect()
    }

    fn email_variant(&mut self, base: &[&str], input: VariantInput) -> EmailVariant {
        let at = |field| [base, &[field]].concat();
        self.key(&input.key, &at("key"));
        let weight = self.weight(input.weight, &at("weight"));
        let parts = [
            ("subject", &input.subject),
            ("html", &input.html),
            ("text", &input.text),
        ];
        for (field, text) in parts {
            if let Some(text) = text {
                self.text(text, MAX_SOURCE_BYTES, &at(field));
            }
        }
        EmailVariant {
            key: input.key,
            weight,
            enabled: input.enabled,
            subject: input.subject,
            html: input.html,
            text: input.text,
        }
    }

    fn message_variant(&mut self, base: &[&str], input: MessageVariantInput) -> MessageVariant {
        let at = |field| [base, &[field]].concat();
        self.key(&input.key, &at("key"));
        let weight = self.weight(input.weight, &at("weight"));
        self.text(&input.body, MAX_SOURCE_BYTES, &at("body"));
        MessageVariant {
            key: input.key,
            weight,
            enabled: input.enabled,
            body: input.body,
        }
    }
}
