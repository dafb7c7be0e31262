//! Where due leads are looked for, and in which order they are served: short reads of an index, however
//! many wait beside those that are asked for.

use super::super::sql::{self, Arguments};
use crate::domain::flow::Channel;
use crate::domain::id::SenderId;

/// Which due leads of a lane to take: those that have had a message come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Leads that have had a message.
    FollowUp,
    /// Leads that have had none.
    First,
}

impl Turn {
    /// As the database has it.
    pub const fn as_i16(self) -> i16 {
        match self {
            Self::FollowUp => 0,
            Self::First => 1,
        }
    }
}

/// Where due leads are looked for: with a sender, or in a sequence's own lane, where those stand whose
/// step needs none.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Leads whose message this sender sends, by this channel.
    Sender(SenderId, Channel),
    /// Messages that another sender was to send, at one of these steps, which this one may send as well:
    /// those to leads that the other has not written to.
    Colleague(SenderId, Channel, &'a [&'a str]),
    /// Leads whose step needs no sender, but for those at these steps.
    Own(&'a [&'a str]),
}

impl Source<'_> {
    /// The condition on leads `d` that are due here, at most `limit` of which are asked for, and the
    /// channel of their messages. The arguments begin with the sequence and the instant.
    pub(super) fn leads(
        &self,
        turn: Turn,
        limit: usize,
        arguments: &mut Arguments,
    ) -> (String, Channel) {
        let due = |lead: &str| {
            format!(
                "{lead}.sequence_id = $1 AND {lead}.turn = {} AND {lead}.due_at IS NOT NULL
                 AND {lead}.due_at <= $2 AND {lead}.worker_id IS NULL",
                turn.as_i16()
            )
        };
        match self {
            Self::Sender(sender, channel) => {
                let sender = arguments.add(sender.uuid());
                (format!("d.sender_id = {sender} AND {}", due("d")), *channel)
            }
            Self::Colleague(sender, channel, steps) => {
                let sender = arguments.add(sender.uuid());
                let unbound = |lead: &str| {
                    format!(
                        "{lead}.sender_id = {sender} AND {lead}.unbound AND {}",
                        due(lead)
                    )
                };
                // The longest due of each step, so that none at other steps are walked through.
                let of_steps: Vec<String> = (steps.iter().enumerate())
                    .map(|(number, step)| {
                        let step = arguments.add(*step);
                        format!(
                            "SELECT id FROM (SELECT o.id FROM lead AS o
                             WHERE o.step_key = {step} AND {} ORDER BY {} LIMIT {limit}) AS s{number}",
                            unbound("o"),
                            longest_due("o"),
                        )
                    })
                    .collect();
                let ids = match of_steps.as_slice() {
                    [] => "NULL".to_owned(),
                    _ => of_steps.join(" UNION ALL "),
                };
                // Whoever held one meanwhile may have changed it.
                let still = sql::of_found("d.id", &unbound("d"));
                (format!("d.id IN ({ids}) AND {still}"), *channel)
            }
            // Only work for a person asks whether it may be done.
            Self::Own([]) => (
                format!("d.sender_id IS NULL AND {}", due("d")),
                Channel::Call,
            ),
            Self::Own(but) => {
                let steps = arguments.list(but.iter().copied());
                let lane = format!("d.sender_id IS NULL AND d.step_key NOT IN ({steps})");
                (format!("{lane} AND {}", due("d")), Channel::Call)
            }
        }
    }
}

/// The order in which leads are served: of those that were put off to the same instant, which may be
/// all that a window closed upon, the longest due come first. As the indexes have it.
pub(super) fn longest_due(lead: &str) -> String {
    format!("{lead}.due_at, COALESCE({lead}.first_due_at, {lead}.due_at), {lead}.id")
}
