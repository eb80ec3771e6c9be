//! Conversations that the kernel adds up: the same as those of packets from a ring.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv6Addr, Shutdown, SocketAddrV6, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use netglass_testing::{Namespace, Running, Signal, require};

use crate::{
    frames::many,
    interfaces::{Load, Network, size},
    support::{Captured, Flow, Ledger, Place},
};

const ENGINE: [&str; 2] = ["--engine", "kernel"];

#[test]
fn a_known_load_balances_to_the_packet() {
    require!(root, ebpf);
    let (place, network) = (Place::new(), Network::new());
    let mut load = network.load(50);
    // What the sender's end sees as it goes, and the server's end as it comes.
    for (namespace, device) in
        [(&network.client, &network.link.first), (&network.server, &network.link.second)]
    {
        let options = [&ENGINE[..], &["-i", device, "--collect-interval", "50ms"]].concat();
        let capturing = place.begin(namespace, &options);
        load.send(20_000);
        // It collects what the kernel still has for it.
        let captured = capturing.end(Signal::TERM);
        assert_eq!(captured.status, 0, "{captured:?}");
        let ledger = captured.ledger();
        let others: u64 = captured
            .flows
            .iter()
            .filter(|flow| !load.ends().contains(&flow.ends()))
            .map(|flow| flow.number("src_packets") + flow.number("dst_packets"))
            .sum();
        assert_eq!(ledger.packets("in_flows"), 20_000 + others, "{captured:?}");
        assert_eq!((ledger.packets("dropped_by_kernel"), ledger.malformed()), (0, 0));
        for ends in load.ends() {
            let flow = captured.flow(&ends);
            assert_eq!(flow.counts(), [400, size(400), 0, 0]);
            assert_eq!((flow.text("interface"), flow.text("status")), (device.as_str(), "init"));
        }
    }
}

#[test]
fn what_there_is_no_room_for_is_counted_to_the_packet() {
    require!(root, ebpf);
    let (place, network) = (Place::new(), Network::new());
    for host in [&network.client, &network.server] {
        // What they say by themselves would be in the table too.
        host.sysctl("net.ipv6.conf.all.disable_ipv6", "1");
    }
    let mut load = network.load(50);
    let device = &network.link.second;
    // It is not collected before the end, but for once when half of the table is taken.
    let room = ["--max-kernel-flows", "10", "--collect-interval", "1h"];
    let options = [&ENGINE[..], &["-i", device], &room].concat();
    let capturing = place.begin(&network.server, &options);
    capturing.0.signal(Signal::STOP);
    load.send(20_000);
    capturing.0.signal(Signal::CONT);
    let captured = capturing.end(Signal::INT);
    let ledger = captured.ledger();
    let dropped = ledger.packets("dropped_by_kernel");
    assert!(dropped > 0, "{ledger:?}");
    assert_eq!(ledger.get("/packets/dropped_reasons/table_full").as_u64(), Some(dropped));
    let counted: u64 = captured.flows.iter().map(|flow| flow.number("src_packets")).sum();
    assert_eq!((ledger.packets("in_flows"), counted + dropped), (counted, 20_000), "{captured:?}");
    let captured = {
        let capturing = place.begin(&network.server, &options);
        // Whoever is not kept from it collects in time.
        load.send(2_000);
        capturing.end(Signal::INT)
    };
    assert_eq!(captured.status, 0, "{captured:?}");
}

#[test]
fn any_is_all_interfaces_and_patterns_are_some() {
    require!(root, ebpf);
    let (place, network) = (Place::new(), Network::new());
    let client = &network.client;
    let (mut load, mut local) =
        (network.load(1), Load::new(client, client, "127.0.0.1", "127.0.0.1:9000", 1));
    let mut seen = |interfaces: &str| {
        let capturing = place.begin(client, &[&ENGINE[..], &["-i", interfaces]].concat());
        load.send(100);
        local.send(100);
        let captured = capturing.end(Signal::TERM);
        let packets = |load: &Load| {
            let ends = &load.ends()[0];
            let flows = captured.flows.iter().filter(|flow| flow.ends() == *ends);
            flows.map(|flow| flow.number("src_packets")).sum::<u64>()
        };
        [packets(&load), packets(&local)]
    };
    // Once each, also on loopback, where each packet goes out and comes in.
    assert_eq!(seen("any"), [100, 100]);
    assert_eq!(seen("lo"), [0, 100]);
    assert_eq!(seen("veth*"), [100, 0]);
    assert_eq!(seen("veth*,lo"), [100, 100]);
}

#[test]
fn an_interface_that_goes_and_comes_back_is_told_and_counted_on() {
    require!(root, ebpf);
    let (place, host) = (Place::new(), Namespace::new("host"));
    let make = || {
        host.ip("link add veth7 type veth peer name other
             link set other up
             link set veth7 arp off up
             address add 10.9.22.1/24 dev veth7");
    };
    let send = |count: u64| {
        let socket = host.inside(|| UdpSocket::bind("10.9.22.1:4000").unwrap());
        for number in 0..count {
            socket.send_to(&number.to_be_bytes(), "10.9.22.2:53").unwrap();
        }
    };
    make();
    let capturing = place.begin(&host, &[&ENGINE[..], &["-i", "veth7"]].concat());
    send(10);
    host.ip("link set veth7 down");
    capturing.0.wait_for_line("veth7: it is down");
    host.ip("link set veth7 up");
    capturing.0.wait_for_line("veth7: it is up again");
    send(20);
    host.ip("link delete veth7");
    capturing.0.wait_for_line("veth7: it is gone");
    make();
    capturing.0.wait_for_lines("veth7: its packets are captured", 2);
    send(40);
    let captured: Captured = capturing.end(Signal::TERM);
    assert_eq!(captured.status, 0, "{captured:?}");
    let ends = "10.9.22.1:4000 -> 10.9.22.2:53";
    let flows = captured.flows.iter().filter(|flow| flow.ends() == ends);
    assert_eq!(flows.map(|flow| flow.number("src_packets")).sum::<u64>(), 70, "{captured:?}");
    let _: &Ledger = captured.ledger();
}

/// What both engines tell of a conversation.
fn told(flow: &Flow) -> BTreeMap<&'static str, String> {
    let columns = [
        "src_packets",
        "src_bytes",
        "dst_packets",
        "dst_bytes",
        "status",
        "end_reason",
        "interface",
        "tcp_state",
        "src_tcp_flags",
        "dst_tcp_flags",
    ];
    columns.into_iter().map(|column| (column, flow.get(column).to_string())).collect()
}

#[test]
fn both_engines_tell_the_same_of_the_same_traffic() {
    require!(root, ebpf);
    let (place, other_place, network) = (Place::new(), Place::new(), Network::new());
    let (client, server) = (&network.client, &network.server);
    let device = &network.link.second;
    for host in [client, server] {
        // A second segment or a joined one depends on who looks.
        host.ip(&format!(
            "link set {} gso_max_segs 1",
            if std::ptr::eq(host, client) { &network.link.first } else { device }
        ));
    }
    server.ip(&format!("address add fd00:9::2/64 nodad dev {device}"));
    client.ip(&format!("address add fd00:9::1/64 nodad dev {}", network.link.first));
    let in_kernel = [&ENGINE[..], &["-i", device, "--collect-interval", "100ms"]].concat();
    let kernel = place.begin(server, &in_kernel);
    let ring = other_place.begin(server, &["-i", device]);
    let listener = server.inside(|| TcpListener::bind("[::]:8080").unwrap());
    let echo = thread::spawn(move || {
        for _ in 0..20 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
        }
    });
    client.inside(|| {
        for number in 0..20_usize {
            let to = if number % 2 == 0 { "10.9.21.2:8080" } else { "[fd00:9::2]:8080" };
            let mut stream = TcpStream::connect(to).unwrap();
            stream.write_all(&vec![7; 1000 * number]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len(), 1000 * number);
        }
        for port in 0..5 {
            TcpStream::connect(("10.9.21.2", 9100 + port)).unwrap_err();
        }
    });
    echo.join().unwrap();
    // In fragments, of both versions.
    let receiver = server.inside(|| UdpSocket::bind("[::]:9001").unwrap());
    receiver.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let six = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0);
    let senders =
        client.inside(|| [UdpSocket::bind("0.0.0.0:0").unwrap(), UdpSocket::bind(six).unwrap()]);
    client.inside(|| {
        for (sender, to) in senders.iter().zip(["10.9.21.2:9001", "[fd00:9::2]:9001"]) {
            for length in [10, 3000, 9000] {
                sender.send_to(&vec![1; length], to).unwrap();
                receiver.recv(&mut [0; 10_000]).unwrap();
            }
        }
    });
    // Nobody listens: the answer is one of ICMP.
    client.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect("10.9.21.2:9002").unwrap();
        socket.send(b"?").unwrap();
        socket.recv(&mut [0; 10]).unwrap_err();
    });
    let (ring, kernel) = (ring.end(Signal::TERM), kernel.end(Signal::TERM));
    // What the hosts say to each other by themselves may come before one of them looked.
    let of_interest = |captured: &Captured| -> BTreeMap<String, _> {
        let flows = captured.flows.iter().filter(|flow| flow.text("protocol") != "icmp6");
        flows.map(|flow| (flow.ends(), told(flow))).collect()
    };
    let (of_ring, of_kernel) = (of_interest(&ring), of_interest(&kernel));
    assert_eq!(of_ring.len(), 20 + 5 + 3 + 1, "{of_ring:#?}");
    assert_eq!(of_ring, of_kernel);
    for captured in [&ring, &kernel] {
        assert_eq!(captured.ledger().get("/unmatched_fragments"), 0);
    }
    let connection = kernel.flows.iter().find(|flow| flow.text("tcp_state") == "SF").unwrap();
    assert!(connection.get("tcp_handshake_rtt_us").is_u64(), "{connection:?}");
    assert!(connection.get("src_retransmissions").is_null(), "{connection:?}");
}

#[test]
fn what_takes_a_look_at_packets_is_refused() {
    let place = Place::new();
    place.file("in.pcap", many(10, 1));
    let fails = |arguments: &[&str], part: &str| {
        let captured = place.capture(&[&ENGINE[..], arguments].concat());
        assert_eq!(captured.status, 2, "{captured:?}");
        assert!(captured.stderr.contains(part), "{part:?} is missing in {captured:?}");
        assert!(captured.stderr.contains("--engine ring"), "{captured:?}");
    };
    fails(&["-r", "in.pcap"], "files (-r)");
    fails(&["-i", "lo", "tcp port 80"], "filter");
    fails(&["-i", "lo", "-w", "out.pcapng"], "(-w)");
    fails(&["-i", "lo", "--tunnels", "inner"], "tunnels");
}

#[test]
fn without_rights_it_says_which_are_missing() {
    require!(root, ebpf);
    let (place, host) = (Place::new(), Namespace::new("host"));
    let mut command = host.command("setpriv");
    command.args(["--bounding-set", "-all,+net_raw", "--inh-caps", "-all"]);
    command.arg(env!("CARGO_BIN_EXE_netglass"));
    let command = place.capturing(command, [&ENGINE[..], &["-i", "lo"]].concat());
    let captured = Captured::of(Running::spawn(command).wait());
    assert_eq!(captured.status, 1, "{captured:?}");
    for part in ["CAP_BPF", "CAP_NET_ADMIN", "netglass doctor"] {
        assert!(captured.stderr.contains(part), "{part:?} is missing in {captured:?}");
    }
}
