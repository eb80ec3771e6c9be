//! Services of which the answer about one takes what was seen of the others: translations lead from
//! one to the other.

use std::collections::{BTreeMap, BTreeSet};

use netglass_model::{HostId, Protocol, Route};

use crate::{Selection, Service};

/// Services that translations lead to or from each other.
#[derive(Debug, Default)]
pub(super) struct Related {
    groups: Vec<BTreeSet<Service>>,
    group_of: BTreeMap<Service, usize>,
    /// Who translates to or from each service.
    hosts: BTreeMap<Service, BTreeSet<HostId>>,
}

impl Related {
    /// By all translations: the host that makes it, and the names on either side.
    pub(super) fn new<'a>(
        translations: impl Iterator<Item = (&'a HostId, Protocol, [Route; 2])>,
    ) -> Self {
        let mut related = Self::default();
        for (host, protocol, routes) in translations {
            let [original, translated] = routes.map(|route| Service::of(host, protocol, route));
            for service in [&original, &translated] {
                related.hosts.entry(service.clone()).or_default().insert(host.clone());
            }
            related.unite(original, translated);
        }
        related
    }

    /// A service and all that are related to it.
    pub(super) fn to(&self, service: &Service) -> Vec<Service> {
        match self.group_of.get(service) {
            Some(&group) => self.groups[group].iter().cloned().collect(),
            None => vec![service.clone()],
        }
    }

    /// Services that are translated, of those that are wanted: their addresses may be those of no
    /// flow on their other side.
    pub(super) fn touched(&self, wanted: &Selection) -> Vec<Service> {
        let is_wanted = |(service, hosts): &(&Service, &BTreeSet<HostId>)| {
            let Service { protocol, server, client, .. } = service;
            wanted.hosts.iter().any(|host| hosts.contains(host))
                || wanted.addresses.contains(client)
                || wanted.addresses.contains(&server.address)
                || wanted.servers.iter().any(|it| {
                    (it.protocol, Some(it.port)) == (*protocol, server.port.number())
                        && it.place.address().is_none_or(|address| address == server.address)
                        && it.place.host().is_none_or(|host| hosts.contains(host))
                })
        };
        self.hosts.iter().filter(is_wanted).map(|(service, _)| service.clone()).collect()
    }

    fn unite(&mut self, one: Service, other: Service) {
        let (one, other) = (self.group(one), self.group(other));
        if one == other {
            return;
        }
        // The smaller one is moved, so that each service is moved few times.
        let (to, from) = if self.groups[one].len() < self.groups[other].len() {
            (other, one)
        } else {
            (one, other)
        };
        for service in std::mem::take(&mut self.groups[from]) {
            if let Some(group) = self.group_of.get_mut(&service) {
                *group = to;
            }
            self.groups[to].insert(service);
        }
    }

    fn group(&mut self, service: Service) -> usize {
        let next = self.groups.len();
        let group = *self.group_of.entry(service.clone()).or_insert(next);
        if group == next {
            self.groups.push(BTreeSet::from([service]));
        }
        group
    }
}
