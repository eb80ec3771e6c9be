//! Ways as text and as JSON (docs/explain.md).

use std::fmt::Write as _;

use netglass_cilium::PacketEnds;
use netglass_model::printable;
use serde_json::{Value, json};

use super::paths::{Change, Connection, Hop, Paths, Place, Process, What};
use crate::time::rfc3339;

/// The version of the schema.
const VERSION: u32 = 1;

/// Both directions, as they are called.
const WAYS: [&str; 2] = ["there", "back"];

/// All connections that were asked for, as text.
pub(super) fn text(paths: &Paths) -> String {
    let wanted = paths.wanted();
    if wanted.is_empty() {
        return format!("nothing was seen of {}\n", paths.target);
    }
    let mut text = String::new();
    for connection in wanted {
        // Writing to a String cannot fail.
        let _ = put_connection(&mut text, connection, paths);
    }
    text
}

fn put_connection(text: &mut String, connection: &Connection, paths: &Paths) -> std::fmt::Result {
    let ends = &connection.ends;
    let seconds = connection.first().zip(connection.last());
    let seconds = seconds.map_or(0, |(first, last)| last.as_nanoseconds() - first.as_nanoseconds());
    writeln!(
        text,
        "{} {}: {} packets there and {} back in {:.3} s",
        protocol(ends.protocol),
        arrow(ends),
        packets(connection, 0),
        packets(connection, 1),
        seconds as f64 / 1e9,
    )?;
    let (client, server) = (&connection.client, &connection.server);
    writeln!(text, "  from {} to {}", process(client.as_ref()), process(server.as_ref()))?;
    for (way, name) in WAYS.into_iter().enumerate() {
        let steps = connection.steps(way);
        if steps.is_empty() {
            continue;
        }
        writeln!(text, "  {name}")?;
        for (change, hop) in steps {
            if let Some(change) = change {
                let place = change.namespace.map(|namespace| paths.place(namespace));
                let place = place.map_or_else(|| "an unknown place".to_owned(), |it| name_of(&it));
                let (before, after) = (arrow(&change.before), arrow(&change.after));
                writeln!(text, "    ~~ NAT in {place}: {before} becomes {after}")?;
            }
            put_hop(text, hop)?;
        }
    }
    Ok(())
}

fn put_hop(text: &mut String, hop: &Hop) -> std::fmt::Result {
    let place = format!("{} of {}", hop.interface, name_of(&hop.namespace));
    let (sign, why) = match &hop.what {
        What::In => ("<-", String::new()),
        What::Out => ("->", String::new()),
        What::Drop { reason, function } => {
            let function = function.as_deref().unwrap_or("an unknown function");
            ("xx", format!(", dropped: {reason} in {function}"))
        }
    };
    writeln!(text, "    {sign} {place}: {} packets, {} bytes{why}", hop.packets, hop.bytes)
}

/// All connections that were asked for, one object a line.
pub(super) fn json(paths: &Paths) -> String {
    let mut text = String::new();
    for connection in paths.wanted() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", connection_json(connection, paths));
    }
    text
}

fn connection_json(connection: &Connection, paths: &Paths) -> Value {
    let ends = &connection.ends;
    let way = |way: usize| {
        let mut steps = Vec::new();
        for (change, hop) in connection.steps(way) {
            steps.extend(change.map(|change| change_json(&change, paths)));
            steps.push(hop_json(hop));
        }
        json!({ "packets": packets(connection, way), "steps": steps })
    };
    json!({
        "v": VERSION,
        "type": "path",
        "protocol": protocol(ends.protocol),
        "client": end_json(ends.source, connection.client.as_ref()),
        "server": end_json(ends.destination, connection.server.as_ref()),
        "first": connection.first().map(rfc3339),
        "last": connection.last().map(rfc3339),
        "there": way(0),
        "back": way(1),
    })
}

fn end_json(end: std::net::SocketAddr, process: Option<&Process>) -> Value {
    let process = process.map(|it| {
        json!({ "pid": it.pid, "comm": it.comm, "exe": Some(&it.exe).filter(|exe| !exe.is_empty()) })
    });
    json!({ "address": end.ip().to_string(), "port": end.port(), "process": process })
}

fn change_json(change: &Change, paths: &Paths) -> Value {
    let place = change.namespace.map(|namespace| place_json(&paths.place(namespace)));
    json!({
        "step": "nat",
        "network_namespace": place,
        "before": ends_json(&change.before),
        "after": ends_json(&change.after),
    })
}

fn hop_json(hop: &Hop) -> Value {
    let (step, reason, function) = match &hop.what {
        What::In => ("in", None, None),
        What::Out => ("out", None, None),
        What::Drop { reason, function } => ("drop", Some(reason), function.as_ref()),
    };
    json!({
        "step": step,
        "network_namespace": place_json(&hop.namespace),
        "interface": hop.interface,
        "source": hop.ends.source.to_string(),
        "destination": hop.ends.destination.to_string(),
        "packets": hop.packets,
        "bytes": hop.bytes,
        "first": rfc3339(hop.first),
        "last": rfc3339(hop.last),
        "reason": reason,
        "function": function,
    })
}

fn ends_json(ends: &PacketEnds) -> Value {
    json!({ "source": ends.source.to_string(), "destination": ends.destination.to_string() })
}

fn place_json(place: &Place) -> Value {
    json!({ "inode": place.inode, "name": place.name })
}

/// How many packets went a way: as many as were seen where most were.
fn packets(connection: &Connection, way: usize) -> u64 {
    let hops = connection.ways.get(way).into_iter().flatten();
    hops.map(|hop| hop.packets).max().unwrap_or_default()
}

fn name_of(place: &Place) -> String {
    place.name.clone().unwrap_or_else(|| format!("net:[{}]", place.inode))
}

fn process(process: Option<&Process>) -> String {
    process
        .map_or_else(|| "unknown".to_owned(), |it| format!("{}[{}]", printable(&it.comm), it.pid))
}

fn arrow(ends: &PacketEnds) -> String {
    format!("{} -> {}", ends.source, ends.destination)
}

fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        0 => "ip".to_owned(),
        other => other.to_string(),
    }
}
