//! One message over an open connection: MAIL, RCPT, DATA, the message, and the verdict.
//!
//! Owns what each failure on the way means. Never decides which connection a message takes.
//!
//! The rule of the verdicts: a message is delivered when the final dot is answered by 2xx; refused
//! when any of its steps is answered by 4xx or 5xx; certainly not delivered as long as no byte of
//! the line with the final dot has left; and ambiguous otherwise.

use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{Extension, MailBodyParameter, MailParameter};
use tokio::time::Duration;

use super::SmtpConfig;
use super::session::{Session, misplaced};
use super::wire::{Broken, Reply};
use crate::channel::mime::Composed;
use crate::domain::outcome::{Outcome, Phase, RetryReason, Scope};

/// The end of a message.
const FINAL_DOT: &[u8] = b".\r\n";

/// How a message ended on a connection.
#[derive(Debug)]
pub(super) struct Verdict {
    /// What became of the message.
    pub outcome: Outcome,
    /// Whether the connection can take another message.
    pub usable: bool,
    /// The connection was dead before any command of this message was answered, as happens to
    /// connections that idle: certainly nothing was accepted.
    pub found_dead: bool,
}

/// Where a message stopped short of a verdict, or with one.
struct Stop {
    outcome: Outcome,
    usable: bool,
    answered: bool,
}

impl Stop {
    /// A refusal by the server. After 421 it closes the connection (RFC 5321 §3.8).
    fn refused(phase: Phase, reply: &Reply) -> Self {
        Self {
            outcome: Outcome::refused(phase, reply.code, &reply.text()),
            usable: reply.code != 421,
            answered: true,
        }
    }

    fn broken(phase: Phase, broken: &Broken, answered: bool) -> Self {
        let outcome = Outcome::broken(phase, broken.reason(), broken.describe());
        Self {
            outcome,
            usable: false,
            answered,
        }
    }

    /// A reply that does not fit its command, such as 354 to MAIL.
    fn misplaced(phase: Phase, reply: &Reply) -> Self {
        Self {
            outcome: misplaced(phase, reply),
            usable: false,
            answered: true,
        }
    }
}

impl Session {
    /// Sends one message.
    pub async fn send(&mut self, message: &Composed, config: &SmtpConfig) -> Verdict {
        let reused = self.messages > 0;
        self.messages = self.messages.saturating_add(1);
        match self.transact(message, config).await {
            Ok(reply) => {
                self.open_transaction = false;
                let outcome = Outcome::Sent {
                    response: said(&reply),
                };
                Verdict {
                    outcome,
                    usable: true,
                    found_dead: false,
                }
            }
            Err(stop) => {
                let found_dead = reused && !stop.answered && is_lost(&stop.outcome);
                Verdict {
                    outcome: stop.outcome,
                    usable: stop.usable,
                    found_dead,
                }
            }
        }
    }

    async fn transact(&mut self, message: &Composed, config: &SmtpConfig) -> Result<Reply, Stop> {
        let limits = &config.timeouts;
        let mail = self.mail_command(message)?;
        if self.open_transaction {
            self.reset(limits.mail).await?;
        }
        self.open_transaction = true;
        let rcpt = Rcpt::new(message.envelope_to.clone(), Vec::new());
        if self.features.pipelining {
            self.announce_at_once(&format!("{mail}{rcpt}{Data}"), config)
                .await?;
        } else {
            self.announce(&[mail, rcpt.to_string(), Data.to_string()], config)
                .await?;
        }
        self.hand_over(&message.bytes, config).await
    }

    /// MAIL with the extensions that the message needs; refused here where the server lacks them.
    fn mail_command(&self, message: &Composed) -> Result<String, Stop> {
        let info = &self.features.info;
        let mut parameters = Vec::new();
        if !message.bytes.is_ascii() {
            let addresses = [&message.envelope_from, &message.envelope_to];
            let international = addresses
                .iter()
                .any(|address| !AsRef::<str>::as_ref(address).is_ascii());
            let missing = if international && !info.supports_feature(Extension::SmtpUtfEight) {
                Some(
                    "The server cannot deliver to or from addresses beyond ASCII (SMTPUTF8): use \
                      another address.",
                )
            } else if !info.supports_feature(Extension::EightBitMime) {
                Some(
                    "The server cannot deliver messages beyond ASCII (8BITMIME): use another server.",
                )
            } else {
                None
            };
            if let Some(missing) = missing {
                let outcome = Outcome::Rejected {
                    phase: Phase::Mail,
                    code: 0,
                    enhanced: None,
                    response: missing.to_owned(),
                    scope: Scope::Recipient { hard: false },
                };
                return Err(Stop {
                    outcome,
                    usable: true,
                    answered: true,
                });
            }
            if international {
                parameters.push(MailParameter::SmtpUtfEight);
            }
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        Ok(Mail::new(Some(message.envelope_from.clone()), parameters).to_string())
    }

    /// Ends a transaction that was refused half-way (RFC 5321 §4.1.1.5).
    async fn reset(&mut self, limit: Duration) -> Result<(), Stop> {
        let broken = |broken: Broken| Stop::broken(Phase::Mail, &broken, false);
        self.wire
            .write(Rset.to_string().as_bytes(), limit)
            .await
            .map_err(broken)?;
        let reply = self.wire.reply(limit).await.map_err(broken)?;
        if reply.is_done() {
            return Ok(());
        }
        // Nothing of this message was said yet: another connection may do.
        let closed = Broken::Closed(None);
        Err(Stop::broken(Phase::Mail, &closed, false))
    }

    /// MAIL, RCPT and DATA, each after the reply to the one before.
    async fn announce(&mut self, commands: &[String; 3], config: &SmtpConfig) -> Result<(), Stop> {
        for (step, command) in STEPS.iter().zip(commands) {
            let answered = step.phase > Phase::Mail;
            let limit = (step.limit)(config);
            let broken = |broken: Broken| Stop::broken(step.phase, &broken, answered);
            self.wire
                .write(command.as_bytes(), limit)
                .await
                .map_err(broken)?;
            let reply = self.wire.reply(limit).await.map_err(broken)?;
            step.judge(&reply)
                .map_err(|stop| self.unless_idled_away(stop, &reply, step))?;
        }
        Ok(())
    }

    /// MAIL, RCPT and DATA in one write, then their replies (RFC 2920). The first refusal counts,
    /// the others follow from it; but all are read, and a DATA that was granted all the same is
    /// ended, so that the connection stays in step.
    async fn announce_at_once(&mut self, group: &str, config: &SmtpConfig) -> Result<(), Stop> {
        if let Err(broken) = self
            .wire
            .write(group.as_bytes(), config.timeouts.mail)
            .await
        {
            return Err(Stop::broken(Phase::Mail, &broken, false));
        }
        let mut first: Option<Stop> = None;
        for step in &STEPS {
            let reply = match self.wire.reply((step.limit)(config)).await {
                Ok(reply) => reply,
                Err(broken) => {
                    let answered = step.phase > Phase::Mail;
                    let stop = first.unwrap_or_else(|| Stop::broken(step.phase, &broken, answered));
                    return Err(Stop {
                        usable: false,
                        ..stop
                    });
                }
            };
            let granted = step.judge(&reply);
            match (granted, &mut first) {
                (Ok(()), None) => {}
                (Ok(()), Some(stop)) if step.phase == Phase::Data => {
                    stop.usable &= self.send_to_nobody(config).await;
                }
                (Err(stop), None) => {
                    let stop = self.unless_idled_away(stop, &reply, step);
                    if !stop.usable {
                        return Err(stop);
                    }
                    first = Some(stop);
                }
                // Only the first refusal is about this message, but 421 ends every connection.
                (Err(stop), Some(first)) => first.usable &= stop.usable,
                (Ok(()), Some(_)) => {}
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// DATA was granted although MAIL or RCPT was refused: an empty message is sent, which the
    /// server must refuse as it has no recipient (RFC 2920 §3.1). Whether the connection is still
    /// in step.
    async fn send_to_nobody(&mut self, config: &SmtpConfig) -> bool {
        if self
            .wire
            .write(FINAL_DOT, config.timeouts.data)
            .await
            .is_err()
        {
            return false;
        }
        // A server that takes a message for nobody cannot be trusted with the next one.
        let reply = self.wire.reply(config.timeouts.dot).await;
        reply.is_ok_and(|reply| reply.is_refusal() && reply.code != 421)
    }

    /// A server that closes an idle connection may say 421 first; that is no answer to our MAIL.
    fn unless_idled_away(&self, mut stop: Stop, reply: &Reply, step: &Step) -> Stop {
        if reply.code == 421 && step.phase == Phase::Mail && self.messages > 1 {
            stop.answered = false;
        }
        stop
    }

    /// The message and its final dot, in one write, and the verdict.
    async fn hand_over(&mut self, bytes: &[u8], config: &SmtpConfig) -> Result<Reply, Stop> {
        let limits = &config.timeouts;
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        stuff(bytes, &mut out);
        let dot_at = out.len() - FINAL_DOT.len();
        let writing = self.wire.write_counted(&out, limits.body(out.len())).await;
        self.out = out;
        if let Err((written, broken)) = writing {
            let dot_may_have_left = written > dot_at;
            // A server may refuse in the middle and close: its word counts, if it can be had.
            if !matches!(broken, Broken::Timeout(_))
                && let Ok(reply) = self.wire.reply(limits.data).await
                && reply.is_refusal()
            {
                return Err(Stop {
                    usable: false,
                    ..Stop::refused(Phase::Dot, &reply)
                });
            }
            return Err(if dot_may_have_left {
                ambiguous(&broken)
            } else {
                Stop::broken(Phase::Body, &broken, true)
            });
        }
        match self.wire.reply(limits.dot).await {
            Ok(reply) if reply.is_done() => Ok(reply),
            Ok(reply) if reply.is_refusal() => {
                self.open_transaction = false;
                Err(Stop::refused(Phase::Dot, &reply))
            }
            Ok(_) => Err(ambiguous(&Broken::Malformed)),
            Err(broken) => Err(ambiguous(&broken)),
        }
    }
}

/// A step of announcing a message.
struct Step {
    phase: Phase,
    limit: fn(&SmtpConfig) -> Duration,
    /// The reply that lets us go on: a code, or any of its class when it ends in 00.
    go_on: u16,
}

const STEPS: [Step; 3] = [
    Step {
        phase: Phase::Mail,
        limit: |config| config.timeouts.mail,
        go_on: 200,
    },
    Step {
        phase: Phase::Rcpt,
        limit: |config| config.timeouts.rcpt,
        go_on: 200,
    },
    Step {
        phase: Phase::Data,
        limit: |config| config.timeouts.data,
        go_on: 354,
    },
];

impl Step {
    fn judge(&self, reply: &Reply) -> Result<(), Stop> {
        if reply.is_refusal() {
            return Err(Stop::refused(self.phase, reply));
        }
        if reply.code == self.go_on || (self.go_on == 200 && reply.is_done()) {
            return Ok(());
        }
        Err(Stop::misplaced(self.phase, reply))
    }
}

fn ambiguous(broken: &Broken) -> Stop {
    let reason = format!(
        "after the end of the message no verdict came: {}",
        broken.describe()
    );
    Stop {
        outcome: Outcome::Ambiguous { reason },
        usable: false,
        answered: true,
    }
}

/// Whether the connection was lost, rather than slow or refused.
fn is_lost(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Retry {
            reason: RetryReason::ConnectionFailed,
            ..
        } | Outcome::Retry {
            code: Some(421),
            ..
        }
    )
}

/// A reply as it is kept.
fn said(reply: &Reply) -> String {
    format!("{} {}", reply.code, reply.text())
        .trim_end()
        .to_owned()
}

/// Doubles the dots that begin a line (RFC 5321 §4.5.2), and ends the message: with a line end, if
/// it has none, and the final dot.
fn stuff(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + bytes.len() / 64 + 8);
    if bytes.first() == Some(&b'.') {
        out.push(b'.');
    }
    let mut rest = bytes;
    while let Some((line, after)) =
        memchr::memmem::find(rest, b"\n.").and_then(|at| rest.split_at_checked(at + 1))
    {
        out.extend_from_slice(line);
        out.push(b'.');
        // The dot itself comes with what follows it.
        rest = after;
    }
    out.extend_from_slice(rest);
    if !out.ends_with(b"\r\n") && !out.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(FINAL_DOT);
}

#[cfg(test)]
mod tests;
