//! Asks the DNS what it says of a sender's domain.
//!
//! Owns the questions and how answers are judged, both as a receiver would: mail-auth's rules are those of
//! the RFCs. What is found is told by [`crate::domain::sender::authentication`].

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts,
};
use mail_auth::hickory_resolver::proto::rr::RData;
use mail_auth::hickory_resolver::system_conf::read_system_conf;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DmarcResult, DnsError, Error,
    MessageAuthenticator, SpfOutput, SpfResult,
};
use tokio::time::timeout;

use super::dkim::{Signer, SigningKey};
use crate::domain::dkim::{public_key_of, record, record_name};
use crate::domain::network::{is_public, written_address};
use crate::domain::sender::authentication::{Authentication, Dkim, Dmarc, Provider, Spf, provider};

/// How long all questions about a domain may take.
const WITHIN: Duration = Duration::from_secs(15);
/// How long a name server may take for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How many records are read in the search for a provider's (RFC 7208 §4.6.4 allows ten lookups).
const INCLUDES_MAX: usize = 12;
/// An address that no record names (RFC 5737), for seeing whether a record can be used at all.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Asks name servers.
pub struct Dns {
    hello_name: String,
    servers: Vec<SocketAddr>,
    resolver: OnceLock<Result<MessageAuthenticator, String>>,
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}

/// A sender whose domain is asked about.
pub struct Question<'a> {
    /// From which address it sends.
    pub address: &'a str,
    /// The domain of that address, as the DNS writes it.
    pub domain: &'a str,
    /// Through which server.
    pub host: &'a str,
    /// What signs its emails, where something does.
    pub key: Option<Published<'a>>,
}

/// A key that signs, and what is to be published of it.
#[derive(Clone, Copy)]
pub struct Published<'a> {
    /// The key.
    pub key: &'a SigningKey,
    /// What signs by it.
    pub signer: &'a Arc<Signer>,
    /// Its public half, as it is published.
    pub public: &'a str,
}

/// What is published where a key's record belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRecord {
    /// The key.
    Published,
    /// Nothing.
    Missing,
    /// Something else.
    Differs,
    /// No name server answered, in its words.
    Unanswered(String),
}

impl Dns {
    /// Asks these name servers; where there are none, those of the machine. `hello_name` is how this
    /// machine introduces itself to mail servers.
    pub fn new(hello_name: String, servers: Vec<SocketAddr>) -> Self {
        Self {
            hello_name,
            servers,
            resolver: OnceLock::new(),
        }
    }

    /// What the DNS says of a sender's domain. It ends within seconds.
    pub async fn authentication(&self, question: &Question<'_>) -> Authentication {
        let asked = match self.resolver() {
            Ok(resolver) => timeout(WITHIN, self.ask(resolver, question)).await,
            Err(why) => Ok(unanswered(why)),
        };
        asked.unwrap_or_else(|_| {
            let within = WITHIN.as_secs();
            unanswered(&format!(
                "the name servers did not answer within {within} seconds"
            ))
        })
    }

    /// What is published where a key's record belongs.
    pub async fn key_record(&self, domain: &str, selector: &str, public_key: &str) -> KeyRecord {
        let resolver = match self.resolver() {
            Ok(resolver) => resolver,
            Err(why) => return KeyRecord::Unanswered(why.to_owned()),
        };
        let name = record_name(domain, selector);
        match timeout(WITHIN, texts(resolver, &name)).await {
            Err(_) => KeyRecord::Unanswered("the name servers did not answer in time".into()),
            Ok(Err(why)) => KeyRecord::Unanswered(why),
            Ok(Ok(records)) if records.is_empty() => KeyRecord::Missing,
            Ok(Ok(records)) => {
                let mut keys = records.iter().map(|record| public_key_of(record));
                if keys.any(|key| key.as_deref() == Some(public_key)) {
                    KeyRecord::Published
                } else {
                    KeyRecord::Differs
                }
            }
        }
    }

    fn resolver(&self) -> Result<&MessageAuthenticator, &str> {
        let made = self.resolver.get_or_init(|| self.connect());
        made.as_ref().map_err(String::as_str)
    }

    fn connect(&self) -> Result<MessageAuthenticator, String> {
        let (config, mut options) = if self.servers.is_empty() {
            read_system_conf().map_err(|error| error.to_string())?
        } else {
            let servers = self.servers.iter().copied().map(name_server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            (config, ResolverOpts::default())
        };
        options.timeout = ANSWER_WITHIN;
        options.attempts = 2;
        // Whoever has just published a record wants to see it.
        options.cache_size = 0;
        MessageAuthenticator::new(config, options).map_err(|error| error.to_string())
    }

    async fn ask(
        &self,
        resolver: &MessageAuthenticator,
        question: &Question<'_>,
    ) -> Authentication {
        let message = probe(question);
        let parsed = AuthenticatedMessage::parse(&message);
        let (spf, (dkim, dmarc)) = tokio::join!(self.spf(resolver, question), async {
            let Some(parsed) = &parsed else {
                return (Dkim::Unsigned, Dmarc::Missing);
            };
            let signatures = resolver.verify_dkim(parsed).await;
            let dkim = match question.key {
                Some(key) => of_ours(&signatures, key),
                None => of_provider(resolver, question).await,
            };
            let dmarc = dmarc(resolver, question, parsed, &signatures, &dkim).await;
            (dkim, dmarc)
        });
        Authentication { spf, dkim, dmarc }
    }

    async fn spf(&self, resolver: &MessageAuthenticator, question: &Question<'_>) -> Spf {
        let Question { host, domain, .. } = *question;
        // A domain has one record or none (RFC 7208 §4.5).
        match texts(resolver, domain).await {
            Ok(texts) if texts.iter().filter(|text| is_spf(text)).count() > 1 => {
                return Spf::Broken;
            }
            Ok(_) => {}
            Err(why) => return Spf::Unanswered(why),
        }
        if let Some(provider) = provider(host) {
            return match self.check_host(resolver, NOBODY, question).await {
                Spf::Allows | Spf::Omits => includes(resolver, domain, provider).await,
                other => other,
            };
        }
        let addresses = match written_address(host) {
            Some(address) => vec![address],
            // What the machine itself takes for the host's address is what it connects to.
            None => match tokio::net::lookup_host((host, 25)).await {
                Ok(found) => found.map(|address| address.ip()).collect(),
                Err(error) => return Spf::Unanswered(format!("{host} has no address: {error}")),
            },
        };
        let Some(address) = addresses
            .iter()
            .copied()
            .find(|address| is_public(*address))
        else {
            return match self.check_host(resolver, NOBODY, question).await {
                Spf::Allows | Spf::Omits => Spf::Unjudged,
                other => other,
            };
        };
        self.check_host(resolver, address, question).await
    }

    async fn check_host(
        &self,
        resolver: &MessageAuthenticator,
        from: IpAddr,
        question: &Question<'_>,
    ) -> Spf {
        let asked = SpfParameters::verify_mail_from(
            from,
            question.host,
            &self.hello_name,
            question.address,
        );
        let answer = resolver.verify_spf(asked).await;
        match answer.result() {
            SpfResult::Pass => Spf::Allows,
            SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral => Spf::Omits,
            SpfResult::None => Spf::Missing,
            SpfResult::PermError => Spf::Broken,
            SpfResult::TempError => Spf::Unanswered("the name servers failed".into()),
        }
    }
}

fn unanswered(why: &str) -> Authentication {
    Authentication {
        spf: Spf::Unanswered(why.to_owned()),
        dkim: Dkim::Unanswered(why.to_owned()),
        dmarc: Dmarc::Unanswered(why.to_owned()),
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![
        with_port(ConnectionConfig::udp()),
        with_port(ConnectionConfig::tcp()),
    ];
    NameServerConfig::new(address.ip(), true, connections)
}

/// A message as the sender writes it, signed as its messages are. It is never sent.
fn probe(question: &Question<'_>) -> Vec<u8> {
    let address = question.address;
    let domain = question.domain;
    let message = format!(
        "From: <{address}>\r\nTo: <{address}>\r\nSubject: probe\r\nMessage-ID: \
         <probe@{domain}>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nMIME-Version: 1.0\r\n\r\nprobe\r\n"
    )
    .into_bytes();
    let signed = question.key.map(|key| key.signer.sign(&message));
    match signed {
        Some(Ok(signed)) => signed,
        _ => message,
    }
}

/// Whether receivers find the key that signs here.
fn of_ours(signatures: &[DkimOutput<'_>], published: Published<'_>) -> Dkim {
    let SigningKey {
        domain, selector, ..
    } = published.key;
    let record = || record(domain, selector, published.public);
    match signatures.first().map(DkimOutput::result) {
        Some(DkimResult::Pass) => Dkim::Published(selector.clone()),
        Some(DkimResult::TempError(error)) => Dkim::Unanswered(error.to_string()),
        Some(
            DkimResult::Fail(error) | DkimResult::PermError(error) | DkimResult::Neutral(error),
        ) => match error {
            Error::Dns(DnsError::RecordNotFound(_)) => Dkim::Missing(record()),
            _ => Dkim::Differs(record()),
        },
        Some(DkimResult::None) | None => Dkim::Differs(record()),
    }
}

/// Whether the key is published by which the provider of the server signs.
async fn of_provider(resolver: &MessageAuthenticator, question: &Question<'_>) -> Dkim {
    let selectors = provider(question.host).map_or(&[][..], |provider| provider.selectors);
    for selector in selectors {
        match texts(resolver, &record_name(question.domain, selector)).await {
            Ok(records) if records.iter().any(|text| public_key_of(text).is_some()) => {
                return Dkim::ByProvider((*selector).to_owned());
            }
            Ok(_) => {}
            Err(why) => return Dkim::Unanswered(why),
        }
    }
    Dkim::Unsigned
}

async fn dmarc(
    resolver: &MessageAuthenticator,
    question: &Question<'_>,
    message: &AuthenticatedMessage<'_>,
    signatures: &[DkimOutput<'_>],
    dkim: &Dkim,
) -> Dmarc {
    let spf = SpfOutput::new(question.domain.to_owned()).with_result(SpfResult::Pass);
    let asked = DmarcParameters::new(message, signatures, question.domain, &spf);
    let answer = resolver.verify_dmarc(asked).await;
    let Some(record) = answer.dmarc_record() else {
        return match answer.result() {
            DmarcResult::TempError(error) => Dmarc::Unanswered(error.to_string()),
            DmarcResult::PermError(Error::Dns(DnsError::RecordNotFound(_))) | DmarcResult::None => {
                Dmarc::Missing
            }
            _ => Dmarc::Broken,
        };
    };
    let is_signed = matches!(dkim, Dkim::Published(_));
    if is_signed && *answer.dkim_result() != DmarcResult::Pass {
        return Dmarc::Strict;
    }
    match record.p {
        Policy::Unspecified => Dmarc::Broken,
        policy => Dmarc::Policy(policy.to_string()),
    }
}

/// Whether a domain's record includes that of a provider, itself or by others that it includes.
async fn includes(resolver: &MessageAuthenticator, domain: &str, provider: &Provider) -> Spf {
    let mut open = VecDeque::from([domain.to_owned()]);
    let mut seen = 0;
    while let Some(name) = open.pop_front() {
        if name.eq_ignore_ascii_case(provider.include) {
            return Spf::Allows;
        }
        seen += 1;
        if seen > INCLUDES_MAX {
            break;
        }
        let records = match texts(resolver, &name).await {
            Ok(records) => records,
            Err(why) => return Spf::Unanswered(why),
        };
        let spf = records.iter().filter(|text| is_spf(text));
        for term in spf.flat_map(|text| text.split_ascii_whitespace()) {
            let term = term.trim_start_matches('+');
            let target = (term.strip_prefix("include:")).or_else(|| term.strip_prefix("redirect="));
            open.extend(target.map(|target| target.trim_end_matches('.').to_owned()));
        }
    }
    Spf::Omits
}

/// Whether a text is an SPF record (RFC 7208 §4.5).
fn is_spf(text: &str) -> bool {
    let version = text.get(..6).unwrap_or(text);
    version.eq_ignore_ascii_case("v=spf1") && matches!(text.as_bytes().get(6), None | Some(b' '))
}

/// The texts that are published under a name; none where there is no such name.
async fn texts(resolver: &MessageAuthenticator, name: &str) -> Result<Vec<String>, String> {
    // With its dot, so that no search list is gone through.
    let found = resolver.resolver().txt_lookup(format!("{name}.")).await;
    let found = match found {
        Ok(found) => found,
        Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    let records = found
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            _ => None,
        });
    Ok(records.collect())
}
