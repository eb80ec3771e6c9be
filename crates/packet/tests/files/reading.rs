//! Captures of others, read.

use std::path::PathBuf;

use netglass_testing::require;

use crate::support::{captures, fields, read_all, run};

/// How many of the captures are compared packet by packet, which takes a process for each.
const EVERY: usize = 40;

/// Captures with packets whose fraction of a second is one or more: what Wireshark makes of that
/// is no time.
const DAMAGED_TIMES: [&str; 7] = [
    "fuzz-2021-06-07-c6c72a0a56.pcap",
    "fuzz-2021-10-13.pcap",
    "atm-oam-loopback-print-overrun.pcap",
    "olsr-oobr-2.pcap",
    "pim_header_asan-2.pcap",
    "timestamp_invalid_micro.pcap",
    "timestamp_invalid_nano.pcap",
];

/// Captures of `SunATM`: to Wireshark the first four bytes of a packet are none of it.
const WITH_PSEUDO_HEADER: [&str; 2] =
    ["atm-heapoverflow.pcap", "atm-oam-loopback-print-overrun.pcap"];

#[derive(Debug, Default)]
struct Summary {
    packets: u64,
    bytes: u64,
    /// In microseconds.
    first: i64,
    last: i64,
}

#[test]
fn all_captures_have_the_packets_bytes_and_times_that_capinfos_counts() {
    require!(shared, command("capinfos"));
    let captures = captures();
    let files: Vec<_> = captures.iter().map(PathBuf::as_path).collect();
    let output = run("capinfos", &["-T", "-r", "-c", "-d", "-a", "-e", "-S", "-K"], &files);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut compared = 0;
    let mut different = Vec::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        let [file, packets, bytes, first, last] = fields[..] else { panic!("{line}") };
        // Some captures have no packets, so no times.
        let expected = Summary {
            packets: packets.parse().unwrap(),
            bytes: bytes.parse().unwrap(),
            first: microseconds(first),
            last: microseconds(last),
        };
        let mut times = Vec::new();
        let mut found = Summary::default();
        // What ends with an error is compared up to there.
        let _ = read_all(file.as_ref(), |packet| {
            found.packets += 1;
            found.bytes += u64::from(packet.wire_length);
            times.push(packet.at.as_nanoseconds().div_euclid(1_000));
        });
        found.first = times.iter().min().copied().unwrap_or_default();
        found.last = times.iter().max().copied().unwrap_or_default();
        let is_of = |names: &[&str]| names.iter().any(|name| file.ends_with(name));
        let times =
            is_of(&DAMAGED_TIMES) || (found.first, found.last) == (expected.first, expected.last);
        let pseudo_headers = if is_of(&WITH_PSEUDO_HEADER) { 4 * found.packets } else { 0 };
        compared += 1;
        if !times
            || (found.packets, found.bytes) != (expected.packets, expected.bytes + pseudo_headers)
        {
            different.push(format!("{file}: {found:?} instead of {expected:?}"));
        }
    }
    assert!(compared > 1_000, "{compared}");
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn microseconds(seconds: &str) -> i64 {
    let (whole, fraction) = seconds.split_once('.').unwrap_or(("0", "0"));
    let fraction = format!("{fraction:0<6}");
    whole.parse::<i64>().unwrap() * 1_000_000 + fraction[..6].parse::<i64>().unwrap()
}

#[test]
fn packets_have_the_times_lengths_and_interfaces_that_tshark_tells() {
    require!(shared, command("tshark"));
    let (mut compared, mut different) = (0, Vec::new());
    for file in captures().iter().step_by(EVERY) {
        let names = ["frame.time_epoch", "frame.len", "frame.cap_len", "frame.interface_id"];
        let expected = fields(file, &names);
        // Wireshark does not know the link types of some.
        if expected.is_empty() {
            continue;
        }
        compared += 1;
        let mut found = Vec::new();
        let _ = read_all(file, |packet| {
            let at = packet.at.as_nanoseconds();
            let (seconds, rest) = (at.div_euclid(1_000_000_000), at.rem_euclid(1_000_000_000));
            found.push([
                format!("{seconds}.{rest:09}"),
                packet.wire_length.to_string(),
                packet.bytes.len().to_string(),
                packet.interface.to_string(),
            ]);
        });
        let differs = found.len() != expected.len()
            || found.iter().zip(&expected).any(|(found, expected)| {
                // A format without interfaces has none in Wireshark either.
                let mut fields = found.iter().zip(expected);
                fields.any(|(found, expected)| found != expected && !expected.is_empty())
            });
        if differs {
            different.push(format!("{}", file.display()));
        }
    }
    assert!(compared > 20, "{compared}");
    assert!(different.is_empty(), "{}", different.join("\n"));
}
