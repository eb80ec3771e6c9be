//! What the joining promises, on a database in memory.

mod interest;
mod properties;
mod rules;
mod translations;

use std::{net::IpAddr, sync::Arc};

use netglass_model::{
    Attribution, Direction, Edge, Endpoint, Failures, FlowCounters, Host, HostAddress, HostFlow,
    HostId, Listener, NamespaceInode, NetworkNamespace, Process, Protocol, RttSamples, Timestamp,
    Translation,
};

use super::{Dependencies, Interest, dependencies};
use crate::{Error, Family, Selection, Service, Snapshot};

/// A database that gives back what was put into it, in the order in which it was put.
#[derive(Debug, Clone, Default)]
struct Memory {
    hosts: Vec<Host>,
    names: Vec<(HostId, NetworkNamespace)>,
    flows: Vec<(HostId, HostFlow)>,
    listeners: Vec<(HostId, Listener)>,
    translations: Vec<(HostId, Translation)>,
}

impl Snapshot for Memory {
    fn hosts(&mut self) -> Result<Vec<Host>, Error> {
        Ok(self.hosts.clone())
    }

    fn namespaces(
        &mut self,
        hosts: &[HostId],
        visit: &mut dyn FnMut(&HostId, NetworkNamespace),
    ) -> Result<(), Error> {
        for (host, namespace) in self.names.iter().filter(|(host, _)| hosts.contains(host)) {
            visit(host, namespace.clone());
        }
        Ok(())
    }

    fn flows(
        &mut self,
        wanted: Option<&Selection>,
        visit: &mut dyn FnMut(&HostId, HostFlow),
    ) -> Result<(), Error> {
        let is_wanted = |host: &HostId, flow: &HostFlow| {
            wanted.is_none_or(|wanted| {
                let (client, server) = match flow.direction {
                    Direction::Active => (flow.local, flow.peer),
                    Direction::Passive => (flow.peer, flow.local),
                };
                owns(wanted, host, flow.process.as_deref())
                    || wanted.addresses.contains(&flow.local.address)
                    || wanted.addresses.contains(&flow.peer.address)
                    || wanted.servers.iter().any(|it| {
                        (it.protocol, Some(it.port)) == (flow.protocol, server.port.number())
                            && it.place.address().is_none_or(|address| address == server.address)
                            && it.place.host().is_none_or(|id| id == host)
                    })
                    || wanted.services.iter().any(|it| {
                        (it.protocol, it.server, it.client)
                            == (flow.protocol, server, client.address)
                            && it.host.as_ref().is_none_or(|id| id == host)
                    })
            })
        };
        let service = |(host, flow): &(HostId, HostFlow)| {
            Service::of_ends(host, flow.protocol, flow.direction, flow.local, flow.peer)
        };
        let wanted = self.flows.iter().filter(|(host, flow)| is_wanted(host, flow));
        let services: Vec<Service> = wanted.map(service).collect();
        for of_service in self.flows.iter().filter(|flow| services.contains(&service(flow))) {
            visit(&of_service.0, of_service.1.clone());
        }
        Ok(())
    }

    fn listeners(
        &mut self,
        wanted: Option<&Selection>,
        visit: &mut dyn FnMut(&HostId, Listener),
    ) -> Result<(), Error> {
        for (host, listener) in &self.listeners {
            let process = listener.process.as_deref();
            if wanted.is_none_or(|wanted| owns(wanted, host, process)) {
                visit(host, listener.clone());
            }
        }
        Ok(())
    }

    fn members(
        &mut self,
        families: &[Family],
        visit: &mut dyn FnMut(&HostId, Arc<Process>),
    ) -> Result<(), Error> {
        let of_flows = self.flows.iter().map(|(host, flow)| (host, &flow.process));
        let of_listeners = self.listeners.iter().map(|(host, it)| (host, &it.process));
        let processes: Vec<_> = of_flows
            .chain(of_listeners)
            .filter_map(|(host, process)| Some((host, process.as_ref()?)))
            .collect();
        let key = |(host, process): &(&HostId, &Arc<Process>)| {
            ((*host).clone(), process.pid, process.start_time)
        };
        let members: Vec<_> = processes
            .iter()
            .filter(|(host, process)| families.contains(&Family::of(host, process)))
            .map(key)
            .collect();
        for (host, process) in processes.iter().filter(|it| members.contains(&key(it))) {
            visit(host, Arc::clone(process));
        }
        Ok(())
    }

    fn translations(&mut self, visit: &mut dyn FnMut(&HostId, Translation)) -> Result<(), Error> {
        self.translations.iter().for_each(|(host, translation)| visit(host, *translation));
        Ok(())
    }
}

fn owns(wanted: &Selection, host: &HostId, process: Option<&Process>) -> bool {
    wanted.hosts.contains(host)
        || process.is_some_and(|process| {
            wanted.names.contains(&process.comm)
                || wanted.families.contains(&Family::of(host, process))
        })
}

impl Memory {
    fn host(&mut self, name: &str, addresses: &[(u64, &str)]) {
        let addresses = addresses
            .iter()
            .map(|&(inode, address)| HostAddress {
                namespace: NamespaceInode(inode),
                address: ip(address),
            })
            .collect();
        self.hosts.push(Host { id: host(name), namespace: NamespaceInode(1), addresses });
    }

    fn flow(&mut self, host_name: &str, flow: HostFlow) {
        self.flows.push((host(host_name), flow));
    }

    fn listener(&mut self, host_name: &str, inode: u64, local: &str, owner: Option<Arc<Process>>) {
        self.listener_by(Protocol::Tcp, host_name, inode, local, owner);
    }

    fn listener_by(
        &mut self,
        protocol: Protocol,
        host_name: &str,
        inode: u64,
        local: &str,
        owner: Option<Arc<Process>>,
    ) {
        let listener = Listener {
            namespace: NamespaceInode(inode),
            protocol,
            local: endpoint(local),
            process: owner,
            first_seen: at(0),
            last_seen: at(100),
        };
        self.listeners.push((host(host_name), listener));
    }

    fn join(&mut self) -> Dependencies {
        dependencies(self, None).unwrap()
    }

    /// The edges, each as `client -> server connections`.
    fn edges(&mut self) -> Vec<String> {
        self.join().edges.iter().map(show).collect()
    }
}

fn show(edge: &Edge) -> String {
    let node = |node: &netglass_model::Node| {
        let name = |process: &Arc<Process>| format!("{}/{}", process.comm, process.pgid);
        format!(
            "{}@{}:{}",
            node.process.as_ref().map_or("?".to_owned(), name),
            node.host.as_ref().map_or("?", |host| &host.hostname),
            node.namespace.as_ref().map_or("?".to_owned(), |one| one.inode.0.to_string()),
        )
    };
    format!("{} -> {} {}", node(&edge.client), node(&edge.server), edge.connections)
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn endpoint(text: &str) -> Endpoint {
    let (address, port) = text.rsplit_once(':').unwrap();
    match port {
        "many" => Endpoint::many(ip(address)),
        port => Endpoint::numbered(ip(address), port.parse().unwrap()),
    }
}

fn host(name: &str) -> HostId {
    HostId { machine_id: format!("id of {name}"), hostname: name.to_owned() }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_nanoseconds(second * 1_000_000_000)
}

fn process(comm: &str, pgid: u32) -> Option<Arc<Process>> {
    worker(comm, pgid, pgid, 0)
}

#[expect(clippy::unnecessary_wraps, reason = "as a flow holds it")]
fn worker(comm: &str, pgid: u32, pid: u32, started: i64) -> Option<Arc<Process>> {
    Some(Arc::new(Process {
        pid,
        start_time: at(started),
        pgid,
        ppid: 1,
        family: pgid,
        uid: Some(0),
        gid: Some(0),
        comm: comm.to_owned(),
        exe: None,
        cgroup: None,
        container: None,
        command_line: None,
    }))
}

/// A flow in namespace `inode`: `10.0.0.1 > 10.0.0.2:80` is active, `10.0.0.2:80 < 10.0.0.1`
/// passive.
fn flow(inode: u64, ends: &str, owner: Option<Arc<Process>>, connections: u64) -> HostFlow {
    let (direction, local, peer) = if let Some((local, peer)) = ends.split_once(" > ") {
        (Direction::Active, Endpoint::many(ip(local)), endpoint(peer))
    } else {
        let (local, peer) = ends.split_once(" < ").unwrap();
        (Direction::Passive, endpoint(local), Endpoint::many(ip(peer)))
    };
    HostFlow {
        namespace: NamespaceInode(inode),
        protocol: Protocol::Tcp,
        direction,
        local,
        peer,
        attribution: if owner.is_some() { Attribution::Socket } else { Attribution::Namespace },
        process: owner,
        counters: FlowCounters { connections, opened: connections, ..FlowCounters::default() },
        first_seen: at(10),
        last_seen: at(20),
    }
}

fn udp(flow: HostFlow) -> HostFlow {
    HostFlow { protocol: Protocol::Udp, ..flow }
}

fn counted(flow: HostFlow, counters: FlowCounters) -> HostFlow {
    HostFlow { counters, ..flow }
}

fn seen(flow: HostFlow, first: i64, last: i64) -> HostFlow {
    HostFlow { first_seen: at(first), last_seen: at(last), ..flow }
}

fn rtt(sum_us: u64, count: u64) -> RttSamples {
    RttSamples { sum_us, count }
}
