//! What mail systems say when they refuse, in their words, as facts: by what is said one knows what is
//! meant, whichever system says it. All in small letters, one space between words.

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is for now: full, busy, later.
    Passing,
    /// It is about the content, the sender or a policy.
    Refused,
    /// The domain does not exist or takes no mail.
    NoHost,
    /// The address does not exist.
    NoUser,
    /// The address is there, and takes no mail at present.
    Dormant,
    /// None of the words we know.
    Nothing,
}

/// For now: RFC 3463 x.2.2, x.3.x and x.4.x in words.
const PASSING: &[&str] = &[
    "quota",
    "mailbox full",
    "mailbox is full",
    "mailbox has exceeded",
    "mailbox for",
    "mail box full",
    "inbox is full",
    "inbox full",
    "account is full",
    "user is full",
    "mailfolder is full",
    "over the allowed",
    "overquota",
    "not enough storage",
    "insufficient storage",
    "insufficient system",
    "insufficient disk",
    "storage allocation",
    "storage limit",
    "storage space",
    "disk full",
    "disk space",
    "disk quota",
    "no space left",
    "out of space",
    "not enough space",
    "enough disk",
    "too much mail",
    "too many messages",
    "number of messages in",
    "temporar",
    "try again",
    "try later",
    "retry",
    "please resend",
    "later",
    "deferred",
    "greylist",
    "graylist",
    "grey-list",
    "timed out",
    "timeout",
    "time-out",
    "time out",
    "connection refused",
    "connection reset",
    "connection closed",
    "connection dropped",
    "connection lost",
    "connection failed",
    "could not connect",
    "cannot connect",
    "can't connect",
    "unable to connect",
    "establish an smtp connection",
    "no route to host",
    "network error",
    "network is unreachable",
    "unreachable",
    "expired",
    "in the queue too long",
    "could not deliver for the last",
    "not been collected",
    "unexpected name server reply",
    "given up",
    "gave up",
    "delivery attempts",
    "busy",
    "out of memory",
    "resources",
    "overload",
    "looping",
    "mail loop",
    "loop detected",
    "loops back",
    "too many hops",
];
/// About the content, the sender or a policy: RFC 3463 x.5.x, x.6.x and x.7.x in words.
const REFUSED: &[&str] = &[
    "spam",
    "unsolicited",
    "bulk",
    "junk",
    "blocked",
    "blocking",
    "blacklist",
    "black list",
    "blocklist",
    "block list",
    "block-list",
    "denylist",
    "rbl",
    "dnsbl",
    "is listed",
    "are listed",
    "was listed",
    "listed by",
    "preferences",
    "bad command",
    "invalid command",
    "unrecognized command",
    "security reason",
    "security polic",
    "security violation",
    "reputation",
    "complaint",
    "abuse",
    "abusive",
    "suspicious",
    "suspect",
    "malicious",
    "phish",
    "virus",
    "malware",
    "worm",
    "infected",
    "attachment",
    "content",
    "policy",
    "policies",
    "prohibited",
    "forbidden",
    "not permitted",
    "not allowed",
    "not accepted from",
    "disallowed",
    "denied",
    "unauthorized",
    "unauthorised",
    "not authorized",
    "not authorised",
    "authoriz",
    "authenticat",
    "authentification",
    "spf",
    "dkim",
    "dmarc",
    "arc ",
    "ptr",
    "reverse dns",
    "rdns",
    "reverse lookup",
    "reverse-dns",
    "relay",
    "banned",
    "restricted",
    "restriction",
    "moderated",
    "members only",
    "permission",
    "rate limit",
    "rate-limit",
    "throttl",
    "frequency",
    "too many",
    "limit exceeded",
    "exceeds",
    "exceeded",
    "exceeding",
    "size limit",
    "too large",
    "too big",
    "too long",
    "message size",
    "maximum size",
    "larger than",
    "rfc",
    "header",
    "bare lf",
    "line length",
    "sender address",
    "sender domain",
    "sender's domain",
    "sending domain",
    "domain of sender",
    "does not resolve",
    "mail from domain",
    "may not exist",
    "sender rejected",
    "sender denied",
    "sender verify",
    "sender not",
    "bad sender",
    "invalid sender",
    "unknown sender",
    "your domain",
    "your ip",
    "from address",
    "from header",
    "return address",
    "envelope sender",
    "helo",
    "ehlo",
    "starttls",
    "tls ",
    "encrypt",
    "certificate",
    "protocol error",
    "syntax error",
    "bad sequence",
    "on hold",
    "not accepting",
    "filter",
    "mismatch",
];
/// The address exists, but sleeps. Many are woken again.
const DORMANT: &[&str] = &[
    "inactive",
    "not active",
    "suspended",
    "suspension",
    "disabled",
    "deactivated",
    "discontinued",
    "locked",
    "is closed",
    "been closed",
    "on hold",
];
/// No such domain, or none that takes mail: RFC 3463 x.1.2, RFC 7505.
const NO_HOST: &[&str] = &[
    "host unknown",
    "unknown host",
    "host not found",
    "host is unknown",
    "host does not exist",
    "no such host",
    "no such domain",
    "domain does not exist",
    "domain doesn't exist",
    "domain not found",
    "domain name not found",
    "domain unknown",
    "unknown domain",
    "domain is unknown",
    "domain is not valid",
    "invalid domain",
    "nonexistent domain",
    "non-existent domain",
    "non-existing domain",
    "non existent domain",
    "nxdomain",
    "bad destination system",
    "bad destination host",
    "couldn't find any host",
    "illegal host/domain",
    "could not find a gateway",
    "host address lookups failed permanently",
    "no mx found",
    "no mx record",
    "no mail exchanger",
    "no mail server for",
    "does not accept mail",
    "doesn't accept mail",
    "no smtp service",
    "find a mail exchanger",
];
/// No such address: RFC 3463 x.1.1, x.1.3 and x.1.6.
const NO_USER: &[&str] = &[
    "user unknown",
    "unknown user",
    "user is unknown",
    "user not known",
    "user not found",
    "user not exist",
    "user does not exist",
    "user doesn't exist",
    "user don't exist",
    "user didn't exist",
    "user invalid",
    "invalid user",
    "illegal user",
    "illegal alias",
    "unknown or illegal",
    "not a known user",
    "no such user",
    "no such mailbox",
    "no such account",
    "no such recipient",
    "no such address",
    "no such person",
    "no such local",
    "no such email",
    "no such virtual",
    "no mailbox",
    "no user",
    "no account by",
    "no recipient",
    "mailbox not found",
    "mailbox does not exist",
    "mailbox doesn't exist",
    "mailbox not exist",
    "mailbox unknown",
    "mailbox is unknown",
    "mailbox invalid",
    "invalid mailbox",
    "unknown mailbox",
    "mailbox not available",
    "bad destination mailbox",
    "nonexistent",
    "non-existent",
    "non existent",
    "not exist",
    "doesn't exist",
    "does not exist",
    "recipient unknown",
    "unknown recipient",
    "recipient not found",
    "recipnotfound",
    "recipientnotfound",
    "recipient does not",
    "invalid recipient",
    "recipient invalid",
    "recipient is invalid",
    "recipient name is not recognized",
    "recipient is not recognized",
    "bad recipient",
    "no valid recipients",
    "not a valid",
    "is not valid",
    "no longer valid",
    "no longer exist",
    "no longer available",
    "no longer in use",
    "no longer with",
    "no longer work",
    "no longer employed",
    "address unknown",
    "unknown address",
    "addressee unknown",
    "address not found",
    "address invalid",
    "invalid address",
    "invalid final delivery",
    "bad address",
    "unknown account",
    "account not found",
    "account unknown",
    "account not available",
    "invalid account",
    "unknown local",
    "no local mailbox",
    "user doesn't have",
    "no account",
    "not a local",
    "unrouteable",
    "unroutable",
    "undeliverable address",
    "not listed in",
    "not found in",
    "not in directory",
    "not our customer",
    "couldn't be found",
    "could not be found",
    "was not found",
    "wasn't found",
    "unable to find",
    "check if address is correct",
    "did not match",
    "did not exactly match",
    "have a yahoo",
    "doesn't have a",
    "does not have a",
    "doesn't have an account",
    "has moved",
];
/// The same in other languages than that of the protocol: such texts are written for people, and often
/// name more than one cause in a breath.
const NO_USER_ELSEWHERE: &[&str] = &[
    "destinataire invalide",
    "inconnu",
    "n'existe pas",
    "unbekannt",
    "existiert nicht",
    "no existe",
    "desconocid",
    "non esiste",
    "sconosciut",
    "não existe",
    "bestaat niet",
    "onbekend",
    "inexistente",
    "introuvable",
    "no se encuentra",
    "no se encontró",
    "non trovato",
    "não encontrado",
    "nicht gefunden",
    "nie istnieje",
    "neexistuje",
    "не существует",
    "не найден",
    "不存在",
    "找不到",
    "存在しません",
    "見つかりません",
];

/// No such address, whatever is said besides. The first is how Exchange Online speaks of addresses that
/// its directory does not know, with 5.4.1; the others stand in Gmail's reports, which advise to "try
/// again" with the right one.
const SURE: &[&str] = &[
    "recipient address rejected: access denied",
    "because the address couldn't be found",
    "the email account that you tried to reach does not exist",
    "address not found",
];
/// How servers answer at any point of a conversation, and systems without saying at which.
const QUOTED: &[&str] = &[
    "user unknown",
    "unknown user",
    "no such user",
    "user not exist",
    "doesn't have a",
];

/// The recipient was named when the server refused.
pub(super) const AT_RECIPIENT: &[&str] = &[
    "to rcpt to",
    "after rcpt to",
    "rcpt to generated",
    "our rcpt to",
    "does not like recipient",
    "after rcpt command",
    "to rcpt command",
    "[rcpt_to]",
    "smtp:rcpt",
    "sent: rcpt to",
    "following rcpt command",
    "rcpt to:<",
    "rejected recipient",
    "rcpt to command",
    "(state 14)",
    "(state 13)",
];
/// The content was there when the server refused.
pub(super) const AT_CONTENT: &[&str] = &[
    "end of data",
    "after data",
    "to data command",
    "[data]",
    "[body]",
    "data command",
    "sent: data",
    "after end of",
    "our data",
    "final dot",
    "(state 18)",
];
/// There had been no talk of the recipient.
pub(super) const AT_SENDER: &[&str] = &[
    "to mail from",
    "after mail from",
    "mail from:<",
    "mail from command",
    "initial connection",
    "[mail_from]",
    "[connect]",
    "after helo",
    "after ehlo",
];

/// What a text means; it is [`normal`].
pub(super) fn meaning(said: &str) -> Meaning {
    if is_sure(said) {
        return Meaning::NoUser;
    }
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| begins_word(said, phrase));
    if has(PASSING) {
        Meaning::Passing
    } else if has(REFUSED) {
        Meaning::Refused
    } else if has(NO_HOST) && !said.contains("accept mail from") {
        Meaning::NoHost
    } else if has(DORMANT) {
        Meaning::Dormant
    } else if has(NO_USER) || has(NO_USER_ELSEWHERE) {
        Meaning::NoUser
    } else {
        Meaning::Nothing
    }
}

/// Whether a text says that there is no such address, whatever it says besides.
pub(super) fn is_sure(said: &str) -> bool {
    SURE.iter().any(|phrase| said.contains(phrase))
}

/// Whether a text repeats what another server said, where it could have meant a mail rather than the
/// address, or was written for people: alone, neither is enough.
pub(super) fn is_loose(said: &str) -> bool {
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| begins_word(said, phrase));
    has(QUOTED) || !has(NO_USER) && !is_sure(said)
}

/// Whether a phrase stands in a text, beginning where a word begins; in scripts that put nothing between
/// words, anywhere.
pub(super) fn begins_word(text: &str, phrase: &str) -> bool {
    if phrase.starts_with(|character: char| character >= '\u{2e80}') {
        return text.contains(phrase);
    }
    text.match_indices(phrase).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|character| !character.is_alphanumeric())
    })
}

/// A text as phrases are looked for in it: small letters, one space between words, without addresses,
/// hosts, links and numbers, whose names mean nothing here, and without the codes that stand before
/// each line of a long answer.
pub(super) fn normal(text: &str) -> String {
    let text = text.replace(['’', '‘', '`'], "'").to_lowercase();
    let words = text
        .split_whitespace()
        .filter(|word| !is_name(word) && !is_code(word));
    words.collect::<Vec<_>>().join(" ")
}

fn is_name(word: &str) -> bool {
    if word.contains('@') || word.contains("://") {
        return true;
    }
    let core = word.trim_matches(|c: char| !c.is_alphanumeric());
    let labels = core.split('.').count();
    labels > 1
        && !core.contains("recipnotfound")
        && !core.contains("recipientnotfound")
        && core.split('.').all(|label| !label.is_empty())
}

fn is_code(word: &str) -> bool {
    let core = word.trim_matches(|c: char| !c.is_alphanumeric());
    let digits = core
        .chars()
        .all(|c| c.is_ascii_digit() || c == '.' || c == '-');
    !core.is_empty() && digits
}
