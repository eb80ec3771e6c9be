//! Packets of interfaces, under a load in which every packet has its number.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use netglass_packet::file::Reader;
use netglass_testing::{Link, Namespace, Signal, link, require};

use crate::{
    frames::UDP_HEADERS,
    support::{Captured, Ledger, Place},
};

const NUMBER: usize = 8;

/// A client and a server, with a link between them.
pub(crate) struct Network {
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
    pub(crate) link: Link,
}

impl Network {
    pub(crate) fn new() -> Self {
        let (client, server) = (Namespace::new("client"), Namespace::new("server"));
        let link = link(&client, "10.9.21.1/24", &server, "10.9.21.2/24");
        Self { client, server, link }
    }

    /// A load from the client to the server.
    pub(crate) fn load(&self, flows: usize) -> Load {
        Load::new(&self.client, &self.server, "10.9.21.1", "10.9.21.2:9000", flows)
    }
}

/// Sends datagrams with numbers from several ports to one.
pub(crate) struct Load {
    senders: Vec<UdpSocket>,
    receiver: UdpSocket,
    sent: u64,
}

impl Load {
    pub(crate) fn new(
        client: &Namespace,
        server: &Namespace,
        from: &str,
        to: &str,
        flows: usize,
    ) -> Self {
        let receiver = server.inside(|| UdpSocket::bind(to).unwrap());
        receiver.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let to = receiver.local_addr().unwrap();
        let sender = || {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.connect(to).unwrap();
            socket
        };
        let senders = client.inside(|| (0..flows).map(|_| sender()).collect());
        Self { senders, receiver, sent: 0 }
    }

    /// Sends so many more. Each has reached the server when this returns, so whoever listens on the way
    /// was shown it: there are never more on their way than there is room for.
    pub(crate) fn send(&mut self, count: u64) {
        let mut buffer = [0; 64];
        let numbers: Vec<u64> = (self.sent..self.sent + count).collect();
        for numbers in numbers.chunks(64) {
            for number in numbers {
                let sender = &self.senders[usize::try_from(*number).unwrap() % self.senders.len()];
                sender.send(&number.to_be_bytes()).unwrap();
            }
            for _ in numbers {
                assert_eq!(self.receiver.recv(&mut buffer).unwrap(), NUMBER);
            }
        }
        self.sent += count;
    }

    /// `10.0.0.1:40 -> 10.0.0.2:53` of each sender.
    pub(crate) fn ends(&self) -> Vec<String> {
        let ends =
            |it: &UdpSocket| format!("{} -> {}", address(it.local_addr()), address(it.peer_addr()));
        self.senders.iter().map(ends).collect()
    }
}

fn address(address: std::io::Result<SocketAddr>) -> SocketAddr {
    address.unwrap()
}

pub(crate) fn size(packets: u64) -> u64 {
    packets * u64::try_from(UDP_HEADERS + NUMBER).unwrap()
}

#[test]
fn a_known_load_balances_to_the_packet() {
    require!(root);
    let (place, network) = (Place::new(), Network::new());
    let mut load = network.load(50);
    // What the sender's end sees as it goes, and the server's end as it comes.
    for (namespace, device) in
        [(&network.client, &network.link.first), (&network.server, &network.link.second)]
    {
        let before = load.sent;
        let capturing = place.begin(namespace, &["-i", device, "-w", "all.pcapng", "udp"]);
        load.send(20_000);
        // It takes what the kernel still has for it.
        let captured = capturing.end(Signal::TERM);
        assert_eq!(captured.status, 0, "{captured:?}");
        let ledger = captured.ledger();
        let counts = ["seen", "in_flows", "dropped_by_kernel"].map(|name| ledger.packets(name));
        assert_eq!(counts, [20_000, 20_000, 0]);
        assert_eq!(captured.flows.len(), 50);
        for ends in load.ends() {
            let flow = captured.flow(&ends);
            assert_eq!(flow.counts(), [400, size(400), 0, 0]);
            assert_eq!((flow.text("interface"), flow.text("status")), (device.as_str(), "init"));
        }
        let written = numbers(&place);
        assert_eq!(written.len(), 20_000);
        assert_eq!(written, (before..load.sent).collect::<BTreeSet<_>>());
    }
}

/// The numbers of the packets that were written; fails if one is there twice.
fn numbers(place: &Place) -> BTreeSet<u64> {
    let mut reader = Reader::open(&place.path("all.pcapng")).unwrap();
    let mut numbers = BTreeSet::new();
    loop {
        let batch = reader.next_batch().unwrap();
        if batch.is_empty() {
            return numbers;
        }
        for packet in batch.packets() {
            let number = packet.bytes[UDP_HEADERS..].try_into().unwrap();
            assert!(numbers.insert(u64::from_be_bytes(number)), "{packet:?} came twice");
        }
    }
}

#[test]
fn what_the_kernel_drops_is_counted_to_the_packet() {
    require!(root);
    let (place, network) = (Place::new(), Network::new());
    let mut load = network.load(10);
    let device = &network.link.second;
    let options = ["-i", device, "--buffer-size", "256KiB", "udp"];
    let capturing = place.begin(&network.server, &options);
    // Nobody takes them out of a buffer that is too small for all.
    capturing.0.signal(Signal::STOP);
    load.send(20_000);
    capturing.0.signal(Signal::CONT);
    let captured = capturing.end(Signal::INT);
    let ledger = captured.ledger();
    let dropped = ledger.packets("dropped_by_kernel");
    assert!(dropped > 0, "{ledger:?}");
    assert_eq!(ledger.packets("in_flows") + dropped, 20_000);
    let logged: u64 = captured.flows.iter().map(|flow| flow.number("src_packets")).sum();
    assert_eq!(logged, ledger.packets("in_flows"));
    assert!(
        captured.notes().iter().any(|note| note.contains("20000 packets seen by the kernel")),
        "{captured:?}"
    );
}

#[test]
fn a_filter_is_the_kernels_and_leaves_nothing_else() {
    require!(root);
    let (place, network) = (Place::new(), Network::new());
    let (mut load, mut other) = (
        network.load(1),
        Load::new(&network.client, &network.server, "10.9.21.1", "10.9.21.2:9001", 1),
    );
    let device = &network.link.first;
    let capturing = place.begin(&network.client, &["-i", device, "udp", "port", "9001"]);
    load.send(500);
    other.send(100);
    let captured = capturing.end(Signal::TERM);
    assert_eq!(captured.flow(&other.ends()[0]).counts(), [100, size(100), 0, 0]);
    assert_eq!((captured.flows.len(), captured.ledger().packets("seen")), (1, 100));
}

#[test]
fn any_is_all_interfaces_and_patterns_are_some() {
    require!(root);
    let (place, network) = (Place::new(), Network::new());
    let client = &network.client;
    let (mut load, mut local) =
        (network.load(1), Load::new(client, client, "127.0.0.1", "127.0.0.1:9000", 1));
    let mut seen = |interfaces: &str| {
        let capturing = place.begin(client, &["-i", interfaces, "udp"]);
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
fn an_interface_that_goes_and_comes_back_is_told_and_captured_on() {
    require!(root);
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
    let capturing = place.begin(&host, &["-i", "veth7", "udp"]);
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
    let packets: u64 = captured.flows.iter().map(|flow| flow.number("src_packets")).sum();
    let ledger: &Ledger = captured.ledger();
    assert_eq!((packets, ledger.packets("in_flows")), (70, 70), "{captured:?}");
}
