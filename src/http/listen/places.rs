//! The places that connections take: of all, of a few more for those who are one too many, and of each
//! address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All places of a server.
pub struct Places {
    all: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    of_address: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A place, given back when it is dropped.
pub struct Place {
    places: Arc<Places>,
    address: Option<IpAddr>,
    permit: Option<OwnedSemaphorePermit>,
    is_spare: bool,
}

impl Places {
    /// So many places, so many more to say that there are none, and so many of an address (any number
    /// where that is zero).
    pub fn new(all: usize, spare: usize, of_address: usize) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
            spare: Arc::new(Semaphore::new(spare)),
            of_address,
            taken: Mutex::default(),
        })
    }

    /// A place of those of an address, if it has one left; of no address there are any number.
    pub fn of(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let address = address.filter(|_| self.of_address > 0).map(network);
        if let Some(address) = address {
            let mut taken = self.taken();
            let count = taken.entry(address).or_insert(0);
            if *count >= self.of_address {
                return None;
            }
            *count += 1;
        }
        Some(Place {
            places: Arc::clone(self),
            address,
            permit: None,
            is_spare: false,
        })
    }

    /// The next place of all for who has one of an address; a spare one where there are no others. Waits
    /// where there is neither.
    pub async fn next(&self, mut place: Place) -> Place {
        let free = Arc::clone(&self.all)
            .try_acquire_owned()
            .map(|permit| (permit, false));
        let free = free.or_else(|_| {
            let spare = Arc::clone(&self.spare).try_acquire_owned();
            spare.map(|permit| (permit, true))
        });
        let taken = match free {
            Ok(taken) => Ok(taken),
            // Both are asked fairly: whoever came first has the first that is free.
            Err(_) => tokio::select! {
                permit = Arc::clone(&self.all).acquire_owned() => permit.map(|permit| (permit, false)),
                permit = Arc::clone(&self.spare).acquire_owned() => permit.map(|permit| (permit, true)),
            },
        };
        // No semaphore is ever closed.
        if let Ok((permit, is_spare)) = taken {
            place.permit = Some(permit);
            place.is_spare = is_spare;
        }
        place
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether it is only there to say that there is none.
    pub fn is_spare(&self) -> bool {
        self.is_spare
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&address);
            }
        }
    }
}

/// What counts as one address: whoever has one of IPv6 has the whole network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_so_many_and_they_come_back() {
        let places = Places::new(10, 1, 2);
        let of = |text: &str| places.of(Some(ip(text)));
        let (one, two) = (of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert!(one.is_some() && two.is_some() && of("192.0.2.1").is_none());
        assert!(of("192.0.2.2").is_some());
        drop(two);
        assert!(of("192.0.2.1").is_some());
        // A network of IPv6 is one address.
        let _held = [of("2001:db8::1"), of("2001:db8::2")];
        assert!(of("2001:db8::ffff:0:0:3").is_none() && of("2001:db8:0:1::1").is_some());
        let _any = std::array::from_fn::<_, 20, _>(|_| places.of(None).expect("any number"));
        drop(one);
        assert_eq!(places.taken().len(), 1, "only what is taken is known");
        let without_limit = Places::new(10, 1, 0);
        assert!((0..20).all(|_| without_limit.of(Some(ip("::1"))).is_some()));
        assert!(without_limit.taken().is_empty());
    }

    #[test]
    fn where_all_are_taken_a_few_are_told_and_the_next_waits() {
        let places = Places::new(1, 1, 0);
        let next = || places.next(places.of(None).expect("any number"));
        let first = next().now_or_never().expect("one");
        let second = next().now_or_never().expect("a spare one");
        assert!(!first.is_spare() && second.is_spare());
        let mut third = Box::pin(next());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        let third = third.now_or_never().expect("the first one's");
        assert!(!third.is_spare());
        drop((second, third));
        assert!(!next().now_or_never().expect("one").is_spare());
    }
}
