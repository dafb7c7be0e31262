//! Lists of addresses that must not be contacted: how an entry is written.

use super::address::{AddressError, EmailAddress, PhoneError, PhoneNumber, WebUrl};
use super::flow::Channel;

/// Why an entry was refused; each names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// No email address and no domain.
    #[error("{0}")]
    Email(#[from] AddressError),
    /// No telephone number.
    #[error("{0}")]
    Phone(#[from] PhoneError),
    /// Nobody is contacted by the channel.
    #[error("Nobody is contacted by TASK or WEBHOOK: give another channel.")]
    Channel,
}

/// Reads an entry of a channel in the form that people's addresses are compared by. An email entry without
/// an @, or with nothing before it, is a domain, and stands for every address of that domain; not for those
/// of its subdomains.
///
/// # Errors
/// [`EntryError`], with the remedy.
pub fn entry(channel: Channel, text: &str) -> Result<String, EntryError> {
    let text = text.trim();
    match channel {
        Channel::Email => {
            let domain = match text.split_once('@') {
                Some((local, _)) if !local.is_empty() => {
                    return Ok(EmailAddress::parse(text)?.key().to_owned());
                }
                Some((_, domain)) => domain,
                None => text,
            };
            // What is an address with a name before it is a domain without.
            let address = EmailAddress::parse(&format!("a@{domain}"))?;
            let key = address.key().strip_prefix("a@").unwrap_or_default();
            Ok(key.to_owned())
        }
        Channel::Sms | Channel::Whatsapp | Channel::Call => {
            Ok(PhoneNumber::parse(text, None)?.as_str().to_owned())
        }
        Channel::Linkedin => Ok(WebUrl::parse(text)?.as_str().to_owned()),
        Channel::Task | Channel::Webhook => Err(EntryError::Channel),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_addresses_or_domains() {
        let email = |text: &str| entry(Channel::Email, text);
        assert_eq!(email(" Ada@Example.ORG "), Ok("ada@example.org".into()));
        assert_eq!(email("Example.org"), Ok("example.org".into()));
        assert_eq!(email("@bücher.example"), Ok("xn--bcher-kva.example".into()));
        let phone = entry(Channel::Sms, "+351 912 345 002");
        assert_eq!(phone, Ok("+351912345002".into()));
        for wrong in ["", "@", "example", "a b.example", "a@b@c.example", "-"] {
            assert!(email(wrong).is_err(), "{wrong}");
        }
        assert!(entry(Channel::Sms, "912").is_err());
        assert!(entry(Channel::Linkedin, "ada").is_err());
        assert_eq!(entry(Channel::Task, "a"), Err(EntryError::Channel));
    }
}
