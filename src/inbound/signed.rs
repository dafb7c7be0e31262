//! Whether a mail that came over HTTP is from who knows the workspace's secret, signed as Standard Webhooks
//! has it (standardwebhooks.com).

use chrono::{DateTime, TimeDelta, Utc};

use crate::channel::webhook::WebhookSecret;
use crate::domain::id::{WorkspaceId, is_id};
use crate::secrets::Secrets;

/// How far the time of a request may be from now: who has seen one may not send it again for ever.
pub const TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// The longest id of a request, in bytes.
const ID_BYTES_MAX: usize = 200;

/// The headers of a request that say from whom it is.
#[derive(Debug, Clone, Copy)]
pub struct Signature<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`: seconds since 1970.
    pub timestamp: &'a str,
    /// `webhook-signature`: one or several, with spaces between them.
    pub signatures: &'a str,
}

/// Why a request is not believed. It then has changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// Its headers are not those of a signed request.
    #[error(
        "The headers webhook-id, webhook-timestamp and webhook-signature are missing or malformed: sign the request as Standard Webhooks has it, with workspace.webhookSecret."
    )]
    Malformed,
    /// It is too old, or from the future.
    #[error(
        "The request's webhook-timestamp is more than five minutes from now: set the clock by NTP, and sign each request anew."
    )]
    Stale,
    /// The signature is another's.
    #[error(
        "The signature does not hold: sign webhook-id, webhook-timestamp and the body as it is sent, with workspace.webhookSecret of the workspace that the URL names."
    )]
    Forged,
}

impl Signature<'_> {
    /// When the request was made, if that is near enough; to be asked before its body is read.
    ///
    /// # Errors
    /// [`NotSigned`], which says why it is not believed.
    pub fn made_at(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, NotSigned> {
        // What the server itself signs with the same secret bears an id of its own; who receives that
        // must not bring it back as a mail.
        let (id, timestamp) = (self.id, self.timestamp);
        if id.is_empty() || id.len() > ID_BYTES_MAX || id.contains('.') || is_id(id) {
            return Err(NotSigned::Malformed);
        }
        let is_number = !timestamp.is_empty() && timestamp.bytes().all(|b| b.is_ascii_digit());
        let seconds = timestamp.parse().ok().filter(|_| is_number);
        let at = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let at = at.ok_or(NotSigned::Malformed)?;
        match (now - at).abs() <= TOLERANCE {
            true => Ok(at),
            false => Err(NotSigned::Stale),
        }
    }

    /// Whether it is the workspace's, with this body.
    ///
    /// # Errors
    /// [`NotSigned`], which says why it is not believed.
    pub fn check(
        &self,
        secrets: &Secrets,
        workspace: WorkspaceId,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<(), NotSigned> {
        let at = self.made_at(now)?;
        let secret = WebhookSecret::parse(&secrets.webhook_secret(workspace));
        let secret = secret.map_err(|_| NotSigned::Forged)?;
        match secret.is_signed(self.id, at, body, self.signatures) {
            true => Ok(()),
            false => Err(NotSigned::Forged),
        }
    }
}

/// Whether this can be a mail at all: it begins with a line of a header (RFC 5322 §2.2), whose name is made
/// of what the names in use are made of.
pub fn is_mail(raw: &[u8]) -> bool {
    let mut lines = raw.split(|byte| *byte == b'\n').take(2);
    let mut first = lines.next().unwrap_or_default();
    // As some mail servers put it before a mail that they hand on.
    if first.starts_with(b"From ") {
        first = lines.next().unwrap_or_default();
    }
    let name = first.split(|byte| *byte == b':').next().unwrap_or_default();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.len() < first.len() && !name.is_empty() && name.trim_ascii_end().iter().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_begins_with_a_header_is_a_mail() {
        assert!(is_mail(b"From: ana@example.com\r\n\r\nHello"));
        assert!(is_mail(b"From ana Mon Mar 2\nReceived: x\n"));
        for junk in [
            &b""[..],
            b"{\"a\": 1}",
            b"hello",
            b": x",
            b"a b: c",
            b"\xff: x",
            b"\r\n\r\n",
        ] {
            assert!(!is_mail(junk), "{junk:?}");
        }
    }

    #[test]
    fn a_time_is_near_or_nothing() {
        let now = DateTime::from_timestamp(1_000_000, 0).expect("an instant");
        let at = |id, timestamp| {
            let signature = Signature {
                id,
                timestamp,
                signatures: "",
            };
            signature.made_at(now)
        };
        for near in ["1000000", "1000300", "999700"] {
            assert!(at("m1", near).is_ok(), "{near}");
        }
        for far in ["1000301", "999699", "0"] {
            assert_eq!(at("m1", far), Err(NotSigned::Stale), "{far}");
        }
        for junk in ["", "+1000000", "1e6", "1000000.0", "99999999999999999999"] {
            assert_eq!(at("m1", junk), Err(NotSigned::Malformed), "{junk}");
        }
        let own = "exec_01jd0000000000000000000000";
        for id in ["", "a.b", own] {
            assert_eq!(at(id, "1000000"), Err(NotSigned::Malformed), "{id}");
        }
    }
}
