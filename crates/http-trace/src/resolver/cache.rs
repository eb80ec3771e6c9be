//! Addresses of names, for as long as the answers say that they hold.

use std::{collections::HashMap, net::IpAddr};

use tokio::time::Instant;

/// At most so many names. When there are more, those that do not hold any more go, and else the
/// one that holds the shortest.
#[derive(Debug)]
pub(super) struct Cache {
    names: HashMap<String, (Vec<IpAddr>, Instant)>,
    limit: usize,
}

impl Cache {
    pub(super) fn new(limit: usize) -> Self {
        Self { names: HashMap::new(), limit }
    }

    pub(super) fn get(&self, name: &str, now: Instant) -> Option<Vec<IpAddr>> {
        if self.names.is_empty() {
            return None;
        }
        let (addresses, until) = self.names.get(&name.to_ascii_lowercase())?;
        (*until > now).then(|| addresses.clone())
    }

    pub(super) fn put(&mut self, name: &str, addresses: &[IpAddr], now: Instant, until: Instant) {
        if self.limit == 0 || until <= now {
            return;
        }
        if self.names.len() >= self.limit {
            self.names.retain(|_, (_, until)| *until > now);
        }
        if self.names.len() >= self.limit {
            let soonest = self.names.iter().min_by_key(|(_, (_, until))| *until);
            if let Some(name) = soonest.map(|(name, _)| name.clone()) {
                self.names.remove(&name);
            }
        }
        self.names.insert(name.to_ascii_lowercase(), (addresses.to_vec(), until));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_name_is_remembered_for_as_long_as_it_holds_and_only_so_many() {
        let now = Instant::now();
        let seconds = |seconds| now + Duration::from_secs(seconds);
        let mut cache = Cache::new(2);
        for (name, holds) in [("a.test", 10), ("B.test", 20), ("c.test", 30), ("d.test", 0)] {
            cache.put(name, &[IpAddr::from([10, 0, 0, 1])], now, seconds(holds));
        }
        let known = |name, at| cache.get(name, at).is_some();
        assert!(!known("a.test", now) && known("b.test", now) && known("c.test", now));
        assert!(!known("d.test", now) && !known("b.test", seconds(20)));
    }
}
