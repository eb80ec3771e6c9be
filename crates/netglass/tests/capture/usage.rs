//! Wrong usage, and what cannot be opened.

use std::{fs, os::unix::fs::PermissionsExt as _};

use netglass_testing::{Namespace, Running, copy_program, require};

use crate::{
    frames::many,
    support::{Captured, Place},
};

#[test]
fn wrong_usage_is_status_2() {
    let place = Place::new();
    let fails = |arguments: &[&str], parts: &[&str]| {
        place.capture(arguments).assert_refused(2, parts);
    };
    fails(&[], &["nothing says where packets come from", "-i", "-r"]);
    fails(&["-i", "lo", "-r", "in.pcap"], &["not from both"]);
    fails(&["-r", "in.pcap", "-o", "stdout", "-o", "stdout"], &["standard output twice"]);
    fails(&["-r", "in.pcap", "-o", "kafka:topic"], &["kafka:topic", "file:PATH"]);
    fails(&["-r", "in.pcap", "--format", "xml"], &["'xml'", "json, table, csv"]);
    fails(&["-r", "in.pcap", "--timeout", "5"], &["--timeout", "'5'"]);
    fails(&["-r", "in.pcap", "--max-flows", "0"], &["--max-flows"]);
    fails(&["-r", "in.pcap", "--snaplen", "10"], &["--snaplen", "64..=262144"]);
    fails(&["-r", "in.pcap", "--tunnels", "both"], &["'both'", "outer, inner"]);
    fails(&["-r", "in.pcap", "-C", "1"], &["--write"]);
    fails(&["-r", "in.pcap", "-w", "x", "-W", "0"], &["'0'"]);
}

#[test]
fn options_come_from_the_environment_and_the_file_too() {
    let place = Place::new();
    place.file("in.pcap", many(100, 10));
    let mut command = place.netglass(&[]);
    command.env("NETGLASS_READ", "in.pcap").env("NETGLASS_CAPTURE_FILTER", "host 10.1.0.1");
    let captured = Captured::of(Running::spawn(command).wait());
    assert_eq!((captured.status, captured.flows.len()), (0, 1), "{captured:?}");
    place.file("other.toml", b"[capture]\nmax-flows = 3\nstats-format = 'json'");
    let mut command = place.netglass(&["-r", "in.pcap"]);
    command.env("NETGLASS_CONFIG", place.path("other.toml"));
    let captured = Captured::of(Running::spawn(command).wait());
    assert!(captured.ledger().get("/evicted").as_u64().unwrap() > 0, "{captured:?}");
}

#[test]
fn an_interface_that_is_missing_is_named() {
    require!(root);
    let (place, host) = (Place::new(), Namespace::new("host"));
    let command = place.netglass_in(&host, &["-i", "eth77"]);
    Captured::of(Running::spawn(command).wait()).assert_refused(1, &["eth77"]);
}

#[test]
fn who_may_not_capture_is_told_what_it_takes() {
    require!(root, command("setpriv"));
    let (place, host) = (Place::new(), Namespace::new("host"));
    // Where everybody may run it.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("netglass");
    copy_program(env!("CARGO_BIN_EXE_netglass"), &program);
    let mut command = host.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(&program);
    let mut command = place.capturing(command, ["-i", "lo"]);
    command.current_dir(directory.path()).env_remove("NETGLASS_CONFIG");
    command.env("HOME", directory.path());
    let captured = Captured::of(Running::spawn(command).wait());
    captured.assert_refused(1, &["cannot capture packets", "CAP_NET_RAW"]);
}

#[test]
fn the_file_that_is_read_is_not_written_over() {
    let place = Place::new();
    let packets = many(10, 1);
    place.file("in.pcap", &packets);
    std::os::unix::fs::symlink("in.pcap", place.path("link.pcap")).unwrap();
    for to in ["in.pcap", "./in.pcap", "link.pcap"] {
        let captured = place.capture(&["-r", "in.pcap", "-w", to]);
        captured.assert_refused(1, &["is read: writing to it would destroy it"]);
        assert_eq!(fs::read(place.path("in.pcap")).unwrap(), packets);
    }
}
