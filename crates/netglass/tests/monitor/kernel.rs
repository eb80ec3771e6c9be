//! What the kernel drops, and what comes by, on a network of namespaces.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use netglass_testing::{Link, Namespace, Running, Signal, link, require, wait_for};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket, sockopt};
use serde_json::Value;

use crate::support::{Ended, Place};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 81, 0, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 82, 0, 2);

/// A client and a server with a router between them.
struct Network {
    client: Namespace,
    router: Namespace,
    server: Namespace,
    near: Link,
    far: Link,
    place: Place,
}

impl Network {
    fn new() -> Self {
        let [client, router, server] = ["client", "router", "server"].map(Namespace::new);
        let near = link(&client, "10.81.0.2/24", &router, "10.81.0.1/24");
        let far = link(&router, "10.82.0.1/24", &server, "10.82.0.2/24");
        router.forward();
        client.add_route("default", "10.81.0.1");
        server.add_route("default", "10.82.0.1");
        Self { client, router, server, near, far, place: Place::new() }
    }

    /// `netglass monitor --kernel -j` on the network alone, as soon as it tells of packets.
    fn monitor(&self, arguments: &[&str]) -> Running {
        let names = [&self.client, &self.router, &self.server].map(Namespace::name).join(",");
        let common = ["--kernel", "--netns", &names];
        let running = Running::spawn(self.place.netglass(&[&common, arguments].concat()));
        running.wait_for_line("the kernel tells of packets in 3 network namespaces");
        running
    }
}

/// Waits for a line of JSON that is as wanted.
#[track_caller]
fn wait_for_object(running: &Running, is_wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for(|| {
        let stdout = String::from_utf8(running.stdout()).unwrap();
        let whole = stdout.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut objects = whole.lines().map(|line| serde_json::from_str(line).unwrap());
        objects.find(|object| is_wanted(object))
    })
}

/// Whether it is a drop of a packet with this in its summary.
fn is_drop_of(object: &Value, connection: &str) -> bool {
    let summary = object["packet"]["connection"].as_str().unwrap_or_default();
    object["type"] == "drop" && summary.contains(connection)
}

#[track_caller]
fn end(running: Running) -> Ended {
    running.signal(Signal::INT);
    let ended = Ended::of(running.wait());
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_balance(&ended);
    ended
}

/// What the kernel saw is what was told, filtered out, or lost, and what it told has come.
#[track_caller]
fn assert_balance(ended: &Ended) {
    let ledger = ended.stderr.lines().last().unwrap();
    let number = |text: &str, what: &str| -> u64 {
        let before = text.split_once(what).unwrap_or_else(|| panic!("no {what:?} in {text:?}")).0;
        before
            .rsplit(|character: char| !character.is_ascii_digit())
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let (_, kernel) = ledger.split_once("in the kernel: ").unwrap();
    let told = number(kernel, " told");
    assert_eq!(
        number(kernel, " seen") + number(kernel, " dropped"),
        told + number(kernel, " filtered out")
            + number(kernel, " no packets")
            + number(kernel, " lost"),
        "{ledger}"
    );
    assert_eq!(number(ledger, " events"), told, "{ledger}");
}

/// Asserts why, where and whose it was.
#[track_caller]
fn assert_drop(object: &Value, reasons: &[&str], namespace: &Namespace, ends: [bool; 2]) {
    let reason = object["reason"]["text"].as_str().unwrap();
    assert!(reasons.contains(&reason), "{object:#}");
    let kernel = &object["kernel"];
    assert_eq!(kernel["network_namespace"]["inode"], namespace.inode(), "{object:#}");
    assert_eq!(kernel["network_namespace"]["name"], namespace.name(), "{object:#}");
    assert!(kernel["function"].as_str().is_some_and(|name| !name.is_empty()), "{object:#}");
    for (end, is_known) in ["source", "destination"].into_iter().zip(ends) {
        let pid = &kernel["process"][end]["pid"];
        let expected = if is_known { Value::from(std::process::id()) } else { Value::Null };
        assert_eq!(*pid, expected, "{end} of {object:#}");
    }
}

fn connect(from: &Namespace, port: u16) {
    let address = SocketAddrV4::new(SERVER, port).into();
    let patience = Duration::from_millis(300);
    from.inside(|| TcpStream::connect_timeout(&address, patience).map(drop).unwrap_err());
}

#[test]
fn a_packet_that_a_rule_drops_is_shown() {
    require!(root, ebpf, command("nft"));
    let network = Network::new();
    network.server.nft(
        "add table ip t
         add chain ip t i { type filter hook input priority 0; }
         add rule ip t i tcp dport 82 drop",
    );
    let running = network.monitor(&["-j", "-t", "drop"]);
    connect(&network.client, 82);
    let object = wait_for_object(&running, |it| is_drop_of(it, "-> 10.82.0.2:82 tcp SYN"));
    assert_drop(&object, &["NETFILTER_DROP"], &network.server, [true, false]);
    assert_eq!(object["interface"]["name"], network.far.second.as_str());
    end(running);
}

#[test]
fn a_packet_that_a_rule_drops_on_its_way_out_has_its_socket() {
    require!(root, ebpf, command("nft"));
    let network = Network::new();
    network.client.nft(
        "add table ip t
         add chain ip t o { type filter hook output priority 0; }
         add rule ip t o tcp dport 82 drop",
    );
    let running = network.monitor(&["-j"]);
    connect(&network.client, 82);
    let object = wait_for_object(&running, |it| is_drop_of(it, "-> 10.82.0.2:82 tcp SYN"));
    assert_drop(&object, &["NETFILTER_DROP"], &network.client, [true, false]);
    assert_eq!(object["kernel"]["socket_end"], "source");
    assert!(object["kernel"]["socket_cookie"].as_u64().is_some(), "{object:#}");
    end(running);
}

#[test]
fn a_packet_to_a_closed_port_is_shown() {
    require!(root, ebpf);
    let network = Network::new();
    let running = network.monitor(&["-j"]);
    connect(&network.client, 81);
    let object = wait_for_object(&running, |it| is_drop_of(it, "-> 10.82.0.2:81 tcp SYN"));
    assert_drop(&object, &["NO_SOCKET"], &network.server, [true, false]);
    assert_eq!(object["kernel"]["function"], "tcp_v4_rcv");
    end(running);
}

#[test]
fn a_packet_without_route_is_shown() {
    require!(root, ebpf);
    let network = Network::new();
    let running = network.monitor(&["-j"]);
    let socket = network.client.inside(|| UdpSocket::bind((CLIENT, 0)).unwrap());
    socket.send_to(b"x", "10.99.0.2:81").unwrap();
    let object = wait_for_object(&running, |it| is_drop_of(it, "-> 10.99.0.2:81 udp"));
    assert_drop(&object, &["IP_INNOROUTES"], &network.router, [true, false]);
    assert_eq!(object["interface"]["name"], network.near.second.as_str());
    end(running);
}

/// Sends a segment or datagram from port 5555 to a port of the server, with a checksum that is wrong.
fn send_with_wrong_checksum(from: &Namespace, protocol: rustix::net::Protocol, port: u16) {
    let mut header = [5555_u16.to_be_bytes(), port.to_be_bytes()].concat();
    if protocol == ipproto::TCP {
        // A SYN without options.
        header.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0xba, 0xd1, 0, 0]);
    } else {
        header.extend([0, 8, 0xba, 0xd1]);
    }
    let to = SocketAddrV4::new(SERVER, 0);
    let socket =
        from.inside(|| socket(AddressFamily::INET, SocketType::RAW, Some(protocol)).unwrap());
    sendto(&socket, &header, SendFlags::empty(), &to).unwrap();
}

#[test]
fn a_packet_with_a_wrong_checksum_is_shown() {
    require!(root, ebpf);
    let network = Network::new();
    let (_listener, socket) = network.server.inside(|| {
        (TcpListener::bind((SERVER, 84)).unwrap(), UdpSocket::bind((SERVER, 85)).unwrap())
    });
    let _sender = network.client.inside(|| UdpSocket::bind((CLIENT, 5555)).unwrap());
    let running = network.monitor(&["-j"]);
    send_with_wrong_checksum(&network.client, ipproto::TCP, 84);
    let object =
        wait_for_object(&running, |it| is_drop_of(it, "10.81.0.2:5555 -> 10.82.0.2:84 tcp"));
    assert_drop(&object, &["TCP_CSUM"], &network.server, [false, true]);
    assert_eq!(object["kernel"]["process"]["destination"]["listener"], true);

    send_with_wrong_checksum(&network.client, ipproto::UDP, 85);
    // The checksum of a datagram is looked at when somebody takes it.
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket.recv(&mut [0; 16]).unwrap_err();
    let object =
        wait_for_object(&running, |it| is_drop_of(it, "10.81.0.2:5555 -> 10.82.0.2:85 udp"));
    assert_drop(&object, &["UDP_CSUM"], &network.server, [true, true]);
    assert_eq!(object["interface"]["name"], network.far.second.as_str());
    end(running);
}

#[test]
fn a_packet_for_which_a_queue_has_no_room_is_shown() {
    require!(root, ebpf, command("tc"));
    let network = Network::new();
    let (sender, receiver) = (
        network.client.inside(|| UdpSocket::bind((CLIENT, 0)).unwrap()),
        network.server.inside(|| UdpSocket::bind((SERVER, 86)).unwrap()),
    );
    sockopt::set_socket_recv_buffer_size(&receiver, 1).unwrap();
    let running = network.monitor(&["-j"]);
    let send = || {
        for _ in 0..50 {
            // Where the sender's own queue is full, it is told.
            let _ = sender.send_to(&[0; 1000], (SERVER, 86));
        }
    };
    send();
    let is_udp = |it: &Value| is_drop_of(it, "-> 10.82.0.2:86 udp");
    let object = wait_for_object(&running, |it| is_udp(it));
    assert_drop(&object, &["SOCKET_RCVBUFF"], &network.server, [true, true]);
    assert_eq!(object["kernel"]["socket_end"], "destination");
    assert!(object["kernel"]["socket_cookie"].as_u64().is_some(), "{object:#}");

    let device = &network.near.first;
    let tbf = ["qdisc", "add", "dev", device, "root", "tbf", "rate", "8kbit", "burst", "2000"];
    netglass_testing::run(network.client.command("tc").args(tbf).args(["limit", "3000"]));
    send();
    let is_of_queue = |it: &Value| {
        is_udp(it) && it["kernel"]["network_namespace"]["name"] == network.client.name()
    };
    let object = wait_for_object(&running, is_of_queue);
    assert_drop(&object, &["QDISC_DROP", "QDISC_OVERLIMIT"], &network.client, [true, true]);
    assert_eq!(object["interface"]["name"], device.as_str());
    assert_eq!(object["kernel"]["socket_end"], "source");
    end(running);
}

/// A datagram of 500 bytes from the client to a socket of the server, and both sockets.
fn send(network: &Network, port: u16) -> (UdpSocket, UdpSocket) {
    let receiver = network.server.inside(|| UdpSocket::bind((SERVER, port)).unwrap());
    let sender = network.client.inside(|| UdpSocket::bind((CLIENT, 0)).unwrap());
    sender.send_to(&[7; 500], (SERVER, port)).unwrap();
    (sender, receiver)
}

#[test]
fn packets_that_come_by_are_shown_with_both_processes() {
    require!(root, ebpf);
    let network = Network::new();
    let interfaces =
        [&network.near, &network.far].map(|link| [&*link.first, &*link.second].join(","));
    let arguments = ["-j", "-t", "trace", "-i", &interfaces.join(","), "--capture-len", "60"];
    let running = network.monitor(&[&arguments[..], &["--port", "87"]].concat());
    let _sockets = send(&network, 87);
    let is_last = |it: &Value| {
        it["kernel"]["network_namespace"]["name"] == network.server.name()
            && it["packet"]["connection"].as_str().unwrap().ends_with("-> 10.82.0.2:87 udp")
    };
    wait_for_object(&running, is_last);
    let ended = end(running);
    let mut expected = Vec::new();
    for (namespace, device, point) in [
        (&network.client, &network.near.first, "to-network"),
        (&network.router, &network.near.second, "from-network"),
        (&network.router, &network.far.first, "to-network"),
        (&network.server, &network.far.second, "from-network"),
    ] {
        expected.push((namespace.name().to_owned(), device.clone(), point.to_owned()));
    }
    let objects = ended.objects();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let seen: Vec<_> = objects
        .iter()
        .map(|it| {
            let namespace = text(&it["kernel"]["network_namespace"]["name"]);
            (namespace, text(&it["interface"]["name"]), text(&it["observation_point"]))
        })
        .collect();
    assert_eq!(seen, expected, "{ended:?}");
    for object in &objects {
        assert_eq!(object["packet"]["length"], 542);
        assert_eq!(object["packet"]["captured"], 60);
        for end in ["source", "destination"] {
            assert_eq!(object["kernel"]["process"][end]["pid"], std::process::id(), "{object:#}");
        }
    }
    let packets: Vec<_> = objects.iter().map(|it| &it["kernel"]["packet"]).collect();
    assert!(packets.windows(2).all(|pair| pair[0] == pair[1]), "{packets:?}");
}

#[test]
fn what_is_not_asked_for_does_not_leave_the_kernel() {
    require!(root, ebpf);
    let network = Network::new();
    let by_address = network.monitor(&["--addr", "10.99.0.0/16,fd00::/8"]);
    let by_port = network.monitor(&["--port", "81"]);
    let by_protocol = network.monitor(&["--proto", "tcp"]);
    let by_interface = network.monitor(&["-t", "drop", "-i", &network.far.first]);
    let by_reason = network.monitor(&["--drop-reason", "NO_SOCKET"]);
    connect(&network.client, 81);
    let sender = network.client.inside(|| UdpSocket::bind((CLIENT, 0)).unwrap());
    sender.send_to(b"x", "10.99.0.2:88").unwrap();
    by_address.wait_for_line("-> 10.99.0.2:88 udp");
    for running in [&by_port, &by_protocol, &by_reason] {
        running.wait_for_line("xx drop (NO_SOCKET)");
    }
    for (running, shown) in [
        (by_address, (false, true)),
        (by_port, (true, false)),
        (by_protocol, (true, false)),
        (by_reason, (true, false)),
        // Nothing is dropped where the router sends.
        (by_interface, (false, false)),
    ] {
        let ended = end(running);
        let has = |text: &str| ended.stdout.contains(text);
        assert_eq!((has(":81 tcp SYN"), has(":88 udp")), shown, "{ended:?}");
    }
}

#[test]
fn a_line_tells_reason_function_interface_namespace_and_process() {
    require!(root, ebpf);
    let network = Network::new();
    let running = network.monitor(&["-w", "out"]);
    connect(&network.client, 81);
    let line = running.wait_for_line("-> 10.82.0.2:81 tcp SYN");
    let ended = end(running);
    let (_, shown) = line.split_once(" xx drop (NO_SOCKET) flow 0x").unwrap();
    let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
    let expected = format!(
        " in tcp_v4_rcv ifindex {} netns {} process {}[{}]->unknown: 10.81.0.2:",
        network.far.second,
        network.server.name(),
        comm.trim_end(),
        std::process::id()
    );
    assert!(shown.contains(&expected), "{expected:?} is not in {shown:?}");
    // A recording needs nothing of where it was made.
    let read = network.place.monitor(&["-r", "out"]);
    assert_eq!((read.status, &read.stdout), (0, &ended.stdout));
    let summary = network.place.monitor(&["-r", "out", "--summary", "-j"]);
    let summary = &summary.objects()[0];
    let has = |kind: &str, what: &str| {
        summary[kind]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["what"].as_str().unwrap().contains(what))
    };
    assert!(has("reasons", "NO_SOCKET") && has("interfaces", &network.far.second), "{summary:#}");
    assert!(has("connections", "-> 10.82.0.2:81 tcp SYN"), "{summary:#}");
    assert!(has("processes", &format!("[{}] -> unknown", std::process::id())), "{summary:#}");
    assert_eq!(summary["endpoints"].as_array().unwrap().len(), 0);
}

#[test]
fn a_namespace_and_an_interface_that_come_later_are_followed() {
    require!(root, ebpf);
    let place = Place::new();
    let running = Running::spawn(place.netglass(&["--kernel", "-j", "-i", "ngmon*"]));
    running.wait_for_line("the kernel tells of packets in");
    let namespace = Namespace::new("later");
    namespace.ip("link add ngmon0 type veth peer ngmon1\nlink set ngmon0 up\nlink set ngmon1 up");
    namespace.add_address("ngmon0", "10.83.0.1/24");
    let socket = namespace.inside(|| UdpSocket::bind("10.83.0.1:0").unwrap());
    // It is looked for once in a second.
    let object = wait_for(|| {
        socket.send_to(b"x", "10.83.0.77:9").unwrap();
        let stdout = String::from_utf8(running.stdout()).unwrap();
        let whole = stdout.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut objects = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        objects.find(|it| it["kernel"]["network_namespace"]["name"] == namespace.name())
    });
    assert!(object["interface"]["name"].as_str().unwrap().starts_with("ngmon"), "{object:#}");
    end(running);
}

#[test]
fn what_the_kernel_has_not_is_named() {
    require!(root, ebpf);
    let place = Place::new();
    let fails = |arguments: &[&str], status, parts: &[&str]| {
        place.monitor(&[&["--kernel"], arguments].concat()).assert_fails(status, parts);
    };
    fails(&["-i", "nosuch0"], 1, &["nosuch0", "no such interface", "lo"]);
    fails(&["--netns", "nosuch"], 1, &["no network namespace nosuch", "ip netns"]);
    fails(&["--drop-reason", "NO_SUCH"], 2, &["no drop reason NO_SUCH"]);
    fails(&["--drop-reason", "Policy denied"], 2, &["no drop reason Policy denied"]);
    fails(&["-t", "l7"], 2, &["drops"]);
}
