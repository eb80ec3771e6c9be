//! All packets of the captures beside the repository, as tshark sees them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod captures;
mod reference;

use std::{cell::Cell, fmt::Write, sync::OnceLock};

use netglass_model::{IpProtocol, Timestamp};
use netglass_packet::{Headers, LinkType, Malformed, Packet, Tunnels, Undecodable, decode};
use netglass_testing::{require, requirement::shared_folder};

use crate::{captures::Captured, reference::Row};

#[test]
fn packets_have_the_headers_that_tshark_shows() {
    require!(shared, command("tshark"));
    compare(|captured, row| {
        let theirs = row.headers();
        let ours = decode(&packet(captured), Tunnels::Outer);
        let is_same = match (ours, theirs) {
            (Ok(ours), Some(theirs)) => as_far_as_shown(ours, row) == as_far_as_shown(theirs, row),
            // It shows one address and fails for the lack of something else.
            (Ok(_), None) => row.ends_in_headers(),
            (Err(Undecodable::Malformed(Malformed::LinkType)), _) => true,
            (Err(_), theirs) => theirs.is_none(),
        };
        (!is_same).then(|| format!("{ours:?}, to tshark {theirs:?}"))
    });
}

/// What tshark shows for certain: it leaves out what follows something that it takes exception to,
/// the payload of a segment of which it has but a fragment, and does not believe an IP header that
/// speaks of more than was on the wire.
fn as_far_as_shown(headers: Headers, row: &Row<'_>) -> Headers {
    let mut shown = headers;
    if row.remarks("Exception occurred") && row.ends_in_headers() {
        shown.protocol = IpProtocol::default();
        (shown.source_port, shown.destination_port, shown.tcp) = (0, 0, None);
    }
    if let Some(tcp) = &mut shown.tcp
        && (shown.fragment.is_some() || row.remarks("exceeds"))
    {
        tcp.payload = 0;
    }
    shown
}

#[test]
fn packets_in_tunnels_have_the_addresses_that_tshark_shows() {
    require!(shared, command("tshark"));
    let in_tunnels = Cell::new(0);
    compare(|captured, row| {
        let headers = decode(&packet(captured), Tunnels::Inner).ok()?;
        if Ok(headers) != decode(&packet(captured), Tunnels::Outer) {
            in_tunnels.update(|count| count + 1);
        }
        let ours = (headers.source, headers.destination);
        let theirs = row.innermost_addresses()?;
        // It does not look into what has a length of zero for what is longer.
        let is_deeper = row.protocols().ends_with("ip:udp");
        (ours != theirs && !is_deeper).then(|| format!("{ours:?}, to tshark {theirs:?}"))
    });
    assert!(in_tunnels.get() > 500, "{in_tunnels:?}");
}

/// Asks for the difference in each packet.
fn compare(difference: impl Fn(&Captured, &Row<'_>) -> Option<String>) {
    static READ: OnceLock<(Vec<Captured>, String)> = OnceLock::new();
    let (packets, output) = READ.get_or_init(|| {
        let packets = captures::read_all(&shared_folder().join("pcaps"));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("all.pcapng");
        captures::write(&file, &packets);
        let output = reference::run(&file);
        (packets, output)
    });
    let rows: Vec<_> = output.lines().map(Row::new).collect();
    assert!(packets.len() > 50_000 && rows.len() == packets.len());

    let mut differences = String::new();
    for (captured, row) in packets.iter().zip(&rows) {
        if let Some(difference) = difference(captured, row) {
            let (name, protocols) = (&captured.name, row.protocols());
            writeln!(differences, "{name} ({protocols}): {difference}").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

fn packet(captured: &Captured) -> Packet<'_> {
    Packet {
        at: Timestamp::default(),
        link_type: LinkType(captured.link_type),
        interface: 0,
        wire_length: captured.wire_length,
        bytes: &captured.bytes,
    }
}
