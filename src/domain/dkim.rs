//! The keys that the emails of a domain are signed with (DKIM, RFC 6376), and what is published of them.
//!
//! Owns names and records; making a key and signing with it is a channel's.

/// The longest selector; in characters. With `._domainkey.` and a domain it must fit a name of the DNS.
const SELECTOR_CHARS_MAX: usize = 63;

/// A record that somebody publishes in the DNS, always of the type TXT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsRecord {
    /// Its name, without the dot at the end.
    pub name: String,
    /// What it says.
    pub value: String,
}

/// The record by which receivers find a key (RFC 6376 §3.6.1). `public_key` is its
/// SubjectPublicKeyInfo in DER, in base64.
pub fn record(domain: &str, selector: &str, public_key: &str) -> DnsRecord {
    DnsRecord {
        name: record_name(domain, selector),
        value: format!("v=DKIM1; k=rsa; p={public_key}"),
    }
}

/// Where receivers look for the key of a selector.
pub fn record_name(domain: &str, selector: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}

/// The public key that a record shows; `None` where it shows none, as when it was withdrawn.
pub fn public_key_of(record: &str) -> Option<String> {
    let tags = record.split(';').filter_map(|tag| tag.split_once('='));
    let mut keys = tags.filter(|(name, _)| name.trim() == "p");
    // Long records are folded, and some people keep the blanks.
    let key = keys.next()?.1.split_whitespace().collect::<String>();
    (!key.is_empty()).then_some(key)
}

/// Reads a selector: labels of letters, digits and dashes with dots between them (RFC 6376 §3.1), in lower
/// case. `None` for anything else.
pub fn read_selector(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    (text.len() <= SELECTOR_CHARS_MAX && text.split('.').all(is_label)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_the_key_and_shows_it_again() {
        let record = record("example.com", "cadenza", "MIIB+/8=");
        assert_eq!(record.name, "cadenza._domainkey.example.com");
        assert_eq!(record.value, "v=DKIM1; k=rsa; p=MIIB+/8=");
        assert_eq!(public_key_of(&record.value).as_deref(), Some("MIIB+/8="));
        let folded = "v=DKIM1;t=s; p = MII\r\n  B ;n=x";
        assert_eq!(public_key_of(folded).as_deref(), Some("MIIB"));
        assert_eq!(public_key_of("v=DKIM1; p="), None, "it was withdrawn");
        assert_eq!(public_key_of("hello"), None);
    }

    #[test]
    fn a_selector_is_labels() {
        for (text, read) in [
            ("Cadenza", Some("cadenza")),
            (" s1.mail ", Some("s1.mail")),
            ("2026-11", Some("2026-11")),
            ("", None),
            ("a..b", None),
            ("-a", None),
            ("a b", None),
            ("a_b", None),
            ("ä", None),
        ] {
            assert_eq!(read_selector(text).as_deref(), read, "{text}");
        }
        assert_eq!(read_selector(&"a".repeat(64)), None);
    }
}
