//! Public captures: each passes through, and its conversations are what tshark counts.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use netglass_testing::{require, shared_folder};
use serde_json::Value;

use crate::support::{Captured, Flow, Place};

/// Of so many captures one is compared with what tshark counts, which takes long. All are where
/// `NETGLASS_TEST_ALL_CAPTURES` is set.
const ONE_OF: usize = 20;

const FIELDS: [&str; 13] = [
    "frame.protocols",
    "frame.len",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "ip.flags.mf",
    "ip.frag_offset",
    "ipv6.fraghdr.nxt",
];

/// Protocol, who sent, to whom.
type Direction = (String, String, String);

/// Packets and bytes on the wire.
type Counts = BTreeMap<Direction, (u64, u64)>;

fn captures() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in fs::read_dir(shared_folder().join("pcaps")).unwrap().map(|it| it.unwrap().path())
    {
        if folder.is_dir() {
            found.extend(fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()));
        }
    }
    found.sort_unstable();
    assert!(found.len() > 1000, "{}", found.len());
    found
}

fn capture(place: &Place, path: &Path) -> Captured {
    // The name of one may have anything in it.
    std::os::unix::fs::symlink(path.canonicalize().unwrap(), place.path("in")).unwrap();
    let captured = place.capture(&["-r", "in"]);
    fs::remove_file(place.path("in")).unwrap();
    captured
}

/// How many packets capinfos finds in a file, and whether the file is whole; none where it does not
/// know what its packets begin with.
fn packets_in(path: &Path) -> Option<(u64, bool)> {
    let output =
        Command::new("capinfos").args(["-T", "-M", "-r", "-c"]).arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let count = text.trim().rsplit('\t').next()?.parse().ok()?;
    Some((count, output.status.success()))
}

#[test]
fn every_packet_of_every_public_capture_is_accounted_for() {
    require!(shared, command("capinfos"));
    let place = Place::new();
    let (mut wrong, mut unknown) = (Vec::new(), 0);
    for path in captures() {
        let captured = capture(&place, &path);
        let Some((packets, is_whole)) = packets_in(&path) else {
            unknown += 1;
            assert_eq!(captured.status, 0, "{captured:?}");
            continue;
        };
        let seen = captured.ledger().packets("seen");
        if (seen, captured.status == 0) != (packets, is_whole) {
            wrong.push((path, packets, is_whole, seen, captured.status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(unknown < 20, "{unknown}");
}

/// What tshark takes for something else.
///
/// A length of more than 2³¹ bytes; and an option of IPv6 that is damaged, behind which it does not look.
const OTHERWISE: [&str; 2] = [
    "tests__cfgs__default__pcap__fuzz-2021-06-07-c6c72a0a56.pcap",
    "testing__btest__Traces__ipv6-mobility-dst-opts.pcap",
];

/// Flows of TCP and UDP as tshark knows them, without putting together anything; none for a capture
/// with fragments, or that it cannot read.
fn counted_by_tshark(path: &Path) -> Option<Counts> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "occurrence=f"]);
    for preference in
        ["ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE"]
    {
        command.args(["-o", preference]);
    }
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let output = command.arg("-r").arg(path).output().unwrap();
    if !output.status.success() {
        return None;
    }
    let mut counts = Counts::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let values: Vec<_> = line.split('\t').collect();
        let value = |name: &str| {
            let index = FIELDS.iter().position(|field| *field == name).unwrap();
            values.get(index).copied().unwrap_or("")
        };
        let mut protocols = value("frame.protocols").split(':');
        let Some(ip) = protocols.find(|it| ["ip", "ipv6"].contains(it)) else { continue };
        let fragmented = ["1", "True"].contains(&value("ip.flags.mf"))
            || !["", "0"].contains(&value("ip.frag_offset"))
            || !value("ipv6.fraghdr.nxt").is_empty();
        if fragmented {
            return None;
        }
        let Some(protocol) = protocols.find(|it| !it.starts_with("ipv6.")) else { continue };
        if !["tcp", "udp"].contains(&protocol) {
            continue;
        }
        let end = |which: &str| {
            let port = value(&format!("{protocol}.{which}port"));
            let address = value(&format!("{ip}.{which}"));
            (!port.is_empty()).then(|| format!("{address} {port}"))
        };
        let key = (protocol.to_owned(), end("src")?, end("dst")?);
        let count = counts.entry(key).or_default();
        *count = (count.0 + 1, count.1 + value("frame.len").parse::<u64>().unwrap());
    }
    Some(counts)
}

fn counted_by_us(flows: &[Flow]) -> Counts {
    let mut counts = Counts::new();
    for flow in flows {
        let protocol = flow.text("protocol");
        // Of one that was captured too short for its ports tshark says nothing.
        let has_ports = flow.number("src_port") > 0 || flow.number("dst_port") > 0;
        if !["tcp", "udp"].contains(&protocol) || !has_ports {
            continue;
        }
        let end = |which: &str| {
            let address = flow.text(&format!("{which}_addr"));
            format!("{address} {}", flow.number(&format!("{which}_port")))
        };
        let (source, destination) = (end("src"), end("dst"));
        let [packets, bytes, packets_back, bytes_back] = flow.counts();
        let there = (protocol.to_owned(), source.clone(), destination.clone());
        let back = (protocol.to_owned(), destination, source);
        for (direction, packets, bytes) in
            [(there, packets, bytes), (back, packets_back, bytes_back)]
        {
            let count = counts.entry(direction).or_default();
            *count = (count.0 + packets, count.1 + bytes);
        }
    }
    counts.retain(|_, (packets, _)| *packets > 0);
    counts
}

#[test]
fn conversations_of_public_captures_are_what_tshark_counts() {
    require!(shared, command("tshark"));
    let place = Place::new();
    let all = env::var_os("NETGLASS_TEST_ALL_CAPTURES").is_some();
    let step = if all { 1 } else { ONE_OF };
    let (mut compared, mut wrong) = (0, Vec::new());
    for path in captures().into_iter().step_by(step) {
        let captured = capture(&place, &path);
        let is_known = *captured.ledger().get("/packets/malformed/link_type") == Value::Null;
        if !is_known || OTHERWISE.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        let Some(theirs) = counted_by_tshark(&path) else { continue };
        let ours = counted_by_us(&captured.flows);
        compared += 1;
        if ours != theirs {
            let differ = |it: &&(Direction, (u64, u64))| theirs.get(&it.0) != Some(&it.1);
            let other: Vec<_> = ours.into_iter().collect();
            wrong.push((path, other.iter().find(differ).cloned()));
        }
    }
    assert!(compared > 30, "{compared}");
    assert!(wrong.is_empty(), "{} of {compared}: {wrong:#?}", wrong.len());
}
