//! What was called as the flows that a probe sees.

use std::sync::Arc;

use netglass_model::{
    Attribution, CallName, Direction, Endpoint, Failures, FlowCounters, HostFlow, Port, Protocol,
    Timestamp,
};

use super::{Calls, End};

const IPPROTO_MPTCP: u16 = 262;

const ETIMEDOUT: u32 = 110;
const ECONNREFUSED: u32 = 111;
const ECONNRESET: u32 = 104;
const ENETUNREACH: u32 = 101;
const EHOSTUNREACH: u32 = 113;
/// The connection is being made.
const EINPROGRESS: u32 = 115;
/// Asked again of one that is made, or being made.
const NO_ATTEMPTS: [u32; 4] = [4, 11, 106, 114];

/// The flow of an end that has a peer; none of other ends, and of other protocols than those that a
/// probe follows.
pub(in crate::streaming) fn of(end: &End, since: Timestamp, until: Timestamp) -> Option<HostFlow> {
    let connection = end.connection?;
    let protocol = match connection.protocol {
        IPPROTO_MPTCP => Protocol::Tcp,
        number => Protocol::from_number(u8::try_from(number).ok()?)?,
    };
    let (local, peer) = connection.local.zip(connection.remote)?;
    let (service, local_port, peer_port) = match end.direction {
        Direction::Active => (peer.port(), Port::Many, Port::Number(peer.port())),
        Direction::Passive => (local.port(), Port::Number(local.port()), Port::Many),
    };
    (service != 0).then(|| HostFlow {
        namespace: connection.namespace,
        protocol,
        direction: end.direction,
        local: Endpoint::new(local.ip(), local_port),
        peer: Endpoint::new(peer.ip(), peer_port),
        process: Some(Arc::clone(&end.process)),
        attribution: Attribution::Socket,
        counters: counters(end, protocol),
        first_seen: since,
        last_seen: until,
    })
}

fn counters(end: &End, protocol: Protocol) -> FlowCounters {
    let total = end.total();
    let opened: u64 = end.calls.iter().map(|(&name, calls)| opened(name, calls)).sum();
    let failed = failures(end);
    let is_open = opened > 0 || failed.total() == 0;
    let mut counters = FlowCounters {
        connections: opened.max(u64::from(is_open)),
        opened,
        failed,
        bytes_sent: total.bytes_sent,
        bytes_received: total.bytes_received,
        ..FlowCounters::default()
    };
    if protocol == Protocol::Udp {
        let datagrams = |is_sent: bool| -> u64 {
            end.calls
                .iter()
                .filter(|(name, _)| {
                    name.transfer()
                        .is_some_and(|it| (it == netglass_model::Transfer::Send) == is_sent)
                })
                .map(|(_, calls)| succeeded(calls))
                .sum()
        };
        counters.segments_sent = datagrams(true);
        counters.segments_received = datagrams(false);
    }
    counters
}

fn succeeded(calls: &Calls) -> u64 {
    calls.latencies.calls().saturating_sub(calls.errors.values().sum())
}

/// How many connections were made by these calls.
fn opened(name: CallName, calls: &Calls) -> u64 {
    match name {
        CallName::Connect | CallName::UringConnect => {
            let begun = calls.errors.get(&EINPROGRESS).copied().unwrap_or_default();
            succeeded(calls).saturating_add(begun)
        }
        CallName::Accept | CallName::Accept4 | CallName::UringAccept => succeeded(calls),
        _ => 0,
    }
}

fn failures(end: &End) -> Failures {
    let mut failures = Failures::default();
    let attempts = [CallName::Connect, CallName::UringConnect];
    let errors = attempts.iter().filter_map(|name| end.calls.get(name)).flat_map(|it| &it.errors);
    for (&error, &count) in errors {
        let kind = match error {
            EINPROGRESS => continue,
            error if NO_ATTEMPTS.contains(&error) => continue,
            ECONNREFUSED => &mut failures.refused,
            ETIMEDOUT => &mut failures.timed_out,
            ENETUNREACH | EHOSTUNREACH => &mut failures.unreachable,
            ECONNRESET => &mut failures.reset,
            _ => &mut failures.other,
        };
        *kind = kind.saturating_add(count);
    }
    failures
}

#[cfg(test)]
mod tests {
    use netglass_model::CallSum;

    use super::{
        super::{Summary, fixtures::*},
        *,
    };

    fn flow(sums: &[CallSum]) -> HostFlow {
        let mut summary = Summary::default();
        let process = process("wget", 200);
        for sum in sums {
            assert!(summary.add(sum, &process));
        }
        let end = summary.ends().next().unwrap();
        of(end, Timestamp::default(), Timestamp::default()).unwrap()
    }

    #[test]
    fn connections_are_those_that_were_made_and_at_least_one() {
        let asked = flow(&[
            sum(CallName::Connect, Direction::Active, 3),
            CallSum { error: Some(EINPROGRESS), ..sum(CallName::Connect, Direction::Active, 2) },
            CallSum { error: Some(ECONNREFUSED), ..sum(CallName::Connect, Direction::Active, 4) },
            sum(CallName::Write, Direction::Active, 7),
        ]);
        let counters = asked.counters;
        assert_eq!((counters.connections, counters.opened, counters.failed.refused), (5, 5, 4));
        assert_eq!((counters.bytes_sent, counters.failed.total()), (700, 4));
        assert_eq!((asked.local.port, asked.peer.port), (Port::Many, Port::Number(80)));

        let served = flow(&[sum(CallName::Recvfrom, Direction::Passive, 3)]);
        assert_eq!((served.counters.connections, served.counters.opened), (1, 0));
        assert_eq!((served.local.port, served.peer.port), (Port::Number(80), Port::Many));

        let refused =
            CallSum { error: Some(ECONNREFUSED), ..sum(CallName::Connect, Direction::Active, 4) };
        assert_eq!(flow(&[refused]).counters.connections, 0);
    }
}
