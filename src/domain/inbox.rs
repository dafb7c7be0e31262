//! The inboxes of senders, where answers arrive, and how what they hold is filed.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr};

use super::id::ExecutionId;
use super::inbound::Class;
use super::oauth::MailLogin;
use super::sender::SmtpSecurity;

/// The folder that is read unless told otherwise (RFC 9051 §5.1).
pub const INBOX: &str = "INBOX";

/// A mailbox that is read by IMAP, and how to reach it. The password or token is no part of it: it is
/// sealed and kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inbox {
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: SmtpSecurity,
    /// Who logs in.
    pub username: String,
    /// By what.
    pub login: MailLogin,
    /// The folder that is read.
    pub folder: String,
}

impl Inbox {
    /// Whether both are the same folder of the same user at the same server, so that what was read of
    /// the one was read of the other.
    pub fn is_same_folder(&self, other: &Self) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
            && self.port == other.port
            && self.username == other.username
            && self.folder == other.folder
    }
}

/// How the reading of a mailbox stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum InboxState {
    /// Nobody has read it since it was set up or changed.
    Waiting,
    /// The server tells of new mail at once (IMAP IDLE).
    Watched,
    /// The server is asked for new mail again and again.
    Polled,
    /// It could not be read the last time.
    Failed,
}

/// What kind of mail came in, without what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum MailKind {
    /// Somebody wrote it.
    Reply,
    /// A machine answered for somebody.
    AutoReply,
    /// A message came back.
    Bounce,
    /// Somebody called a message unwanted.
    Complaint,
    /// Somebody asks for no more mail.
    OptOut,
    /// Nothing that anyone has to act upon.
    Notice,
}

impl From<&Class> for MailKind {
    fn from(class: &Class) -> Self {
        match class {
            Class::Reply => Self::Reply,
            Class::AutoReply { .. } => Self::AutoReply,
            Class::Bounce(_) => Self::Bounce,
            Class::Complaint(_) => Self::Complaint,
            Class::OptOut => Self::OptOut,
            Class::Notice => Self::Notice,
        }
    }
}

/// By what a mail was found to belong to a lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum MatchedBy {
    /// It names a message of ours.
    MessageId,
    /// It went to the address that a message asked for answers to.
    ReplyAddress,
    /// Its author, or the recipient it reports, is somebody whom we write to.
    Address,
}

/// The execution that a Message-ID of ours was made of, `<exec_…@domain>`, in whatever case it comes
/// back; `None` for anybody else's.
pub fn execution_of(message_id: &str) -> Option<ExecutionId> {
    let (left, _) = message_id
        .trim()
        .trim_start_matches('<')
        .trim_end_matches('>')
        .split_once('@')?;
    left.to_ascii_lowercase().parse().ok()
}

/// How many characters a tag has that tells a message.
pub const TAG_CHARS: usize = 39;
/// The longest part of an address before the @ (RFC 5321 §4.5.3.1.1), in octets.
const LOCAL_MAX: usize = 64;

/// The address of a sender with a tag, at which answers arrive in the same mailbox (RFC 5233); `None` where
/// that would be too long.
pub fn tagged(address: &str, tag: &str) -> Option<String> {
    let (local, domain) = address.rsplit_once('@')?;
    (local.len() + 1 + tag.len() <= LOCAL_MAX).then(|| format!("{local}+{tag}@{domain}"))
}

/// The tag of an address.
pub fn tag_of(address: &str) -> Option<&str> {
    let (local, _) = address.rsplit_once('@')?;
    local.rsplit_once('+').map(|(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn our_own_message_ids_are_known_in_any_case() {
        let id = ExecutionId::from_uuid(Uuid::from_u128(7));
        let written = format!("<{id}@example.com>");
        assert_eq!(execution_of(&written), Some(id));
        assert_eq!(execution_of(&written.to_uppercase()), Some(id));
        for other in [
            "",
            "<@>",
            "<x@example.com>",
            "exec_7",
            "<lead_1@example.com>",
        ] {
            assert_eq!(execution_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_tag_is_found_again() {
        let tagged_so = tagged("ana+x@example.com", "7");
        assert_eq!(tagged_so.as_deref(), Some("ana+x+7@example.com"));
        assert_eq!(tagged_so.as_deref().and_then(tag_of), Some("7"));
        assert_eq!(
            tagged(&format!("{}@example.com", "a".repeat(60)), "12345"),
            None
        );
        assert_eq!((tag_of("ana@example.com"), tag_of("")), (None, None));
    }

    #[test]
    fn another_user_has_another_folder() {
        let inbox = Inbox {
            host: "imap.example.com".into(),
            port: 993,
            security: SmtpSecurity::Tls,
            username: "ana".into(),
            login: MailLogin::Password,
            folder: INBOX.into(),
        };
        let mut other = inbox.clone();
        other.login = MailLogin::Xoauth2;
        other.host = "IMAP.example.com".into();
        assert!(inbox.is_same_folder(&other));
        other.username = "bob".into();
        assert!(!inbox.is_same_folder(&other));
    }
}
