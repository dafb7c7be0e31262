//! Where a request comes from, behind proxies: what they say is believed of those alone that this server
//! was told of.
//!
//! A proxy adds the address that it was called from to `X-Forwarded-For` or `Forwarded` (RFC 7239), and
//! passes on what it was sent of the other. Where a request carries both, they must therefore say the same;
//! a header that its sender wrote decides nothing.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};

use crate::domain::network::{Networks, NotANetwork};
use crate::domain::tracking::host_of;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The proxies whose word is taken for where a request comes from.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Networks);

impl Proxies {
    /// Reads addresses and networks.
    ///
    /// # Errors
    /// For what is neither.
    pub fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, NotANetwork> {
        Networks::read(texts).map(Self)
    }

    /// Whether an address is that of a proxy.
    pub fn include(&self, address: IpAddr) -> bool {
        self.0.include(address)
    }

    /// The address that a request comes from, which `peer` hands on or sends itself. Where that cannot
    /// be told, it is the address of the proxy that last could be.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if self.0.is_empty() || !self.include(peer) {
            return peer;
        }
        let by = |name: &HeaderName, read: fn(&str) -> Vec<Hop>| {
            headers.contains_key(name).then(|| {
                let values = headers.get_all(name).iter();
                let hops = values
                    .flat_map(|value| value.to_str().map_or_else(|_| vec![Hop::Unknown], read));
                self.nearest(peer, &hops.collect::<Vec<_>>())
            })
        };
        let forwarded = by(&header::FORWARDED, forwarded);
        let x_forwarded_for = by(&X_FORWARDED_FOR, x_forwarded_for);
        match (forwarded, x_forwarded_for) {
            (Some(one), Some(other)) if one != other => peer,
            (Some(address), _) | (None, Some(address)) => address,
            (None, None) => peer,
        }
    }

    /// The host that a request asks for, in the form of [`host_of`]; empty where it names none. A proxy that
    /// calls by a host of its own says in `X-Forwarded-Host` which one it was called by.
    pub fn host(&self, request: &Parts) -> String {
        let text = |name: &HeaderName| {
            let value = request.headers.get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
        let is_proxy = peer.is_some_and(|peer| self.include(peer.0.ip().to_canonical()));
        let forwarded = text(&X_FORWARDED_HOST).filter(|_| is_proxy);
        // Of several proxies the first was called by whoever asks.
        let first = forwarded.and_then(|names| names.split(',').next().map(str::to_owned));
        let own = || request.uri.authority().map(ToString::to_string);
        let asked = first.or_else(|| text(&header::HOST)).or_else(own);
        host_of(asked.unwrap_or_default().trim())
    }

    /// The address nearest to this server that is no proxy's.
    fn nearest(&self, peer: IpAddr, hops: &[Hop]) -> IpAddr {
        let mut known = peer;
        for hop in hops.iter().rev() {
            match hop {
                Hop::At(address) if self.include(*address) => known = *address,
                Hop::At(address) => return *address,
                Hop::Unknown => break,
            }
        }
        known
    }

    /// Whether a request says where it comes from.
    pub fn are_named_in(headers: &HeaderMap) -> bool {
        headers.contains_key(header::FORWARDED) || headers.contains_key(X_FORWARDED_FOR)
    }
}

/// One entry of such a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hop {
    At(IpAddr),
    /// `unknown`, a name that hides the address, or what nobody can read.
    Unknown,
}

impl Hop {
    /// An address, with or without a port, in brackets or not.
    fn read(text: &str) -> Self {
        let text = text.trim();
        let bare = || text.parse::<IpAddr>().ok();
        let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
        let otherwise = || {
            // `[address]`, and ports that are hidden, as in `192.0.2.7:_a`.
            let (address, port) = match text.strip_prefix('[') {
                Some(rest) => rest.split_once(']')?,
                None => text.split_once(':')?,
            };
            let port = port.strip_prefix(':').unwrap_or(port);
            let is_hidden = port.strip_prefix('_').is_some_and(|name| !name.is_empty());
            address
                .parse()
                .ok()
                .filter(|_| port.is_empty() || is_hidden)
        };
        bare()
            .or_else(with_port)
            .or_else(otherwise)
            .map_or(Self::Unknown, |address: IpAddr| {
                Self::At(address.to_canonical())
            })
    }
}

/// The entries of one `X-Forwarded-For`.
fn x_forwarded_for(value: &str) -> Vec<Hop> {
    let entries = value.split(',').map(str::trim);
    entries
        .filter(|entry| !entry.is_empty())
        .map(Hop::read)
        .collect()
}

/// The entries of one `Forwarded`; an entry without `for` is of an unknown sender.
fn forwarded(value: &str) -> Vec<Hop> {
    let Some(elements) = split(value, ',') else {
        return vec![Hop::Unknown];
    };
    let elements = elements.into_iter().filter(|one| !one.trim().is_empty());
    elements
        .map(|element| {
            let pairs = split(element, ';').unwrap_or_default();
            let mut senders = pairs.into_iter().filter_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim()
                    .eq_ignore_ascii_case("for")
                    .then(|| value.trim())
            });
            match (senders.next(), senders.next()) {
                (Some(sender), None) => {
                    unquoted(sender).map_or(Hop::Unknown, |text| Hop::read(&text))
                }
                _ => Hop::Unknown,
            }
        })
        .collect()
}

/// Splits a value where the separator is in no quoted text; `None` where one does not end.
fn split(value: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut from) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, letter) in value.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if letter == separator && !is_quoted => {
                parts.push(value.get(from..at)?);
                from = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(value.get(from..)?);
    (!is_quoted).then_some(parts)
}

/// A token as it is, or what a quoted text holds.
fn unquoted(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('"') else {
        return Some(value.to_owned());
    };
    let inner = rest.strip_suffix('"')?;
    let mut text = String::new();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        text.push(if letter == '\\' {
            letters.next()?
        } else {
            letter
        });
    }
    Some(text)
}
