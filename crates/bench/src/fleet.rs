//! A fleet that exists on paper: what each of its hosts would report.

use std::{net::IpAddr, sync::Arc, time::Duration};

use netglass_model::{
    Attribution, Direction, Endpoint, FlowCounters, Flush, Host, HostAddress, HostFlow, HostId,
    Ledger, Listener, NamespaceInode, NetworkNamespace, Observations, Probe, ProbeId, Process,
    Protocol, RttSamples, SpoolUsage, Timestamp,
};

/// The flows of a host: of each process, to so many others and from as many.
pub(crate) const FLOWS: u32 = PROCESSES * 2 * PEERS;
const PROCESSES: u32 = 10;
const PEERS: u32 = 5;

/// The time from one flush to the next, as a probe has it by default.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

const NAMESPACE: NamespaceInode = NamespaceInode(4_026_531_840);

/// Hosts of which each runs ten processes; each of these is a client of the same one on the next
/// five hosts, and a server of that on the five before.
#[derive(Debug)]
pub(crate) struct Fleet {
    hosts: Vec<SimulatedHost>,
}

#[derive(Debug)]
struct SimulatedHost {
    host: Host,
    probe: Probe,
    processes: Vec<Arc<Process>>,
}

impl Fleet {
    /// So many hosts.
    pub(crate) fn new(hosts: u32) -> Self {
        let hosts = (0..hosts).map(|number| SimulatedHost {
            host: Host {
                id: HostId {
                    machine_id: format!("{number:032x}"),
                    hostname: format!("host-{number}"),
                },
                namespace: NAMESPACE,
                addresses: vec![HostAddress { namespace: NAMESPACE, address: address(number) }],
            },
            probe: Probe {
                id: ProbeId::new(),
                boot_id: format!("boot of {number}"),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: Timestamp::default(),
            },
            processes: (0..PROCESSES).map(|index| Arc::new(process(index))).collect(),
        });
        Self { hosts: hosts.collect() }
    }

    /// How many hosts there are.
    pub(crate) fn hosts(&self) -> u32 {
        u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)
    }

    /// The address of a host.
    pub(crate) fn address(&self, host: u32) -> IpAddr {
        address(host % self.hosts())
    }

    /// What a host reports when it flushes for the `sequence`th time, from 1 on, `interval` after
    /// the time before.
    pub(crate) fn flush(
        &self,
        host: u32,
        sequence: u64,
        start: Timestamp,
        interval: Duration,
    ) -> Flush {
        let here = &self.hosts[host as usize];
        let at = |sequence: u64| {
            let passed = interval * u32::try_from(sequence).unwrap_or(u32::MAX);
            let passed = i64::try_from(passed.as_nanos()).unwrap_or(i64::MAX);
            Timestamp::from_nanoseconds(start.as_nanoseconds().saturating_add(passed))
        };
        let (first_seen, last_seen) = (at(sequence - 1), at(sequence));
        let own = self.address(host);
        let mut flows = Vec::with_capacity(FLOWS as usize);
        let mut listeners = Vec::with_capacity(PROCESSES as usize);
        for (process, index) in here.processes.iter().zip(0_u16..) {
            let service = |address| Endpoint::numbered(address, 8_000 + index);
            let mut flow = |direction, local, peer| {
                flows.push(HostFlow {
                    namespace: NAMESPACE,
                    protocol: Protocol::Tcp,
                    direction,
                    local,
                    peer,
                    process: Some(Arc::clone(process)),
                    attribution: Attribution::Socket,
                    counters: counters(sequence),
                    first_seen,
                    last_seen,
                });
            };
            for step in 1..=PEERS {
                let next = self.address(host + step);
                flow(Direction::Active, Endpoint::many(own), service(next));
                let before = self.address(host + self.hosts() - step);
                flow(Direction::Passive, service(own), Endpoint::many(before));
            }
            listeners.push(Listener {
                namespace: NAMESPACE,
                protocol: Protocol::Tcp,
                local: service(IpAddr::from([0, 0, 0, 0])),
                process: Some(Arc::clone(process)),
                first_seen,
                last_seen,
            });
        }
        Flush {
            probe: here.probe.clone(),
            sequence,
            at: last_seen,
            last: false,
            ledger: Ledger::default(),
            spool: SpoolUsage::default(),
            observations: Observations {
                host: here.host.clone(),
                namespaces: vec![NetworkNamespace { inode: NAMESPACE, name: None }],
                flows,
                listeners,
                translations: Vec::new(),
            },
        }
    }
}

fn address(host: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + host).to_be_bytes())
}

fn process(index: u32) -> Process {
    let pid = 1_000 + index;
    Process {
        pid,
        start_time: Timestamp::default(),
        pgid: pid,
        ppid: 1,
        family: pid,
        uid: Some(33),
        gid: Some(33),
        comm: format!("app-{index}"),
        exe: Some(format!("/usr/lib/app/app-{index}")),
        cgroup: Some(format!("/system.slice/app-{index}.service")),
        container: None,
        command_line: Some(format!("/usr/lib/app/app-{index} --listen 0.0.0.0 --workers 4")),
    }
}

fn counters(sequence: u64) -> FlowCounters {
    FlowCounters {
        connections: 10,
        opened: 3,
        bytes_sent: 1_000 * sequence,
        bytes_received: 20_000 * sequence,
        segments_sent: 30,
        segments_received: 40,
        retransmits: sequence % 7 / 6,
        rtt: RttSamples { sum_us: 900, count: 3 },
        ..FlowCounters::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flow_is_reported_from_both_ends() {
        let fleet = Fleet::new(20);
        let flows = |host| {
            let flush = fleet.flush(host, 1, Timestamp::default(), INTERVAL);
            flush.observations.flows
        };
        assert_eq!(flows(0).len(), FLOWS as usize);
        let active = flows(19).into_iter().find(|it| it.direction == Direction::Active).unwrap();
        assert_eq!(active.peer.address, fleet.address(0));
        let passive = flows(0).into_iter().any(|it| {
            (it.direction, it.local, it.peer.address)
                == (Direction::Passive, active.peer, active.local.address)
        });
        assert!(passive);
    }
}
