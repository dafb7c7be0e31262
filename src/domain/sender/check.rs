//! What a check of a sender found: whether it could send if it had to.
//!
//! Owns what is looked at and how what happened is read. Never connects to anything.

use strum::{Display, EnumString, IntoStaticStr};

use crate::domain::outcome::{ErrorCode, Outcome, Phase};

/// What is looked at.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, IntoStaticStr,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckKind {
    /// Whether the token server of its OAuth grant gives an access token.
    Grant,
    /// Whether its server answers, and how the connection is protected.
    Connection,
    /// Whether the server takes its login.
    Login,
    /// Whether the server lets it send from its address or number.
    Address,
    /// Whether its domain lets the server send for it (SPF).
    Spf,
    /// Whether its emails are signed, and receivers find the key (DKIM).
    Dkim,
    /// What its domain asks receivers to do with what is neither (DMARC).
    Dmarc,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckStatus {
    /// As it should be.
    Passed,
    /// It sends, but somebody should look at it.
    Warned,
    /// It cannot send.
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub kind: CheckKind,
    /// What was found.
    pub status: CheckStatus,
    /// The same in a sentence for people, with the remedy where one is needed.
    pub message: String,
    /// The error that messages would end with; `None` where it passed.
    pub error_code: Option<ErrorCode>,
}

impl Finding {
    /// It is as it should be.
    pub fn passed(kind: CheckKind, message: impl Into<String>) -> Self {
        Self::new(kind, CheckStatus::Passed, message.into(), None)
    }

    /// It sends, but somebody should look at it.
    pub fn warned(kind: CheckKind, message: impl Into<String>) -> Self {
        Self::new(kind, CheckStatus::Warned, message.into(), None)
    }

    /// It cannot send.
    pub fn failed(kind: CheckKind, code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(kind, CheckStatus::Failed, message.into(), Some(code))
    }

    /// What a trial that ended so says of the sender; `None` where it says nothing, as when all went
    /// well. What it is about follows from how far the trial came.
    pub fn of(outcome: &Outcome) -> Option<Self> {
        let code = outcome.error_code()?;
        let phase = match outcome {
            Outcome::Rejected { phase, .. } | Outcome::Retry { phase, .. } => *phase,
            Outcome::Sent { .. } | Outcome::NotBegun | Outcome::Ambiguous { .. } => Phase::Connect,
        };
        let kind = match phase {
            Phase::Connect | Phase::Greeting | Phase::Hello | Phase::StartTls => {
                CheckKind::Connection
            }
            Phase::Auth | Phase::Api | Phase::Webhook => CheckKind::Login,
            Phase::Mail | Phase::Rcpt | Phase::Data | Phase::Body | Phase::Dot => {
                CheckKind::Address
            }
        };
        let mut message = outcome.explain();
        if kind == CheckKind::Connection {
            message.push_str(" Check the host, the port and how the connection is protected.");
        }
        Some(Self::failed(kind, code, message))
    }

    fn new(
        kind: CheckKind,
        status: CheckStatus,
        message: String,
        error_code: Option<ErrorCode>,
    ) -> Self {
        Self {
            kind,
            status,
            message,
            error_code,
        }
    }
}

/// Whether a sender of which this was found can send. Of nothing at all, nothing is known.
pub fn can_send(findings: &[Finding]) -> bool {
    !findings.is_empty()
        && findings
            .iter()
            .all(|finding| finding.status != CheckStatus::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::RetryReason;

    #[test]
    fn a_failure_is_told_by_how_far_the_trial_came() {
        let found = |outcome| Finding::of(&outcome).expect("a finding");
        let refused = found(Outcome::refused(Phase::Auth, 535, "5.7.8 bad credentials"));
        assert_eq!(
            (refused.kind, refused.status, refused.error_code),
            (
                CheckKind::Login,
                CheckStatus::Failed,
                Some(ErrorCode::AuthFailed)
            )
        );
        let silent = found(Outcome::broken(
            Phase::Greeting,
            RetryReason::Timeout,
            "nothing within 8s",
        ));
        assert_eq!(
            (silent.kind, silent.error_code),
            (CheckKind::Connection, Some(ErrorCode::Timeout))
        );
        assert!(silent.message.ends_with("protected."), "{}", silent.message);
        let forbidden = found(Outcome::refused(Phase::Mail, 553, "5.7.1 not your address"));
        assert_eq!(forbidden.kind, CheckKind::Address);
        let response = "250 ok".into();
        assert_eq!(Finding::of(&Outcome::Sent { response }), None);
    }

    #[test]
    fn it_can_send_unless_something_failed() {
        let passed = Finding::passed(CheckKind::Connection, "");
        let warned = Finding::warned(CheckKind::Address, "");
        let failed = Finding::failed(CheckKind::Login, ErrorCode::AuthFailed, "");
        assert!(can_send(&[passed.clone(), warned]));
        assert!(!can_send(&[passed, failed]));
        assert!(!can_send(&[]));
    }
}
