//! What the DNS says of a sender's domain, and what is to be published there: SPF (RFC 7208), DKIM (RFC
//! 6376) and DMARC (RFC 9989).
//!
//! Owns how an answer is read and told to people. Never asks a name server. Nothing found here keeps a
//! sender from sending: whether mail is taken is the receivers' to say, and the large ones refuse what is
//! sent in bulk without these records.

use super::check::{CheckKind, Finding};
use crate::domain::dkim::DnsRecord;
use crate::domain::network::written_address;

/// A company through whose servers many senders send, and what it asks them to publish.
#[derive(Debug, PartialEq, Eq)]
pub struct Provider {
    /// What it is called.
    pub name: &'static str,
    /// How the names of its servers begin and end.
    hosts: &'static [(&'static str, &'static str)],
    /// The domain that SPF records include for it; none where it sends by a return path of its own, so
    /// that the record of that one is asked.
    pub include: Option<&'static str>,
    /// The selectors under which its customers publish the keys that it signs with.
    pub selectors: &'static [&'static str],
}

const PROVIDERS: &[Provider] = &[
    Provider {
        name: "Google",
        hosts: &[
            ("", "gmail.com"),
            ("", "google.com"),
            ("", "googlemail.com"),
        ],
        include: Some("_spf.google.com"),
        selectors: &["google"],
    },
    Provider {
        name: "Microsoft 365",
        hosts: &[("", "office365.com"), ("", "outlook.com")],
        include: Some("spf.protection.outlook.com"),
        selectors: &["selector1", "selector2"],
    },
    Provider {
        name: "Fastmail",
        hosts: &[("", "fastmail.com"), ("", "messagingengine.com")],
        include: Some("spf.messagingengine.com"),
        selectors: &["fm1", "fm2", "fm3"],
    },
    Provider {
        name: "Mailgun",
        hosts: &[("", "mailgun.org")],
        include: Some("mailgun.org"),
        selectors: &["mx", "pic", "k1"],
    },
    Provider {
        name: "Amazon SES",
        hosts: &[("email-smtp", "amazonaws.com")],
        include: None,
        selectors: &[],
    },
    Provider {
        name: "SendGrid",
        hosts: &[("", "sendgrid.net")],
        include: None,
        selectors: &["s1", "s2"],
    },
];

/// The provider whose server this is, where it is one that is known.
pub fn provider(host: &str) -> Option<&'static Provider> {
    let host = host.to_ascii_lowercase();
    let is_of = |(begins, domain): &(&str, &str)| {
        host.strip_suffix(domain)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
            && host.starts_with(begins)
    };
    let mut providers = PROVIDERS.iter();
    providers.find(|provider| provider.hosts.iter().any(is_of))
}

/// Whether a domain lets a server send for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spf {
    /// It says nothing.
    Missing {
        /// The server is in a private network, and by which address mail reaches its receivers is unknown.
        is_private: bool,
    },
    /// It is not asked: the server's provider sends by a return path of its own.
    Elsewhere,
    /// What it says breaks the rules, so that receivers disregard it.
    Broken,
    /// It does.
    Allows,
    /// It does not.
    Omits,
    /// It says something, but the server is in a private network, and by which address mail reaches its
    /// receivers is unknown.
    Unjudged,
    /// No name server answered, in its words.
    Unanswered(String),
}

/// Whether receivers find the key that emails of a domain are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dkim {
    /// They are not signed here, and nobody else is known to sign them.
    Unsigned,
    /// The key that signs here is published under this selector.
    Published(String),
    /// The key that signs here is not published.
    Missing(DnsRecord),
    /// Something else than the key that signs here is published.
    Differs(DnsRecord),
    /// A provider's key is published under this selector.
    ByProvider(String),
    /// No name server answered, in its words.
    Unanswered(String),
}

/// What a domain asks of receivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dmarc {
    /// Nothing; this is the domain whose record it would be.
    Missing(String),
    /// Something that breaks the rules.
    Broken,
    /// This policy, and what is signed here follows it.
    Policy(String),
    /// That the key's domain is the address's very own.
    Strict,
    /// Something that parts the address from the domain of the key that signs, which is this one.
    Unaligned(String),
    /// No name server answered, in its words.
    Unanswered(String),
}

/// What the DNS says of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// Whether it lets the server send.
    pub spf: Spf,
    /// Whether its signatures can be checked.
    pub dkim: Dkim,
    /// What it asks for.
    pub dmarc: Dmarc,
}

impl Authentication {
    /// The same told to people: for emails from `domain`, which leave through the server `host`.
    pub fn findings(&self, domain: &str, host: &str) -> [Finding; 3] {
        [
            self.spf.finding(domain, host),
            self.dkim.finding(domain, host),
            self.dmarc.finding(domain),
        ]
    }
}

fn unanswered(kind: CheckKind, domain: &str, why: &str) -> Finding {
    let message =
        format!("The {kind} record of {domain} could not be looked up: {why}. Try again.");
    Finding::warned(kind, message)
}

impl Spf {
    fn finding(&self, domain: &str, host: &str) -> Finding {
        let kind = CheckKind::Spf;
        let provider = provider(host);
        let mechanism = match (provider, written_address(host)) {
            (Some(provider), _) => format!("include:{}", provider.include.unwrap_or(provider.name)),
            (None, Some(address)) if address.is_ipv4() => format!("ip4:{address}"),
            (None, Some(address)) => format!("ip6:{address}"),
            (None, None) => format!("a:{host}"),
        };
        let name = provider.map_or(host, |provider| provider.name);
        match self {
            Self::Allows => Finding::passed(
                kind,
                format!("The SPF record of {domain} lets {name} send."),
            ),
            Self::Unjudged => {
                let message = format!(
                    "{domain} has an SPF record. Whether it names the machine that brings mail to \
                     its receivers cannot be seen here, for {host} is in a private network: make \
                     sure that it names that machine's public address."
                );
                Finding::passed(kind, message)
            }
            Self::Elsewhere => {
                let message = format!(
                    "{name} sends by a return path of its own, so that the SPF record of {domain} is \
                     not asked; with a return path of {domain}, publish what {name} says."
                );
                Finding::passed(kind, message)
            }
            Self::Missing { is_private: true } => {
                let message = format!(
                    "{domain} has no SPF record: publish a TXT record {domain} with the value \
                     \"v=spf1 ip4:ADDRESS ~all\", where ADDRESS is the public one by which mail leaves. \
                     It cannot be seen here, for {host} is in a private network."
                );
                Finding::warned(kind, message)
            }
            Self::Missing { is_private: false } => {
                let message = format!(
                    "{domain} has no SPF record: publish a TXT record {domain} with the value \
                     \"v=spf1 {mechanism} ~all\". If {name} hands mail on to another server, add what \
                     names that one."
                );
                Finding::warned(kind, message)
            }
            Self::Omits => {
                let message = format!(
                    "The SPF record of {domain} does not name {name}: add {mechanism} to it, before \
                     its \"all\". If {name} hands mail on to another server, add what names that one."
                );
                Finding::warned(kind, message)
            }
            Self::Broken => {
                let message = format!(
                    "The SPF record of {domain} cannot be used, and receivers disregard it: publish \
                     a single one, without mistakes, that needs at most ten further lookups (RFC \
                     7208 §4.6.4)."
                );
                Finding::warned(kind, message)
            }
            Self::Unanswered(why) => unanswered(kind, domain, why),
        }
    }
}

impl Dkim {
    fn finding(&self, domain: &str, host: &str) -> Finding {
        let kind = CheckKind::Dkim;
        let publish = |record: &DnsRecord| {
            format!(
                "publish a TXT record {} with the value \"{}\".",
                record.name, record.value
            )
        };
        match self {
            Self::Published(selector) => {
                let message =
                    format!("Emails of {domain} are signed, and the key {selector} is published.");
                Finding::passed(kind, message)
            }
            Self::ByProvider(selector) => {
                let name = provider(host).map_or(host, |provider| provider.name);
                let message = format!(
                    "The key {selector} of {name} is published for {domain}, which signs by it once that is \
                     switched on there."
                );
                Finding::passed(kind, message)
            }
            Self::Missing(record) => {
                let message = format!(
                    "Emails of {domain} are signed, but receivers do not find the key: {}",
                    publish(record)
                );
                Finding::warned(kind, message)
            }
            Self::Differs(record) => {
                let message = format!(
                    "Emails of {domain} are signed by another key than the one that is published, or \
                     several are, so that the signature counts for nothing: {}",
                    publish(record)
                );
                Finding::warned(kind, message)
            }
            Self::Unsigned => {
                let message = format!(
                    "Emails of {domain} are not signed here: make a key by dkimKeyCreate and publish \
                     its record, unless the mail server signs them itself."
                );
                Finding::warned(kind, message)
            }
            Self::Unanswered(why) => unanswered(kind, domain, why),
        }
    }
}

impl Dmarc {
    fn finding(&self, domain: &str) -> Finding {
        let kind = CheckKind::Dmarc;
        match self {
            Self::Policy(policy) => {
                Finding::passed(kind, format!("The DMARC policy of {domain} is {policy}."))
            }
            Self::Missing(at) => {
                let message = format!(
                    "{domain} has no DMARC record, which large mailbox providers ask for: publish a \
                     TXT record _dmarc.{at} with the value \"v=DMARC1; p=none; \
                     rua=mailto:postmaster@{at}\"."
                );
                Finding::warned(kind, message)
            }
            Self::Unaligned(key) => {
                let message = format!(
                    "By its DMARC records {domain} belongs to another organisation than {key}, whose key \
                     signs: make a key for {domain} by dkimKeyCreate, or take the record of {domain} \
                     away and publish one for {key}."
                );
                Finding::warned(kind, message)
            }
            Self::Broken => {
                let message = format!(
                    "The DMARC record of {domain} cannot be used: publish a single one, which begins \
                     with \"v=DMARC1;\" and has a policy, such as \"p=none\"."
                );
                Finding::warned(kind, message)
            }
            Self::Strict => {
                let message = format!(
                    "The DMARC record of {domain} asks for keys of {domain} itself (adkim=s), and the \
                     key that signs is of a domain above it: make a key for {domain} by \
                     dkimKeyCreate, or publish adkim=r."
                );
                Finding::warned(kind, message)
            }
            Self::Unanswered(why) => unanswered(kind, domain, why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dkim::record;
    use crate::domain::sender::check::CheckStatus;

    #[test]
    fn providers_are_known_by_their_servers() {
        let name = |host| provider(host).map(|provider| provider.name);
        assert_eq!(name("smtp.gmail.com"), Some("Google"));
        assert_eq!(name("SMTP.office365.com"), Some("Microsoft 365"));
        assert_eq!(
            name("email-smtp.eu-west-1.amazonaws.com"),
            Some("Amazon SES")
        );
        assert_eq!(name("ec2-1-2-3-4.compute.amazonaws.com"), None);
        assert_eq!(name("notgmail.com"), None);
        assert_eq!(name("mail.example.com"), None);
    }

    #[test]
    fn what_is_missing_comes_with_what_to_publish() {
        let record = record("example.com", "s1", "KEY");
        let found = Authentication {
            spf: Spf::Missing { is_private: false },
            dkim: Dkim::Missing(record),
            dmarc: Dmarc::Missing("example.com".into()),
        };
        let found = found.findings("example.com", "smtp.gmail.com");
        for (finding, kind, publish) in [
            (
                &found[0],
                CheckKind::Spf,
                "v=spf1 include:_spf.google.com ~all",
            ),
            (&found[1], CheckKind::Dkim, "s1._domainkey.example.com"),
            (&found[2], CheckKind::Dmarc, "_dmarc.example.com"),
        ] {
            assert_eq!((finding.kind, finding.status), (kind, CheckStatus::Warned));
            assert!(finding.message.contains(publish), "{}", finding.message);
        }
        let of = |host| Spf::Omits.finding("example.com", host).message;
        assert!(of("192.0.2.7").contains("ip4:192.0.2.7"));
        assert!(of("2001:db8::7").contains("ip6:2001:db8::7"));
        assert!(of("mail.example.net").contains("a:mail.example.net"));
    }

    #[test]
    fn what_is_well_is_passed() {
        let found = Authentication {
            spf: Spf::Allows,
            dkim: Dkim::Published("s1".into()),
            dmarc: Dmarc::Policy("reject".into()),
        };
        for finding in found.findings("example.com", "mail.example.com") {
            assert_eq!(finding.status, CheckStatus::Passed, "{}", finding.message);
        }
    }
}
