//! What tokens are used for: counted in memory by day and address, until it is written down.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};

use chrono::{DateTime, NaiveDate, Utc};

use crate::clock::from_ms;
use crate::domain::id::{TokenId, WorkspaceId};
use crate::store::token::Use;

/// How many addresses of a token are told apart in a day, by each node; what comes from more of them is
/// counted under [`OTHERS`].
const ADDRESSES_MAX: usize = 50;
/// The address of what comes from too many.
const OTHERS: &str = "others";
/// The address of what comes from nowhere: a test, or a request inside of the process.
const NOWHERE: &str = "unknown";

/// What was counted since the last time that it was taken.
#[derive(Debug, Default)]
pub struct Uses {
    counted: HashMap<(TokenId, String), Counted>,
    /// The addresses that are told apart, of this day.
    told_apart: HashMap<TokenId, HashSet<String>>,
    day: Option<NaiveDate>,
}

#[derive(Debug)]
struct Counted {
    workspace: WorkspaceId,
    requests: i64,
    refused: i64,
    first_at: i64,
    last_at: i64,
}

impl Uses {
    /// Counts a request that came with a token from an address.
    pub fn count(
        &mut self,
        workspace: WorkspaceId,
        token: TokenId,
        from: Option<IpAddr>,
        served: bool,
        now: DateTime<Utc>,
    ) {
        let day = now.date_naive();
        if self.day != Some(day) {
            self.day = Some(day);
            self.told_apart.clear();
        }
        let mut address = from.map_or_else(|| NOWHERE.to_owned(), written);
        let told_apart = self.told_apart.entry(token).or_default();
        if !told_apart.contains(&address) {
            if told_apart.len() < ADDRESSES_MAX {
                told_apart.insert(address.clone());
            } else {
                OTHERS.clone_into(&mut address);
            }
        }
        let at = now.timestamp_millis();
        let counted = self.counted.entry((token, address)).or_insert(Counted {
            workspace,
            requests: 0,
            refused: 0,
            first_at: at,
            last_at: at,
        });
        counted.last_at = at;
        if served {
            counted.requests += 1;
        } else {
            counted.refused += 1;
        }
    }

    /// Takes what was counted, in an order in which two nodes that write the same rows lock them alike.
    pub fn take(&mut self) -> Vec<Use> {
        let counted = std::mem::take(&mut self.counted);
        let mut uses: Vec<Use> = counted
            .into_iter()
            .map(|((token, address), counted)| Use {
                token_id: token.uuid(),
                day: from_ms(counted.last_at).date_naive().to_string(),
                address,
                workspace_id: counted.workspace.uuid(),
                requests: counted.requests,
                refused: counted.refused,
                first_at: counted.first_at,
                last_at: counted.last_at,
            })
            .collect();
        uses.sort_by(|a, b| (a.token_id, &a.address).cmp(&(b.token_id, &b.address)));
        uses
    }

    /// Takes back what could not be written.
    pub fn put_back(&mut self, uses: Vec<Use>) {
        for before in uses {
            let key = (TokenId::from_uuid(before.token_id), before.address);
            let counted = self.counted.entry(key).or_insert(Counted {
                workspace: WorkspaceId::from_uuid(before.workspace_id),
                requests: 0,
                refused: 0,
                first_at: before.first_at,
                last_at: before.last_at,
            });
            counted.requests += before.requests;
            counted.refused += before.refused;
            counted.first_at = before.first_at;
        }
    }
}

/// Where an address belongs: itself, but of IPv6 the network of 64 bits, for whoever has one address of
/// it has all.
pub fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()
        }
        other => other,
    }
}

fn written(from: IpAddr) -> String {
    let network = network(from);
    let is_one = network.is_ipv4() || network.is_loopback();
    if is_one {
        network.to_string()
    } else {
        format!("{network}/64")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn count(uses: &mut Uses, address: &str, at: i64) {
        let from = Some(address.parse().expect("an address"));
        let (workspace, token) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (workspace, token) = (WorkspaceId::from_uuid(workspace), TokenId::from_uuid(token));
        uses.count(workspace, token, from, true, from_ms(at));
    }

    fn addresses(uses: &[Use]) -> Vec<(&str, i64)> {
        uses.iter()
            .map(|one| (one.address.as_str(), one.requests))
            .collect()
    }

    #[test]
    fn a_network_is_one_address() {
        let mut uses = Uses::default();
        for address in [
            "2001:db8:1:2:3:4:5:6",
            "2001:db8:1:2::",
            "::ffff:10.0.0.1",
            "10.0.0.1",
            "::1",
        ] {
            count(&mut uses, address, 0);
        }
        assert_eq!(
            addresses(&uses.take()),
            [("10.0.0.1", 2), ("2001:db8:1:2::/64", 2), ("::1", 1)]
        );
        assert!(uses.take().is_empty());
    }

    #[test]
    fn many_addresses_are_one_from_fifty_on_each_day() {
        let mut uses = Uses::default();
        for round in 0..3 {
            for n in 0..200 {
                count(&mut uses, &format!("10.0.{round}.{n}"), 0);
            }
            // Also after what was counted is written.
            let taken = uses.take();
            assert_eq!(taken.len(), if round == 0 { 51 } else { 1 });
        }
        count(&mut uses, "10.1.1.1", 86_400_000);
        assert_eq!(addresses(&uses.take()), [("10.1.1.1", 1)]);
    }

    #[test]
    fn what_could_not_be_written_counts_later() {
        let mut uses = Uses::default();
        count(&mut uses, "10.0.0.1", 5);
        let taken = uses.take();
        count(&mut uses, "10.0.0.1", 9);
        uses.put_back(taken);
        let taken = uses.take();
        assert_eq!(addresses(&taken), [("10.0.0.1", 2)]);
        assert_eq!((taken[0].first_at, taken[0].last_at), (5, 9));
    }
}
