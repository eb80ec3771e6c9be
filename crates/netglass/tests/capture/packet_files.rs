//! Packets that are written, too.

use std::process::Command;

use netglass_testing::{Namespace, Running, Signal, load_command, require, run};

use crate::{
    frames::{many, pcap, udp},
    support::{Capturing, Place, lines_of},
};

/// How many packets tshark finds in a file.
fn packets_in(place: &Place, name: &str) -> usize {
    fields(place, name, &["frame.number"]).len()
}

/// The fields of each packet, as tshark reads them.
fn fields(place: &Place, name: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields"]).arg("-r").arg(place.path(name));
    for field in fields {
        command.args(["-e", field]);
    }
    run(&mut command).lines().map(str::to_owned).collect()
}

#[test]
fn what_is_read_is_written_as_it_was() {
    require!(command("tshark"));
    let place = Place::new();
    place.capture_file(&many(300, 5), &["-w", "out.pcapng"]);
    let of =
        |name| fields(&place, name, &["frame.time_epoch", "frame.len", "ip.src", "udp.dstport"]);
    assert_eq!(of("out.pcapng"), of("in.pcap"));
    // Only what the filter matches.
    place.capture_file(&many(300, 5), &["-w", "out.pcapng", "src host 10.1.0.1"]);
    assert_eq!(packets_in(&place, "out.pcapng"), 60);
    // Nothing is a file, too.
    place.capture_file(&many(300, 5), &["-w", "out.pcapng", "port 77"]);
    assert_eq!(packets_in(&place, "out.pcapng"), 0);
}

#[test]
fn cut_packets_keep_their_length_on_the_wire() {
    require!(command("tshark"));
    let place = Place::new();
    let packet = (1000.0, udp("10.0.0.1:1", "10.0.0.2:2", 500));
    place.file("in.pcap", crate::frames::pcap_cut(100, std::slice::from_ref(&packet)));
    assert_eq!(place.capture(&["-r", "in.pcap", "-w", "out.pcapng"]).status, 0);
    let lengths = fields(&place, "out.pcapng", &["frame.len", "frame.cap_len"]);
    assert_eq!(lengths, ["542\t100"]);
}

#[test]
fn each_packet_has_its_processes_as_its_comment() {
    require!(root, command("tshark"));
    let (place, host) = (Place::new(), Namespace::new("host"));
    let options = ["-i", "lo", "-w", "out.pcapng", "--stats-interval", "200ms", "tcp"];
    let capturing = place.begin(&host, &options);
    let load = |arguments: &str| {
        let mut command = host.command(load_command());
        command.args(arguments.split_ascii_whitespace());
        let running = Running::spawn(command);
        running.wait_for_line("ready");
        running
    };
    let server = load("hold-server --listen 127.0.0.1:8080");
    let client = load("hold-clients --to 127.0.0.1:8080 --connections 1");
    capturing.wait_for_a_look();
    // It says nothing by itself; the end of the connection is known to be its own.
    let ids = (client.id(), server.id());
    drop(client);
    capturing.wait_for_a_look();
    assert_eq!(capturing.end(Signal::TERM).status, 0);
    let packets = fields(&place, "out.pcapng", &["tcp.flags.fin", "tcp.dstport", "frame.comment"]);
    let (client, server) =
        (format!("pid={} comm=netglass-load", ids.0), format!("pid={} comm=netglass-load", ids.1));
    let closing = format!("1\t8080\t{client} → {server}");
    assert!(
        packets.iter().any(|packet| *packet == closing || packet.replace("True", "1") == closing),
        "{packets:#?}"
    );
}

#[test]
fn files_are_rotated_by_size() {
    require!(command("tshark"));
    let place = Place::new();
    std::fs::create_dir(place.path("out")).unwrap();
    let captured = place.capture_file(&many(1000, 5), &["-w", "out/p.pcapng", "-C", "20k"]);
    assert_eq!(captured.ledger().packets("in_flows"), 1000);
    let names = place.files_in("out");
    assert!(names.len() > 3, "{names:?}");
    assert_eq!(names[..2], ["p.pcapng", "p.pcapng1"]);
    let packets: usize = names.iter().map(|name| packets_in(&place, &format!("out/{name}"))).sum();
    assert_eq!(packets, 1000);

    std::fs::create_dir(place.path("ring")).unwrap();
    place.capture_file(&many(1000, 5), &["-w", "ring/p.pcapng", "-C", "20k", "-W", "2"]);
    assert_eq!(place.files_in("ring"), ["p.pcapng0", "p.pcapng1"]);
}

#[test]
fn files_are_rotated_by_time() {
    require!(command("tshark"));
    let place = Place::new();
    std::fs::create_dir(place.path("out")).unwrap();
    let packets: Vec<_> =
        (0..100).map(|it| (1000.0 + f64::from(it), udp("10.0.0.1:1", "10.0.0.2:2", 5))).collect();
    let file = pcap(&packets);
    place.capture_file(&file, &["-w", "out/%H-%M-%S.pcapng", "-G", "40"]);
    let names = place.files_in("out");
    assert_eq!(names, ["00-16-40.pcapng", "00-17-20.pcapng", "00-18-00.pcapng"]);
    let counts: Vec<_> =
        names.iter().map(|name| packets_in(&place, &format!("out/{name}"))).collect();
    assert_eq!(counts, [40, 40, 20]);

    std::fs::create_dir(place.path("few")).unwrap();
    let captured =
        place.capture_file(&file, &["-w", "few/%H-%M-%S.pcapng", "-G", "40s", "-W", "1"]);
    assert_eq!(place.files_in("few"), ["00-16-40.pcapng"]);
    assert_eq!(captured.ledger().get("/packet_file/written"), 40);
    assert_eq!(captured.ledger().get("/packet_file/left_out"), 60);
}

#[test]
fn packets_go_to_standard_output_when_flows_go_elsewhere() {
    require!(command("tshark"));
    let place = Place::new();
    place.file("in.pcap", many(50, 5));
    let command = place.netglass(&["-r", "in.pcap", "-w", "-", "-o", "file:flows.json"]);
    let finished = Running::spawn(command).wait();
    assert!(finished.status.success(), "{finished:?}");
    place.file("out.pcapng", &finished.stdout);
    assert_eq!(packets_in(&place, "out.pcapng"), 50);
    assert_eq!(place.read("flows.json").lines().count(), 5);
    // Both would be mixed.
    let both = place.capture(&["-r", "in.pcap", "-w", "-"]);
    assert_eq!(both.status, 2, "{both:?}");
    assert!(both.stdout.is_empty());
}

#[test]
fn what_was_captured_can_be_read_while_it_goes_on() {
    require!(root, command("tshark"));
    let (place, host) = (Place::new(), Namespace::new("host"));
    let running = Running::spawn(place.netglass_in(
        &host,
        &[
            "-i",
            "lo",
            "-w",
            "out.pcapng",
            "--stats-format",
            "json",
            "--stats-interval",
            "200ms",
            "udp",
        ],
    ));
    let capturing = Capturing::once_ready(running);
    let socket = host.inside(|| std::net::UdpSocket::bind("127.0.0.1:9000").unwrap());
    for _ in 0..10 {
        socket.send_to(b"packet", "127.0.0.1:9000").unwrap();
    }
    capturing.wait_for_a_look();
    assert_eq!(packets_in(&place, "out.pcapng"), 10);
    assert!(!lines_of(&capturing.0.stderr(), "capture_statistics").is_empty());
    assert_eq!(capturing.end(Signal::INT).status, 0);
}
