//! Asks the DNS what it says of a sender's domain.
//!
//! Owns the questions and how answers are judged, both as a receiver would: mail-auth's rules are those of
//! the RFCs. What is found is told by [`crate::domain::sender::authentication`].

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mail_auth::dmarc::Alignment;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts,
};
use mail_auth::hickory_resolver::proto::rr::{Name, RData};
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
use crate::domain::sender::authentication::{Authentication, Dkim, Dmarc, Spf, provider};

/// How long the questions about one of the three may take.
const WITHIN: Duration = Duration::from_secs(15);
/// How long a name server may take for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How many records are read in the search for a provider's (RFC 7208 §4.6.4 allows ten lookups).
const INCLUDES_MAX: usize = 12;
/// How many addresses of a server are judged.
const ADDRESSES_MAX: usize = 4;
/// An address that no record names (RFC 5737), for seeing whether a record can be used at all.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Asks name servers.
pub struct Dns {
    hello_name: String,
    servers: Vec<SocketAddr>,
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

impl Dns {
    /// Asks these name servers; where there are none, those of the machine. `hello_name` is how this
    /// machine introduces itself to mail servers.
    pub fn new(hello_name: String, servers: Vec<SocketAddr>) -> Self {
        Self {
            hello_name,
            servers,
        }
    }

    /// What the DNS says of a sender's domain. It ends within seconds.
    pub async fn authentication(&self, question: &Question<'_>) -> Authentication {
        let resolver = match self.resolver() {
            Ok(resolver) => resolver,
            Err(why) => {
                return Authentication {
                    spf: Spf::Unanswered(why.clone()),
                    dkim: Dkim::Unanswered(why.clone()),
                    dmarc: Dmarc::Unanswered(why),
                };
            }
        };
        let message = probe(question.address, question.key);
        // What one name costs, it costs itself.
        let (spf, dkim, dmarc) = tokio::join!(
            timeout(WITHIN, self.spf(&resolver, question)),
            timeout(WITHIN, async {
                match question.key {
                    Some(key) => ours(&resolver, key).await,
                    None => of_provider(&resolver, question).await,
                }
            }),
            timeout(WITHIN, dmarc(&resolver, question, &message)),
        );
        Authentication {
            spf: spf.unwrap_or_else(|_| Spf::Unanswered(late())),
            dkim: dkim.unwrap_or_else(|_| Dkim::Unanswered(late())),
            dmarc: dmarc.unwrap_or_else(|_| Dmarc::Unanswered(late())),
        }
    }

    /// Whether receivers find a key that is to sign. It ends within seconds.
    pub async fn key(&self, key: Published<'_>) -> Dkim {
        match self.resolver() {
            Ok(resolver) => (timeout(WITHIN, ours(&resolver, key)).await)
                .unwrap_or_else(|_| Dkim::Unanswered(late())),
            Err(why) => Dkim::Unanswered(why),
        }
    }

    /// Made for each question: the machine may have other name servers than a while ago, and whoever has
    /// just published a record wants to see it.
    fn resolver(&self) -> Result<MessageAuthenticator, String> {
        let (config, mut options) = if self.servers.is_empty() {
            read_system_conf().map_err(|error| error.to_string())?
        } else {
            let servers = self.servers.iter().copied().map(name_server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            (config, ResolverOpts::default())
        };
        options.timeout = ANSWER_WITHIN;
        options.attempts = 1;
        options.cache_size = 0;
        MessageAuthenticator::new(config, options).map_err(|error| error.to_string())
    }

    async fn spf(&self, resolver: &MessageAuthenticator, question: &Question<'_>) -> Spf {
        let Question { host, domain, .. } = *question;
        let provider = provider(host);
        if provider.is_some_and(|provider| provider.include.is_none()) {
            return Spf::Elsewhere;
        }
        // A domain has one record or none (RFC 7208 §4.5).
        match texts(resolver, domain).await {
            Ok(texts) if texts.iter().filter(|text| is_spf(text)).count() > 1 => {
                return Spf::Broken;
            }
            Ok(_) => {}
            Err(why) => return Spf::Unanswered(why),
        }
        if let Some(include) = provider.and_then(|provider| provider.include) {
            return match self.check_host(resolver, NOBODY, question).await {
                Spf::Allows | Spf::Omits => includes(resolver, domain, include).await,
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
        let public: Vec<IpAddr> = (addresses.into_iter())
            .filter(|address| is_public(*address))
            .take(ADDRESSES_MAX)
            .collect();
        if public.is_empty() {
            return match self.check_host(resolver, NOBODY, question).await {
                Spf::Allows | Spf::Omits => Spf::Unjudged,
                Spf::Missing { .. } => Spf::Missing { is_private: true },
                other => other,
            };
        }
        for address in public {
            let found = self.check_host(resolver, address, question).await;
            if found != Spf::Allows {
                return found;
            }
        }
        Spf::Allows
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
            SpfResult::None => Spf::Missing { is_private: false },
            SpfResult::PermError => Spf::Broken,
            SpfResult::TempError => Spf::Unanswered("the name servers failed".into()),
        }
    }
}

fn late() -> String {
    let within = WITHIN.as_secs();
    format!("the name servers did not answer within {within} seconds")
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

/// A message as somebody writes it from an address, signed as such messages are. It is never sent.
fn probe(address: &str, key: Option<Published<'_>>) -> Vec<u8> {
    let message = format!(
        "From: <{address}>\r\nTo: <{address}>\r\nSubject: probe\r\nMessage-ID: \
         <probe@cadenza.invalid>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nMIME-Version: \
         1.0\r\n\r\nprobe\r\n"
    )
    .into_bytes();
    let signed = key.map(|key| key.signer.sign(&message));
    match signed {
        Some(Ok(signed)) => signed,
        // What is not signed is found not to be.
        Some(Err(_)) | None => message,
    }
}

/// Whether receivers find a key of ours, and what it signs is good.
async fn ours(resolver: &MessageAuthenticator, published: Published<'_>) -> Dkim {
    let SigningKey {
        domain, selector, ..
    } = published.key;
    let record = record(domain, selector, published.public);
    match texts(resolver, &record.name).await {
        Err(why) => return Dkim::Unanswered(why),
        Ok(texts) if texts.is_empty() => return Dkim::Missing(record),
        // What receivers make of several is up to them (RFC 6376 §3.6.2.2).
        Ok(texts) if texts.len() > 1 => return Dkim::Differs(record),
        Ok(_) => {}
    }
    let message = probe(&format!("probe@{domain}"), Some(published));
    let Some(parsed) = AuthenticatedMessage::parse(&message) else {
        return Dkim::Differs(record);
    };
    let signatures = resolver.verify_dkim(&parsed).await;
    match signatures.first().map(DkimOutput::result) {
        Some(DkimResult::Pass) => Dkim::Published(selector.clone()),
        Some(DkimResult::TempError(error)) => Dkim::Unanswered(error.to_string()),
        _ => Dkim::Differs(record),
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

async fn dmarc(resolver: &MessageAuthenticator, question: &Question<'_>, message: &[u8]) -> Dmarc {
    let domain = question.domain;
    match texts(resolver, &format!("_dmarc.{domain}")).await {
        Ok(texts) if texts.iter().filter(|text| is_dmarc(text)).count() > 1 => {
            return Dmarc::Broken;
        }
        Ok(_) => {}
        Err(why) => return Dmarc::Unanswered(why),
    }
    let Some(parsed) = AuthenticatedMessage::parse(message) else {
        return Dmarc::Broken;
    };
    let signatures = resolver.verify_dkim(&parsed).await;
    let spf = SpfOutput::new(domain.to_owned()).with_result(SpfResult::None);
    let asked = DmarcParameters::new(&parsed, &signatures, domain, &spf);
    let answer = resolver.verify_dmarc(asked).await;
    let key = question.key.map(|key| key.key.domain.as_str());
    let Some(record) = answer.dmarc_record() else {
        return match answer.result() {
            DmarcResult::TempError(error) => Dmarc::Unanswered(error.to_string()),
            DmarcResult::PermError(Error::Dns(DnsError::RecordNotFound(_))) | DmarcResult::None => {
                // Below the key's domain it would be the one that counts, and part from the key.
                Dmarc::Missing(key.unwrap_or(domain).to_owned())
            }
            _ => Dmarc::Broken,
        };
    };
    let is_signed = (signatures.iter()).any(|output| *output.result() == DkimResult::Pass);
    match (is_signed, answer.dkim_result(), key) {
        (true, DmarcResult::TempError(error), _) => Dmarc::Unanswered(error.to_string()),
        (true, DmarcResult::Fail(_) | DmarcResult::PermError(_) | DmarcResult::None, Some(key)) => {
            match record.adkim {
                Alignment::Strict => Dmarc::Strict,
                Alignment::Relaxed => Dmarc::Unaligned(key.to_owned()),
            }
        }
        _ => Dmarc::Policy(answer.policy().to_string()),
    }
}

/// Whether a domain's record includes that of a provider, itself or by others that it includes.
async fn includes(resolver: &MessageAuthenticator, domain: &str, provider: &str) -> Spf {
    let mut open = VecDeque::from([domain.to_owned()]);
    let (mut read, mut unread) = (0, None);
    while let Some(name) = open.pop_front() {
        if read == INCLUDES_MAX {
            break;
        }
        read += 1;
        let records = match texts(resolver, &name).await {
            Ok(records) => records,
            Err(why) => {
                unread = Some(why);
                continue;
            }
        };
        for target in records
            .iter()
            .filter(|text| is_spf(text))
            .flat_map(|text| included(text))
        {
            if target == provider {
                return Spf::Allows;
            }
            open.push_back(target);
        }
    }
    unread.map_or(Spf::Omits, Spf::Unanswered)
}

/// The domains that an SPF record includes, or goes over to, in lower case; without those that depend on
/// the message (RFC 7208 §7).
fn included(record: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut redirect = None;
    for term in record.split_ascii_whitespace() {
        let term = term.to_ascii_lowercase();
        let term = term.trim_start_matches(['+', '?', '~', '-']);
        if term == "all" {
            // What comes after it is never asked (RFC 7208 §5.1, §6.1).
            return found;
        }
        let domain = |target: &str| target.trim_end_matches('.').to_owned();
        if let Some(target) = term.strip_prefix("include:") {
            found.push(domain(target));
        } else if let Some(target) = term.strip_prefix("redirect=") {
            redirect = Some(domain(target));
        }
    }
    found.extend(redirect);
    found.retain(|target| !target.contains('%'));
    found
}

/// Whether a text is a DMARC record (RFC 9989 §4.7).
fn is_dmarc(text: &str) -> bool {
    text.get(..8)
        .is_some_and(|version| version.eq_ignore_ascii_case("v=DMARC1"))
}

/// Whether a text is an SPF record (RFC 7208 §4.5).
fn is_spf(text: &str) -> bool {
    let version = text.get(..6).unwrap_or(text);
    version.eq_ignore_ascii_case("v=spf1") && matches!(text.as_bytes().get(6), None | Some(b' '))
}

/// The texts that are published under a name; none where there is no such name.
async fn texts(resolver: &MessageAuthenticator, name: &str) -> Result<Vec<String>, String> {
    // With its dot, so that no search list is gone through.
    let name = Name::from_str_relaxed(format!("{name}.")).map_err(|error| error.to_string())?;
    let found = resolver.resolver().txt_lookup(name).await;
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
