//! Networks: which addresses are of the Internet at large, and which a configuration names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

#[cfg(test)]
mod tests;

/// Networks that a configuration names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// The text is no address and no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is neither an address nor a network; write it as in 10.0.0.7, 10.0.0.0/8 or fd00::/8"
)]
pub struct NotANetwork(String);

impl Networks {
    /// Reads addresses and networks (RFC 4632).
    ///
    /// # Errors
    /// For what is neither.
    pub fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, NotANetwork> {
        let network = |text: &str| {
            let given = text.trim();
            let network = given.parse::<IpNet>().ok();
            let address = || given.parse::<IpAddr>().ok().map(IpNet::from);
            network.or_else(address).map(canonical)
        };
        let read = texts
            .into_iter()
            .map(|text| network(text).ok_or_else(|| NotANetwork(text.into())));
        Ok(Self(read.collect::<Result<_, _>>()?))
    }

    /// Whether an address lies in one of them.
    pub fn include(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which hosts may be connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    #[default]
    Anywhere,
    /// Those of the Internet at large, and those of these networks.
    InternetAnd(Networks),
}

impl Reach {
    /// Whether an address may be connected to, however it is written.
    pub fn allows(&self, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            Self::InternetAnd(networks) => is_public(address) || networks.include(address),
        }
    }

    /// Whether a host as it is written may be one that can be connected to: an address tells, and
    /// so does `localhost` with what is below it (RFC 6761 §6.3). Of other names only the
    /// addresses tell to which they lead.
    pub fn may_allow(&self, host: &str) -> bool {
        if let Some(address) = written_address(host) {
            return self.allows(address);
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let is_here = name == "localhost" || name.ends_with(".localhost");
        let here: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        !is_here || here.into_iter().any(|address| self.allows(address))
    }
}

/// The address that a host is, where it is written as one, with or without brackets.
pub fn written_address(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

/// A network of IPv4 addresses that are written as IPv6 has them is one of IPv4.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else {
        return network;
    };
    let prefix = six.prefix_len().checked_sub(96);
    let four = six.addr().to_ipv4_mapped();
    let network = prefix
        .zip(four)
        .map(|(prefix, four)| IpNet::new(four.into(), prefix));
    network.and_then(Result::ok).unwrap_or(IpNet::V6(six))
}

/// What IPv4 keeps for other things than hosts of the Internet: the registry of RFC 6890, with
/// multicast (RFC 5771) and what is reserved (RFC 1112 §4).
const SPECIAL_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 31, 196, 0], 24),
    v4([192, 52, 193, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    // 224.0.0.0/4 and 240.0.0.0/4.
    v4([224, 0, 0, 0], 3),
];

/// The hosts of IPv6 (RFC 4291 §2.4); all else is local, multicast, mapped or not given out.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0], 3);
/// What of that is none: protocols and tunnels (RFC 2928, Teredo is among them), examples (RFC 3849,
/// RFC 9637), and 6to4 (RFC 3056), which may lead to any IPv4 address.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0], 23),
    v6([0x2001, 0x0db8], 32),
    v6([0x2002, 0], 16),
    v6([0x3fff, 0], 20),
];
/// IPv4 addresses behind a translator (RFC 6052).
const TRANSLATED_V6: Ipv6Net = v6([0x0064, 0xff9b], 96);

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(start: [u16; 2], prefix: u8) -> Ipv6Net {
    let [a, b] = start;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// Whether an address is of a host of the Internet at large: neither of this machine, nor of a
/// private network, nor of anything else that is special.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => !SPECIAL_V4.iter().any(|special| special.contains(&four)),
        IpAddr::V6(six) if TRANSLATED_V6.contains(&six) => {
            let [.., a, b, c, d] = six.octets();
            is_public(Ipv4Addr::new(a, b, c, d).into())
        }
        IpAddr::V6(six) => {
            GLOBAL_V6.contains(&six) && !SPECIAL_V6.iter().any(|special| special.contains(&six))
        }
    }
}
