//! Flow records for tests.

use std::{net::IpAddr, sync::Arc, time::Duration};

use netglass_model::{
    Attribution, ConnectionState, EndReason, FlowRecord, FlowStatus, IpProtocol, Owner, Process,
    TcpConnection, Timestamp,
};
use proptest::{option, prelude::*, sample::select};
use uuid::Uuid;

use super::FlowBatch;

/// What a name may hold at worst.
pub(super) const NASTY: &str = "a\"b\\c,d\r\ne\tf\u{1b}[31m\u{7f}\u{9b}\u{0}é\u{2028}=1+1";

/// A flow of TCP in which there is something of everything.
pub(super) fn record() -> FlowRecord {
    let at = Timestamp::from_nanoseconds;
    FlowRecord {
        id: "0190b4e0-0000-7000-8000-000000000001".parse().unwrap(),
        protocol: IpProtocol::TCP,
        source: "10.0.0.11".parse().unwrap(),
        destination: "fe80::1".parse().unwrap(),
        source_port: 40_312,
        destination_port: 443,
        first_seen: at(1_700_000_000_123_456_789),
        last_seen: at(1_700_000_001_000_000_000),
        source_bytes: 1_258,
        destination_bytes: 56_623,
        source_packets: 12,
        destination_packets: 44,
        status: FlowStatus::Established,
        end_reason: EndReason::Closed,
        interface: Some("eth0".into()),
        tcp: Some(TcpConnection {
            state: ConnectionState::Sf,
            source_flags: 0x1b,
            destination_flags: 0x13,
            handshake_rtt: Some(Duration::from_nanos(120_999)),
            source_retransmissions: Some(1),
            destination_retransmissions: Some(0),
        }),
        source_owner: Some(owner("wrk")),
        destination_owner: None,
    }
}

/// A flow of which only its packets are known.
pub(super) fn bare_record() -> FlowRecord {
    FlowRecord {
        id: "0190b4e0-0000-7000-8000-000000000002".parse().unwrap(),
        protocol: IpProtocol(47),
        source_port: 0,
        destination_port: 0,
        status: FlowStatus::Init,
        end_reason: EndReason::CaptureEnd,
        interface: None,
        tcp: None,
        source_owner: None,
        ..record()
    }
}

/// A flow of a process whose name holds what names should not.
pub(super) fn nasty_record() -> FlowRecord {
    FlowRecord { interface: Some(NASTY.into()), destination_owner: Some(owner(NASTY)), ..record() }
}

fn owner(comm: &str) -> Owner {
    Owner {
        process: Arc::new(Process {
            pid: 5_982,
            start_time: Timestamp::from_nanoseconds(1_699_999_990_120_000_000),
            pgid: 5_982,
            ppid: 1,
            family: 5_982,
            uid: Some(1_000),
            gid: None,
            comm: comm.to_owned(),
            exe: Some(format!("/usr/bin/{comm}")),
            cgroup: None,
            container: None,
            command_line: Some("wrk --password secret".to_owned()),
        }),
        attribution: Attribution::Socket,
    }
}

pub(super) fn batch(sequence: u64, records: Vec<FlowRecord>) -> FlowBatch {
    FlowBatch::new(Uuid::nil(), sequence, records)
}

/// Any record that there can be.
pub(super) fn any_record() -> impl Strategy<Value = FlowRecord> {
    let key = (any::<[u8; 16]>(), any::<u8>(), any::<(IpAddr, IpAddr)>(), any::<(u16, u16)>());
    let counts = any::<(i64, i64, u64, u64, u64, u64)>();
    let ends = (any::<bool>(), select(&EndReason::ALL[..]), option::of(any::<String>()));
    let rest = (option::of(any_tcp()), option::of(any_owner()), option::of(any_owner()));
    (key, counts, ends, rest).prop_map(|(key, counts, ends, rest)| FlowRecord {
        id: Uuid::from_bytes(key.0),
        protocol: IpProtocol(key.1),
        source: key.2.0,
        destination: key.2.1,
        source_port: key.3.0,
        destination_port: key.3.1,
        first_seen: Timestamp::from_nanoseconds(counts.0),
        last_seen: Timestamp::from_nanoseconds(counts.1),
        source_bytes: counts.2,
        destination_bytes: counts.3,
        source_packets: counts.4,
        destination_packets: counts.5,
        status: if ends.0 { FlowStatus::Init } else { FlowStatus::Established },
        end_reason: ends.1,
        interface: ends.2.map(Into::into),
        tcp: rest.0,
        source_owner: rest.1,
        destination_owner: rest.2,
    })
}

fn any_tcp() -> impl Strategy<Value = TcpConnection> {
    let state = select(&ConnectionState::ALL[..]);
    (state, any::<(u8, u8, Option<Duration>, u64, u64)>()).prop_map(|(state, rest)| TcpConnection {
        state,
        source_flags: rest.0,
        destination_flags: rest.1,
        handshake_rtt: rest.2,
        source_retransmissions: Some(rest.3),
        destination_retransmissions: Some(rest.4),
    })
}

fn any_owner() -> impl Strategy<Value = Owner> {
    let attribution =
        select(&[Attribution::Socket, Attribution::Listener, Attribution::Namespace][..]);
    let texts = (any::<String>(), option::of(any::<String>()), option::of(any::<String>()));
    let numbers = any::<(u32, i64, Option<u32>)>();
    (attribution, texts, numbers).prop_map(|(attribution, texts, numbers)| Owner {
        process: Arc::new(Process {
            pid: numbers.0,
            start_time: Timestamp::from_nanoseconds(numbers.1),
            uid: numbers.2,
            exe: texts.1,
            container: texts.2,
            command_line: None,
            ..(*owner(&texts.0).process).clone()
        }),
        attribution,
    })
}
