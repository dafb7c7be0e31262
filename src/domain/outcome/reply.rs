//! Reads a negative SMTP reply: whose trouble it is, and what the API calls it.
//!
//! The table of what belongs to whom is here, as data. Never keeps a reply.

use super::{ErrorCode, Outcome, Phase, RetryReason, Scope};

/// Words that say the recipient does not exist. Compared with the reply in lower case.
const UNKNOWN: &[&str] = &[
    "user unknown",
    "unknown user",
    "no such user",
    "user not found",
    "does not exist",
    "doesn't exist",
    "unknown recipient",
    "recipient unknown",
    "recipient not found",
    "no such recipient",
    "invalid recipient",
    "no such mailbox",
    "mailbox not found",
    "unknown mailbox",
    "invalid mailbox",
    "no mailbox",
    "no such address",
    "address unknown",
    "unknown address",
    "unrouteable address",
    "no such person",
    "not a valid mailbox",
    "mailbox unavailable",
    "account is disabled",
    "account has been disabled",
    "inactive user",
];
/// Words that say the mailbox is full.
const FULL: &[&str] = &[
    "mailbox full",
    "mailbox is full",
    "over quota",
    "overquota",
    "quota exceeded",
    "exceeded its quota",
    "exceeded storage",
    "out of storage",
    "insufficient mailbox storage",
];
/// Words that say the sending mailbox has used up what it may send.
const LIMIT: &[&str] = &[
    "sending limit",
    "sending quota",
    "daily limit",
    "daily user sending",
    "daily sending",
    "daily smtp relay",
    "peak smtp relay",
    "hourly limit",
    "message limit exceeded",
    "submission quota",
    "too many messages",
    "outgoing mail limit",
    "exceeded your quota",
];
/// Words that say the mailbox may not send through this server, or not as this address.
const RELAY: &[&str] = &[
    "relaying",
    "relay access",
    "relay denied",
    "unable to relay",
    "not permitted to relay",
    "not allowed to relay",
    "authentication required",
    "must authenticate",
    "not owned by user",
    "not allowed to send as",
    "sendasdenied",
];
/// Words that say the sending domain or network address is not trusted.
const REPUTATION: &[&str] = &[
    "spamhaus",
    "blocklist",
    "block list",
    "blacklist",
    "black list",
    "dnsbl",
    "rbl",
    "spamcop",
    "barracuda",
    "proofpoint",
    "bad reputation",
    "poor reputation",
    "low reputation",
    "ip address is listed",
    "dmarc",
    "spf ",
    "dkim",
    "ptr record",
    "reverse dns",
    "reverse hostname",
];
/// Words that say the message itself is not liked.
const SPAM: &[&str] = &[
    "spam",
    "unsolicited",
    "message content",
    "content rejected",
    "virus",
    "malware",
    "phishing",
];
/// Words that mean a rate, in replies that ask to come back later.
const RATE: &[&str] = &[
    " rate",
    "(rate",
    "rate limit",
    "rate-limit",
    "ratelimit",
    "too many",
    "too fast",
    "too quickly",
    "throttl",
    "limit",
    "try again later, closing",
    "slow down",
    "too much mail",
    "concurren",
];

/// Words that say an address is not written as addresses are.
const MALFORMED: &[&str] = &["syntax", "malformed", "not rfc", "invalid address"];

/// The numbers of an enhanced status code.
type Enhanced = (u16, u16, u16);

/// What a reply means.
pub(super) fn read(phase: Phase, code: u16, text: &str) -> Outcome {
    let lower = text.to_lowercase();
    let (shown, enhanced) = split_enhanced(code, text);
    let scope = scope(phase, code, enhanced, &lower);
    if code < 500 || is_too_many(phase, code, &lower) {
        return Outcome::Retry {
            phase,
            code: Some(code),
            response: Some(text.to_owned()),
            reason: RetryReason::Refused4xx,
            scope,
        };
    }
    Outcome::Rejected {
        phase,
        code,
        enhanced: shown,
        response: text.to_owned(),
        scope,
    }
}

/// What the API calls a refusal.
pub(super) fn error_code(phase: Phase, code: u16, text: &str, scope: Scope) -> ErrorCode {
    let lower = text.to_lowercase();
    let (_, enhanced) = split_enhanced(code, text);
    let temporary = code / 100 == 4;
    if is_too_many(phase, code, &lower) {
        return ErrorCode::RateLimited;
    }
    match scope {
        // No server was asked: the address or the message could not be written.
        Scope::Content if code == 0 => ErrorCode::RenderFailed,
        Scope::Recipient { .. } if code == 0 => ErrorCode::InvalidEmail,
        Scope::Sender if is_login(phase, code, enhanced) => ErrorCode::AuthFailed,
        Scope::Sender if is_limit(enhanced, &lower) => ErrorCode::RateLimited,
        Scope::Recipient { .. } if is_full(enhanced, &lower) => ErrorCode::MailboxFull,
        Scope::Recipient { .. } if is_allocation(phase, code, enhanced) => ErrorCode::MailboxFull,
        // A server that cannot encrypt now says 454 4.7.0 (RFC 3207 §4): that is its own trouble.
        Scope::Sender if phase == Phase::StartTls && temporary => ErrorCode::ProviderError,
        Scope::Recipient { .. } | Scope::Sender if is_rate(code, enhanced, &lower) => {
            ErrorCode::RateLimited
        }
        // The domain sends more than its reputation allows.
        Scope::Policy if temporary && has(&lower, RATE) => ErrorCode::RateLimited,
        Scope::Recipient { .. } if is_malformed(phase, code, enhanced, &lower) => {
            ErrorCode::InvalidEmail
        }
        Scope::Recipient { hard: true } => ErrorCode::UnknownRecipient,
        Scope::OptedOut => ErrorCode::Suppressed,
        Scope::Recipient { hard: false } | Scope::Sender if temporary => ErrorCode::ProviderError,
        Scope::Recipient { hard: false } | Scope::Sender | Scope::Policy | Scope::Content => {
            ErrorCode::Rejected
        }
    }
}

fn scope(phase: Phase, code: u16, enhanced: Option<Enhanced>, lower: &str) -> Scope {
    let soft = Scope::Recipient { hard: false };
    if phase < Phase::Mail || code == 421 || is_login(phase, code, enhanced) {
        return Scope::Sender;
    }
    if is_limit(enhanced, lower) || has(lower, RELAY) {
        return Scope::Sender;
    }
    match enhanced.map(|(_, subject, detail)| (subject, detail)) {
        // The sender's own address is refused.
        Some((1, 7 | 8)) => return Scope::Sender,
        // The domain is not authenticated: SPF, DKIM, DMARC, PTR (RFC 7372, Google, Microsoft).
        Some((7, 20..=29 | 32 | 515)) => return Scope::Policy,
        // Addresses beyond ASCII are not taken (RFC 6531 §3.5).
        Some((6, 7)) => return soft,
        Some((6, _) | (2, 3) | (3, 4)) => return Scope::Content,
        Some((2, 2)) => return soft,
        _ => {}
    }
    if has(lower, REPUTATION) {
        return Scope::Policy;
    }
    if phase == Phase::Mail {
        return Scope::Sender;
    }
    if code < 500 {
        return soft;
    }
    if phase >= Phase::Data {
        return if has(lower, UNKNOWN) {
            recipient_of(enhanced, lower)
        } else {
            Scope::Content
        };
    }
    recipient_of(enhanced, lower)
}

/// A refusal of the recipient: whether it is for ever.
fn recipient_of(enhanced: Option<Enhanced>, lower: &str) -> Scope {
    if let Some((_, 1, 1 | 2 | 3 | 6 | 10) | (_, 2, 1) | (_, 4, 1 | 4)) = enhanced {
        return Scope::Recipient { hard: true };
    }
    if is_full(enhanced, lower) {
        return Scope::Recipient { hard: false };
    }
    if has(lower, SPAM) {
        return Scope::Content;
    }
    Scope::Recipient {
        hard: has(lower, UNKNOWN),
    }
}

fn is_login(phase: Phase, code: u16, enhanced: Option<Enhanced>) -> bool {
    phase == Phase::Auth
        || matches!(code, 530 | 534 | 535 | 538)
        || matches!(enhanced, Some((_, 7, 8 | 9 | 14 | 30)))
}

fn is_limit(enhanced: Option<Enhanced>, lower: &str) -> bool {
    matches!(enhanced, Some((5, 4, 5))) || has(lower, LIMIT)
}

fn is_full(enhanced: Option<Enhanced>, lower: &str) -> bool {
    matches!(enhanced, Some((_, 2, 2))) || has(lower, FULL)
}

/// Whether a refused recipient is one too many for one message: RFC 5321 §4.5.3.1.10 has such a 552
/// read as 452.
fn is_too_many(phase: Phase, code: u16, lower: &str) -> bool {
    code == 552 && phase == Phase::Rcpt && has(lower, &["too many"])
}

/// Whether a refused recipient's mailbox has no room left, by the code alone: "exceeded storage
/// allocation" (RFC 5321 §4.2.3).
fn is_allocation(phase: Phase, code: u16, enhanced: Option<Enhanced>) -> bool {
    code == 552 && phase == Phase::Rcpt && enhanced.is_none()
}

/// Whether the recipient's address is refused as one that nobody can have: by the enhanced code
/// (RFC 3463 §3.2, RFC 6531 §3.5), or by the codes for it (RFC 5321 §4.2.2) with words that say so.
fn is_malformed(phase: Phase, code: u16, enhanced: Option<Enhanced>, lower: &str) -> bool {
    let said = matches!(code, 501 | 553) && phase == Phase::Rcpt && has(lower, MALFORMED);
    matches!(enhanced, Some((5, 1, 3) | (5, 6, 7))) || enhanced.is_none() && said
}

/// Whether a temporary refusal is about a rate, or asks to come later as a matter of policy (RFC 3463
/// §3.8), as greylisting does: the receiver has no trouble of its own.
fn is_rate(code: u16, enhanced: Option<Enhanced>, lower: &str) -> bool {
    let worded = match enhanced {
        Some((4, 7, _)) => return true,
        None | Some((4, 2, 1) | (4, 3, 2) | (4, 5, 3)) => true,
        Some(_) => code == 421,
    };
    code / 100 == 4 && worded && has(lower, RATE)
}

fn has(lower: &str, words: &[&str]) -> bool {
    words.iter().any(|word| lower.contains(word))
}

/// The enhanced status code that a reply begins with, where it agrees with the reply's code
/// (RFC 2034 §4), as text and as numbers.
fn split_enhanced(code: u16, text: &str) -> (Option<String>, Option<Enhanced>) {
    let word = text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .trim_start_matches('#');
    let mut numbers = word.split('.').map(|part| {
        let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u16>().ok()).flatten()
    });
    let (Some(Some(class)), Some(Some(subject)), Some(Some(detail)), None) = (
        numbers.next(),
        numbers.next(),
        numbers.next(),
        numbers.next(),
    ) else {
        return (None, None);
    };
    if class != code / 100 {
        return (None, None);
    }
    (Some(word.to_owned()), Some((class, subject, detail)))
}
