//! Hard or soft: whether what a server said means that the address itself does not exist or takes no
//! mail for good. A wrong "hard" loses a contact for ever, so that what may have another reason is
//! soft: the text decides before the numbers do, and a refusal of the content is no word about the
//! address.

use super::fields::Recipient;
use super::phrases::{self, Meaning};

/// At which point of the conversation a server refused (RFC 5321).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Before there was talk of the recipient: it is about us.
    Sender,
    /// When the recipient was named.
    Recipient,
    /// When the content was there: the recipient had been taken.
    Content,
    /// Not said.
    Unknown,
}

impl Place {
    /// What a text says about it: the first place that it names.
    pub fn of(text: &str) -> Self {
        let text = text.to_lowercase();
        if let Some(place) = in_transcript(&text) {
            return place;
        }
        let named = [
            (Self::Recipient, phrases::AT_RECIPIENT),
            (Self::Content, phrases::AT_CONTENT),
            (Self::Sender, phrases::AT_SENDER),
        ];
        let text = super::one_line(&text);
        let found = named.into_iter().filter_map(|(place, phrases)| {
            let first = phrases
                .iter()
                .filter_map(|phrase| text.find(phrase))
                .min()?;
            Some((first, place))
        });
        found
            .min_by_key(|(at, _)| *at)
            .map_or(Self::Unknown, |(_, place)| place)
    }
}

/// The command before the first refusal, in a transcript as sendmail writes it.
fn in_transcript(text: &str) -> Option<Place> {
    let mut place = Place::Unknown;
    for line in text.lines() {
        if let Some(command) = line.trim().strip_prefix(">>> ") {
            place = match command.get(..4) {
                Some("rcpt") => Place::Recipient,
                Some("data") => Place::Content,
                Some("mail" | "ehlo" | "helo") => Place::Sender,
                _ => Place::Unknown,
            };
        } else if line.trim().starts_with("<<< 5") || line.trim().starts_with("<<< 4") {
            return Some(place);
        }
    }
    None
}

/// An enhanced status code (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Status(u16, u16, u16);

impl Status {
    /// The first in a text: what has three parts and begins with 2, 4 or 5, and no more parts around it
    /// as an IP address has.
    fn first_in(text: &str) -> Option<Self> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
        words
            .filter_map(|word| Self::read(word.trim_matches('.')))
            .next()
    }

    fn read(word: &str) -> Option<Self> {
        let mut parts = word.split('.');
        let class = parts
            .next()
            .filter(|class| matches!(*class, "2" | "4" | "5"))?;
        let mut number = || parts.next().filter(|part| part.len() <= 3)?.parse().ok();
        let status = Self(class.parse().ok()?, number()?, number()?);
        parts.next().is_none().then_some(status)
    }

    /// Whether it says no more than its class: RFC 3463 §3.1.
    fn is_vague(self) -> bool {
        self.1 == 0
    }

    /// Whether it is about our address (RFC 3463 §3.2).
    fn is_about_sender(self) -> bool {
        matches!(self, Self(_, 1, 7 | 8))
    }

    /// Whether it says that the address cannot be written to: RFC 3463 §3.2 and §3.5, RFC 7505 §4.
    fn is_about_address(self) -> bool {
        matches!(self, Self(5, 1, 1 | 2 | 3 | 6 | 10) | Self(5, 4, 4))
    }
}

/// What is known of a refusal.
#[derive(Debug)]
pub(super) struct Evidence {
    status: Option<Status>,
    /// The first reply code (RFC 5321 §4.2) in what was said.
    code: Option<u16>,
    place: Place,
    said: String,
    /// What that means: looked for once, among hundreds of phrases.
    meaning: Meaning,
    /// Whether the answer names an address: of who answers "550 : User unknown" to the content, no
    /// one knows what they mean.
    names_address: bool,
    /// Whether the report says besides that there is no such address.
    sure: bool,
    /// Whether the report says besides that the account sleeps.
    dormant: bool,
}

impl Evidence {
    /// From a report, and what the mail's text says about the recipient.
    pub fn of_report(recipient: &Recipient, text: &str, place: Place) -> Self {
        let field = recipient.status.as_deref().unwrap_or_default();
        let diagnostic = recipient.diagnostic.as_deref().unwrap_or_default();
        let mut evidence = Self::of_text(diagnostic, place);
        // Some explain in brackets behind the status.
        if evidence.meaning() == Meaning::Nothing && field.contains('(') {
            evidence.add(&phrases::normal(field));
        }
        let reported = Status::first_in(field);
        let vague = evidence.status.is_none_or(Status::is_vague);
        if evidence.meaning() == Meaning::Nothing {
            let own = Self::of_text(text, place);
            evidence.add(&own.said);
            if vague && own.status.is_some_and(|status| !status.is_vague()) {
                evidence.status = own.status;
            }
            evidence.code = evidence.code.or(own.code);
        }
        // What the server said is nearer to the matter than what the sending system made of it.
        if evidence.status.is_none_or(Status::is_vague) {
            evidence.status = reported.or(evidence.status);
        }
        evidence
    }

    /// Also by what the rest of a mail says that is about this recipient alone.
    pub fn confirmed_by(mut self, text: &str) -> Self {
        let said = phrases::normal(text);
        self.sure = self.names_address && phrases::is_sure(&said);
        self.dormant = phrases::meaning(&said) == Meaning::Dormant;
        self
    }

    /// From a text only.
    pub fn of_text(text: &str, place: Place) -> Self {
        let own_place = Place::of(text);
        let said = phrases::normal(text);
        Self {
            status: Status::first_in(text),
            code: code_in(text),
            place: if own_place == Place::Unknown {
                place
            } else {
                own_place
            },
            meaning: phrases::meaning(&said),
            said,
            names_address: text.contains('@'),
            sure: false,
            dormant: false,
        }
    }

    /// The enhanced status code, as text.
    pub fn status(&self) -> Option<String> {
        self.status
            .map(|Status(class, subject, detail)| format!("{class}.{subject}.{detail}"))
    }

    /// What the text means.
    pub fn meaning(&self) -> Meaning {
        self.meaning
    }

    /// Takes what is said besides for said, too.
    fn add(&mut self, said: &str) {
        self.said.push(' ');
        self.said.push_str(said);
        self.meaning = phrases::meaning(&self.said);
    }

    /// Whether the address itself does not exist or takes no mail for good.
    pub fn is_hard(&self) -> bool {
        let lasting = self.status.is_none_or(|status| status.0 == 5)
            && self.code.is_none_or(|code| code >= 500);
        if !lasting || self.status.is_some_and(Status::is_about_sender) {
            return false;
        }
        match self.meaning() {
            Meaning::Passing | Meaning::Refused => false,
            Meaning::NoHost => self.place != Place::Sender,
            Meaning::NoUser => self.names_the_recipient(),
            Meaning::Nothing | Meaning::Dormant => {
                self.place != Place::Sender && self.status.is_some_and(Status::is_about_address)
            }
        }
    }

    /// Whether "no such user" is about the address, and not what a filter says that refuses a mail:
    /// many answer so when the content was there already, or say in the status that it is the mailbox
    /// or the policy.
    fn names_the_recipient(&self) -> bool {
        match self.place {
            _ if self.sure => true,
            _ if self.dormant => self.status.is_some_and(Status::is_about_address),
            Place::Recipient => true,
            Place::Sender => false,
            Place::Content => self.status.is_some_and(Status::is_about_address),
            Place::Unknown => match self.status {
                _ if self.said.contains("unknown user:") => true,
                Some(status) if !status.is_vague() => status.is_about_address(),
                _ => self.code.is_none() && !phrases::is_loose(&self.said),
            },
        }
    }
}

/// The first reply code of a refusal in a text.
fn code_in(text: &str) -> Option<u16> {
    let words = text.split(|c: char| c.is_whitespace() || "-:;,()[]#'\"<>".contains(c));
    let codes = words
        .filter(|word| word.len() == 3)
        .filter_map(|word| word.parse().ok());
    codes.into_iter().find(|code| (400..=599).contains(code))
}
