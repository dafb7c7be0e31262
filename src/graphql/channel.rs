//! The channels, as the API names them.

use async_graphql::Enum;

/// How a message or a piece of work reaches a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum)]
#[graphql(remote = "crate::domain::flow::Channel")]
pub enum Channel {
    /// Email.
    Email,
    /// Text message.
    Sms,
    /// WhatsApp message.
    Whatsapp,
    /// A telephone call, made by a person.
    Call,
    /// A touch on LinkedIn, made by a person.
    Linkedin,
    /// Any other work for a person.
    Task,
    /// A request to another program.
    Webhook,
}
