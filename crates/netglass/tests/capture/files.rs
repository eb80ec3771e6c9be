//! Packets of files: how they are put together, and files that are not as they should be.

use std::{
    fs::File,
    process::{Command, Stdio},
};

use netglass_testing::{Running, require};

use crate::{
    frames::{ACK, FIN, SYN, UDP_HEADERS, in_gre, many, pcap, pcap_cut, tcp, udp},
    support::{Captured, Flow, Place},
};

const CLIENT: &str = "10.0.0.1:4000";
const SERVER: &str = "10.0.0.2:53";
const QUESTION: &str = "10.0.0.1:4000 -> 10.0.0.2:53";

/// A question at a moment, of 30 bytes, and one with its answer, of 100.
fn question(at: f64) -> (f64, Vec<u8>) {
    (at, udp(CLIENT, SERVER, 30))
}

fn answered(at: f64) -> [(f64, Vec<u8>); 2] {
    [question(at), (at + 0.5, udp(SERVER, CLIENT, 100))]
}

fn bytes(packets: usize, payload: usize) -> u64 {
    u64::try_from(packets * (UDP_HEADERS + payload)).unwrap()
}

#[test]
fn both_directions_are_one_record_with_packets_and_bytes_on_the_wire() {
    let place = Place::new();
    let packets: Vec<_> = (0..3).flat_map(|it| answered(1000.0 + f64::from(it))).collect();
    // However little of them was captured.
    for file in [pcap(&packets), pcap_cut(UDP_HEADERS, &packets)] {
        let captured = place.capture_file(&file, &[]);
        let flow = captured.flow(QUESTION);
        assert_eq!(flow.counts(), [3, bytes(3, 30), 3, bytes(3, 100)]);
        assert_eq!((flow.text("protocol"), flow.text("status")), ("udp", "established"));
        assert_eq!(flow.text("end_reason"), "capture_end");
        assert_eq!(flow.text("first_seen_at"), "1970-01-01T00:16:40.000000000Z");
        assert_eq!(flow.text("last_seen_at"), "1970-01-01T00:16:42.500000000Z");
        let ledger = captured.ledger();
        assert_eq!((ledger.packets("seen"), ledger.packets("in_flows")), (6, 6));
        assert_eq!(ledger.output("standard output", "stored"), 1);
    }
}

#[test]
fn a_connection_of_tcp_ends_when_it_is_closed() {
    let place = Place::new();
    let (client, server) = ("10.0.0.1:40000", "10.0.0.2:80");
    let connection = |at: f64, x: u32, y: u32| {
        vec![
            (at, tcp(client, server, SYN, [x, 0], 0)),
            (at + 0.010, tcp(server, client, SYN | ACK, [y, x + 1], 0)),
            (at + 0.025, tcp(client, server, ACK, [x + 1, y + 1], 0)),
            (at + 0.030, tcp(client, server, ACK, [x + 1, y + 1], 100)),
            (at + 0.031, tcp(client, server, ACK, [x + 1, y + 1], 100)),
            (at + 0.040, tcp(server, client, FIN | ACK, [y + 1, x + 101], 0)),
            (at + 0.050, tcp(client, server, FIN | ACK, [x + 101, y + 2], 0)),
            (at + 0.060, tcp(server, client, ACK, [y + 2, x + 102], 0)),
        ]
    };
    let file = pcap(&[connection(1000.0, 10, 50), connection(1001.0, 9000, 7000)].concat());
    let captured = place.capture_file(&file, &[]);
    assert_eq!(captured.flows.len(), 2, "{captured:#?}");
    for flow in &captured.flows {
        assert_eq!(flow.counts(), [5, 5 * 54 + 200, 3, 3 * 54]);
        assert_eq!(flow.text("tcp_state"), "SF");
        assert_eq!((flow.text("src_tcp_flags"), flow.text("dst_tcp_flags")), ("ASF", "ASF"));
        assert_eq!(flow.number("tcp_handshake_rtt_us"), 25_000);
        assert_eq!(flow.number("src_retransmissions"), 1);
        assert_eq!(flow.number("dst_retransmissions"), 0);
    }
    assert_eq!(captured.flows[0].text("end_reason"), "closed");
    let captured = place.capture_file(&file, &["--tcp-close", "false"]);
    assert_eq!(captured.flow("10.0.0.1:40000 -> 10.0.0.2:80").counts()[0], 10);
}

#[test]
fn time_is_that_of_the_packets() {
    let place = Place::new();
    let file = pcap(&[question(1000.0), question(1119.0), question(1240.0), question(1241.0)]);
    let idle = |arguments: &[&str]| {
        let captured = place.capture_file(&file, arguments);
        let of = |it: &Flow| (it.number("src_packets"), it.text("end_reason").to_owned());
        captured.flows.iter().map(of).collect::<Vec<_>>()
    };
    let ended = |parts: &[(u64, &str)]| {
        parts.iter().map(|(count, reason)| (*count, (*reason).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(idle(&[]), ended(&[(2, "idle"), (2, "capture_end")]));
    assert_eq!(idle(&["--timeout", "10m"]), ended(&[(4, "capture_end")]));
    assert_eq!(idle(&["--timeout", "10s"]), ended(&[(1, "idle"), (1, "idle"), (2, "capture_end")]));
    assert_eq!(
        idle(&["--timeout", "10m", "--active-timeout", "100s"]),
        ended(&[(1, "active"), (1, "active"), (2, "capture_end")])
    );
}

#[test]
fn packets_that_are_late_lose_nothing() {
    let place = Place::new();
    let times = [1000.0, 3000.0, 999.0, 2000.0, 1000.5, 3000.5];
    let file = pcap(&times.map(question));
    let captured = place.capture_file(&file, &[]);
    let packets: u64 = captured.flows.iter().map(|flow| flow.number("src_packets")).sum();
    assert_eq!((packets, captured.ledger().packets("in_flows")), (6, 6));
    for flow in &captured.flows {
        assert!(flow.text("first_seen_at") <= flow.text("last_seen_at"), "{flow:?}");
    }
}

#[test]
fn the_longest_idle_conversation_makes_way_and_is_counted() {
    let place = Place::new();
    let captured = place.capture_file(&many(1000, 100), &["--max-flows", "10"]);
    let evicted = captured.flows.iter().filter(|flow| flow.text("end_reason") == "evicted").count();
    assert_eq!(evicted, captured.flows.len() - 10);
    let ledger = captured.ledger();
    assert_eq!(ledger.get("/evicted").as_u64(), u64::try_from(evicted).ok());
    assert_eq!(ledger.packets("in_flows"), 1000);
    let logged: u64 = captured.flows.iter().map(|flow| flow.number("src_packets")).sum();
    assert_eq!(logged, 1000);
    let text = Running::spawn(place.netglass(&["-r", "in.pcap", "--max-flows", "10"])).wait();
    let text = String::from_utf8(text.stderr).unwrap();
    assert!(text.contains(&format!("{evicted} conversations made way")), "{text}");
}

#[test]
fn a_tunnel_is_one_conversation_or_many() {
    let place = Place::new();
    let through = |frame: &[u8]| in_gre("192.0.2.1", "192.0.2.2", frame);
    let clients = ["10.0.0.1:4000", "10.0.0.3:4000"];
    let file = pcap(&clients.map(|client| (1000.0, through(&udp(client, SERVER, 30)))));
    let captured = place.capture_file(&file, &[]);
    let flow = captured.flow("192.0.2.1:0 -> 192.0.2.2:0");
    assert_eq!(flow.text("protocol"), "47");
    let length = bytes(1, 30) + 24;
    assert_eq!(flow.counts(), [2, 2 * length, 0, 0]);
    let captured = place.capture_file(&file, &["--tunnels", "inner"]);
    assert_eq!(captured.flow(QUESTION).counts(), [1, length, 0, 0]);
    assert_eq!(captured.flow("10.0.0.3:4000 -> 10.0.0.2:53").counts(), [1, length, 0, 0]);
}

#[test]
fn what_the_filter_does_not_match_is_counted() {
    let place = Place::new();
    let file = pcap(&[question(1000.0), (1001.0, udp("10.0.0.9:1", "10.0.0.8:2", 9))]);
    let captured = place.capture_file(&file, &["udp and port 53"]);
    assert_eq!(captured.flows.len(), 1, "{captured:?}");
    assert_eq!(captured.flow(QUESTION).counts()[0], 1);
    assert_eq!(captured.ledger().packets("filtered"), 1);
    let wrong = place.capture(&["-r", "in.pcap", "port of call"]);
    assert_ne!(wrong.status, 0);
    assert!(wrong.stderr.contains("port of call"), "{wrong:?}");
    assert!(wrong.flows.is_empty());
}

#[test]
fn what_is_no_conversation_is_counted_by_reason() {
    let place = Place::new();
    let whole = udp(CLIENT, SERVER, 30);
    let mut arp = whole.clone();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let mut version = whole.clone();
    version[14] = 0x95;
    let mut length = whole.clone();
    length[17] = 9;
    let cut = whole[..20].to_vec();
    let file = pcap(&[whole, arp, version, length, cut].map(|frame| (1000.0, frame)));
    let captured = place.capture_file(&file, &[]);
    let ledger = captured.ledger();
    assert_eq!((ledger.packets("in_flows"), ledger.packets("not_ip")), (1, 1), "{ledger:?}");
    for reason in ["version", "length", "truncated"] {
        assert_eq!(ledger.get(&format!("/packets/malformed/{reason}")), 1, "{ledger:?}");
    }
}

#[test]
fn a_file_that_ends_too_early_is_told_and_what_came_before_is_logged() {
    let place = Place::new();
    let whole = pcap(&answered(1000.0));
    for cut in [1, 100] {
        place.file("cut.pcap", &whole[..whole.len() - cut]);
        let captured = place.capture(&["-r", "cut.pcap"]);
        assert_eq!(captured.status, 1, "{captured:?}");
        assert!(captured.stderr.contains("cut.pcap"), "{captured:?}");
        assert_eq!(captured.flow(QUESTION).counts(), [1, bytes(1, 30), 0, 0]);
        assert_eq!(captured.ledger().packets("seen"), 1);
    }
}

#[test]
fn a_file_that_is_none_does_not_stop_the_others() {
    let place = Place::new();
    place.file("good.pcap", pcap(&answered(1000.0)));
    place.file("garbage", b"there are no packets in here, whatever its name is, and never were");
    place.file("empty", b"");
    for bad in ["garbage", "empty", "missing"] {
        let captured = place.capture(&["-r", bad, "-r", "good.pcap"]);
        assert_eq!(captured.status, 1, "{captured:?}");
        assert!(captured.stderr.contains(bad), "{captured:?}");
        assert_eq!(captured.flow(QUESTION).counts()[0], 1);
    }
    // One with its header alone is whole.
    let captured = place.capture_file(&pcap(&[]), &[]);
    assert_eq!((captured.flows.len(), captured.ledger().packets("seen")), (0, 0));
}

#[test]
fn several_files_are_read_one_after_the_other() {
    let place = Place::new();
    place.file("one.pcap", pcap(&answered(1000.0)));
    place.file("two.pcap", pcap(&answered(1010.0)));
    let captured = place.capture(&["-r", "one.pcap", "-r", "two.pcap"]);
    assert_eq!(captured.flow(QUESTION).counts(), [2, bytes(2, 30), 2, bytes(2, 100)]);
}

#[test]
fn a_large_file_is_looked_at_in_memory_as_it_would_be_read() {
    let place = Place::new();
    let (client, server) = ("10.0.0.1:40000", "10.0.0.2:80");
    let packets: Vec<_> = (0..12_000)
        .map(|number: u32| {
            let mut frame = match number % 7 {
                0 => tcp(client, server, ACK, [number, 1], 700),
                1 => in_gre("192.0.2.1", "192.0.2.2", &udp(CLIENT, SERVER, 300)),
                it => udp(&format!("10.0.{it}.1:4000"), SERVER, 200 * it as usize - 300),
            };
            match number % 500 {
                // Of ARP, in fragments, of another version.
                3 => frame[12..14].copy_from_slice(&[0x08, 0x06]),
                4 => frame[20..22].copy_from_slice(&[0x00, 0x10]),
                5 => frame[14] = 0x95,
                _ => {}
            }
            (1000.0 + f64::from(number) / 100.0, frame)
        })
        .collect();
    place.file("large.pcap", pcap(&packets));
    let told = |arguments: &[&str]| {
        let captured = place.capture(arguments);
        assert_eq!(captured.status, 0, "{captured:?}");
        let mut flows: Vec<_> = (captured.flows.iter())
            .map(|it| (it.ends(), it.counts(), it.text("first_seen_at").to_owned()))
            .collect();
        flows.sort();
        let ledger = captured.ledger();
        let packets = ["seen", "in_flows", "not_ip"].map(|it| ledger.packets(it));
        (flows, packets, ledger.malformed())
    };
    for tunnels in ["outer", "inner"] {
        for threads in ["1", "2"] {
            let options = ["-r", "large.pcap", "--tunnels", tunnels, "--threads", threads];
            // Who filters asks for whole packets.
            let read = told(&[&options[..], &["greater 0"]].concat());
            assert_eq!(read.1[0], 12_000);
            assert_eq!(told(&options), read, "{options:?}");
        }
    }
}

#[test]
fn two_threads_write_what_one_writes() {
    let place = Place::new();
    // Conversations of four packets, which end or fall silent; now and then a packet is late.
    let packets: Vec<_> = (0..60_000_u32)
        .map(|number| {
            let (flow, step) = (number / 400 * 100 + number % 100, number / 100 % 4);
            let client = format!("10.{}.{}.1:{}", flow >> 8 & 0xff, flow & 0xff, 1024 + flow / 3);
            let (server, is_answer) = ("192.0.2.1:443", step == 1);
            let (from, to) = if is_answer { (server, &*client) } else { (&*client, server) };
            let frame = match (flow % 3, step) {
                (0, _) => udp(from, to, 40 + step as usize),
                (_, 0) => tcp(from, to, SYN, [flow, 0], 0),
                (_, 1) => tcp(from, to, SYN | ACK, [9, flow + 1], 0),
                (1, 3) => tcp(from, to, FIN | ACK, [flow + 1, 10], 0),
                _ => tcp(from, to, ACK, [flow + 1, 10], 100),
            };
            let late = if number % 50 == 0 { 3.0 } else { 0.0 };
            (1000.0 + f64::from(number) / 150.0 - late, frame)
        })
        .collect();
    place.file("many.pcap", pcap(&packets));
    let told = |arguments: &[&str]| {
        let captured = place.capture(&[&["-r", "many.pcap"], arguments].concat());
        assert_eq!(captured.status, 0, "{captured:?}");
        assert_eq!(captured.ledger().packets("in_flows"), 60_000);
        let mut flows = captured.flows;
        assert_eq!(flows.iter().flat_map(Flow::counts).step_by(2).sum::<u64>(), 60_000);
        flows.iter_mut().for_each(Flow::forget_id);
        let mut flows: Vec<_> = flows.iter().map(|flow| format!("{flow:?}")).collect();
        flows.sort();
        flows
    };
    let one = told(&["--threads", "1"]);
    let two = told(&["--threads", "2"]);
    assert_eq!(one.len(), two.len());
    for (one, two) in one.iter().zip(&two) {
        assert_eq!(one, two);
    }
    // Who makes way is known to a part of the idle timeout, but not how many there are.
    for threads in ["1", "2"] {
        let few = told(&["--threads", threads, "--max-flows", "1000"]);
        assert!(few.iter().any(|flow| flow.contains("evicted")));
    }
}

#[test]
fn packed_files_and_standard_input_are_read_alike() {
    require!(command("gzip"), command("zstd"));
    let place = Place::new();
    let path = place.file("plain.pcap", many(500, 7));
    let counts = |captured: &Captured| {
        assert_eq!(captured.status, 0, "{captured:?}");
        captured.flows.iter().map(|flow| (flow.ends(), flow.counts())).collect::<Vec<_>>()
    };
    let plain = counts(&place.capture(&["-r", "plain.pcap"]));
    assert_eq!(plain.len(), 7);
    for packer in ["gzip", "zstd"] {
        let packed = place.path("packed");
        let output = File::create(&packed).unwrap();
        let mut command = Command::new(packer);
        assert!(command.arg("-c").arg(&path).stdout(output).status().unwrap().success());
        assert_eq!(counts(&place.capture(&["-r", "packed"])), plain, "{packer}");
        for input in [&packed, &path] {
            let mut command = place.netglass(&["-r", "-", "--stats-format", "json"]);
            let input = Stdio::from(File::open(input).unwrap());
            let output = command.stdin(input).output().unwrap();
            let stdout = crate::support::read_flows(&output.stdout);
            let read: Vec<_> = stdout.iter().map(|flow| (flow.ends(), flow.counts())).collect();
            assert_eq!(read, plain, "{packer}");
        }
        // Half of it is told, too.
        let whole = std::fs::read(&packed).unwrap();
        place.file("half", &whole[..whole.len() / 2]);
        let half = place.capture(&["-r", "half"]);
        assert_eq!(half.status, 1, "{half:?}");
        assert!(half.stderr.contains("half"), "{half:?}");
    }
}

#[test]
fn a_filter_that_a_link_type_cannot_have_does_not_stop_the_others() {
    let place = Place::new();
    let frames = many(10, 1);
    // The same without link headers (LINKTYPE_RAW), which have no addresses of Ethernet.
    let mut bare = frames.clone();
    bare[20..24].copy_from_slice(&101_u32.to_le_bytes());
    place.file("bare.pcap", &bare);
    place.file("frames.pcap", &frames);
    let filter = "ether src 02:00:00:00:00:01";
    let captured = place.capture(&["-r", "bare.pcap", "-r", "frames.pcap", filter]);
    assert_eq!(captured.status, 1, "{captured:?}");
    assert!(captured.stderr.contains(filter), "{captured:?}");
    assert_eq!(captured.ledger().packets("in_flows"), 10, "{captured:?}");
}
