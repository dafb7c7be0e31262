//! Addresses, parsed once at the edge: email, telephone, web.
//!
//! Stricter than the standards where what they allow never reaches a person: a quoted local part,
//! a domain literal or a host without a dot is refused. Sub-addresses (`ana+news@`) and dots are
//! kept as they are, also for uniqueness: only the receiving server knows what they mean.

use std::fmt;
use std::str::FromStr;

use unicode_normalization::UnicodeNormalization;

mod phone;

pub use phone::{PhoneError, PhoneKind, PhoneNumber, PhoneReading, Region};

/// RFC 5321 §4.5.3.1.1, in octets.
const LOCAL_MAX: usize = 64;
/// RFC 5321 §4.5.3.1.3, less the angle brackets.
const TOTAL_MAX: usize = 254;
/// The longest web address that is kept.
const URL_MAX: usize = 2_048;

/// Why an address was refused; each names the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing there.
    #[error("The email address is empty: write one like ana@example.com.")]
    Empty,
    /// No part before or after an @.
    #[error("An email address needs one @ between a name and a domain, like ana@example.com.")]
    Shape,
    /// Something that no mail server takes.
    #[error(
        "The email address holds a space, a bracket, a quote or another character that mail servers refuse: correct it."
    )]
    Character,
    /// Too long for mail servers.
    #[error("The email address is too long: at most 64 characters before the @ and 254 in all.")]
    Length,
    /// A domain that cannot be on the Internet.
    #[error("The part after the @ is not an Internet domain like example.com: correct it.")]
    Domain,
    /// Not a web address.
    #[error("Write the web address in full, like https://example.com/ana.")]
    Url,
}

/// An email address that can be written to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress {
    text: String,
    key: String,
    at: usize,
}

impl EmailAddress {
    /// Reads an address. White space around it is dropped, and its letters are brought into their
    /// composed form (Unicode NFC); otherwise the spelling stays.
    ///
    /// # Errors
    /// [`AddressError`], with the remedy.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = composed(text.trim());
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let at = text.rfind('@').ok_or(AddressError::Shape)?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        if local.is_empty() || domain.is_empty() {
            return Err(AddressError::Shape);
        }
        if local.len() > LOCAL_MAX {
            return Err(AddressError::Length);
        }
        if text
            .chars()
            .any(|letter| letter.is_control() || letter.is_whitespace() || is_hidden(letter))
            || local.contains(['"', '<', '>', '(', ')', '[', ']', '\\', ',', ':', ';', '@'])
        {
            return Err(AddressError::Character);
        }
        let ascii = ascii_domain(domain)?;
        if !email_address::EmailAddress::is_valid_local_part(local) {
            return Err(AddressError::Character);
        }
        if local.len() + 1 + ascii.len() > TOTAL_MAX {
            return Err(AddressError::Length);
        }
        let key = format!("{}@{ascii}", composed(&local.to_lowercase()));
        Ok(Self { text, key, at })
    }

    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What two spellings of one address have in common: lower case, composed letters, the domain
    /// in its ASCII form (RFC 5891). Uniqueness and suppression go by it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The part before the @.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// The part after the @, as it was written.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }
}

/// The text in Unicode NFC, which is what ASCII is already.
fn composed(text: &str) -> String {
    if text.is_ascii() {
        text.to_owned()
    } else {
        text.nfc().collect()
    }
}

/// Letters that do not show, or that turn the text around them.
fn is_hidden(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}')
}

fn ascii_domain(domain: &str) -> Result<String, AddressError> {
    if domain.ends_with('.') || domain.starts_with('[') {
        return Err(AddressError::Domain);
    }
    let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| AddressError::Domain)?;
    let labels: Vec<&str> = ascii.split('.').collect();
    let sound = |label: &&str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    // A last label of digits would be an address of a machine, not a domain (RFC 1123 §2.1).
    let numeric = labels
        .last()
        .is_none_or(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if labels.len() < 2 || numeric || !labels.iter().all(sound) {
        return Err(AddressError::Domain);
    }
    Ok(ascii)
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for EmailAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// A web address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebUrl(String);

impl WebUrl {
    /// Reads a web address: http or https, with a host, without a login.
    ///
    /// # Errors
    /// [`AddressError::Url`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let url = url::Url::parse(text).map_err(|_| AddressError::Url)?;
        let sound = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| host.contains('.'))
            && url.username().is_empty()
            && url.password().is_none()
            && text.len() <= URL_MAX;
        if sound {
            Ok(Self(url.into()))
        } else {
            Err(AddressError::Url)
        }
    }

    /// The address, in its normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The domain that mail for an address goes to, as domains are compared; none for what is no address.
pub fn recipient_domain(email: &str) -> Option<String> {
    let address = EmailAddress::parse(email).ok()?;
    let (_, domain) = address.key().rsplit_once('@')?;
    Some(domain.to_owned())
}

#[cfg(test)]
mod tests;
