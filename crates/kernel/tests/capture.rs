//! Packets of real interfaces, each numbered, so that none is missing and none there twice.

#![cfg(feature = "capture")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpStream, UdpSocket},
    ops::Range,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use netglass_kernel::{
    Error, Needs,
    capture::{Capture, CaptureOptions, InterfaceEvent, InterfaceStatistics},
    drop_to,
};
use netglass_packet::LinkType;
use netglass_testing::{Link, Namespace, link, require, run};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// A busy machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(interfaces: &[&str]) -> CaptureOptions {
    CaptureOptions {
        interfaces: interfaces.iter().map(|&name| name.to_owned()).collect(),
        // What `send` sends, and nothing else.
        filter: "udp dst port 9999".to_owned(),
        ..CaptureOptions::default()
    }
}

/// Has each other's link addresses known: of the datagrams that wait for that only a few are kept.
fn meet(from: &Namespace, address: &str) {
    let address: SocketAddr = format!("{address}:9").parse().unwrap();
    let refused = from.inside(|| TcpStream::connect_timeout(&address, PATIENCE)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// Sends datagrams with these numbers to `address`.
fn send(from: &Namespace, address: &str, numbers: Range<u64>) {
    let address: SocketAddr = format!("{address}:9999").parse().unwrap();
    from.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for number in numbers {
            // That nobody listens is told to whoever sends next.
            while socket.send_to(&number.to_be_bytes(), address).is_err() {}
        }
    });
}

/// A capture, and what it has seen.
struct Watch {
    capture: Capture,
    /// How often each number was, by the interface that it was on.
    seen: BTreeMap<(u32, u64), u64>,
    news: Vec<(String, InterfaceEvent)>,
}

impl Watch {
    fn new(options: CaptureOptions) -> Self {
        let mut watch = Self {
            capture: Capture::open(options).unwrap(),
            seen: BTreeMap::new(),
            news: Vec::new(),
        };
        watch.take_news();
        watch
    }

    fn take_news(&mut self) {
        let news = self.capture.take_news().into_iter();
        self.news.extend(news.map(|news| (news.interface.to_string(), news.event)));
    }

    fn read(&mut self) {
        let Self { capture, seen, .. } = self;
        let note = |packet: netglass_packet::Packet<'_>| {
            let number = u64::from_be_bytes(*packet.bytes.last_chunk().unwrap());
            *seen.entry((packet.interface, number)).or_default() += 1;
        };
        capture.read(Duration::from_millis(100), None, &mut { note }).unwrap();
        self.take_news();
    }

    fn read_until(&mut self, mut enough: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(self) {
            let count = self.seen.len();
            assert!(Instant::now() < deadline, "{count} numbers, {:?}", self.news);
            self.read();
        }
    }

    fn read_numbers(&mut self, count: usize) {
        self.read_until(|watch| watch.seen.len() >= count);
    }

    fn read_news(&mut self, interface: &str, event: InterfaceEvent) {
        let wanted = (interface.to_owned(), event);
        self.read_until(|watch| watch.news.contains(&wanted));
        self.news.clear();
    }

    fn stop(&mut self) {
        let Self { capture, seen, .. } = self;
        capture.stop(&mut |packet| {
            let number = u64::from_be_bytes(*packet.bytes.last_chunk().unwrap());
            *seen.entry((packet.interface, number)).or_default() += 1;
        });
    }

    /// Each of these was seen once on `interface`, and nothing else was.
    fn assert_seen(&self, interface: &str, numbers: impl IntoIterator<Item = u64>) {
        let name = |number| &*self.capture.interface(number).unwrap().name;
        let seen: Vec<_> = self
            .seen
            .iter()
            .filter(|((number, _), _)| name(*number) == interface)
            .map(|((_, number), times)| (*number, *times))
            .collect();
        let expected: Vec<_> = numbers.into_iter().map(|number| (number, 1)).collect();
        assert!(seen == expected, "{} numbers instead of {}", seen.len(), expected.len());
    }

    fn statistics(&mut self, interface: &str) -> InterfaceStatistics {
        let interfaces = self.capture.interfaces();
        interfaces.iter().find(|it| *it.name == *interface).unwrap().statistics
    }
}

/// A namespace with a link to another one, in which 10.0.0.1 is; ours has 10.0.0.2.
fn linked() -> (Namespace, Namespace, Link) {
    let (sender, receiver) = (Namespace::new("sender"), Namespace::new("receiver"));
    let link = link(&sender, "10.0.0.1/24", &receiver, "10.0.0.2/24");
    meet(&sender, "10.0.0.2");
    (sender, receiver, link)
}

#[test]
fn each_packet_is_handed_out_once_and_counted() {
    require!(root);
    let (sender, receiver, link) = linked();
    receiver.inside(|| {
        let mut watch = Watch::new(options(&[&link.second]));
        send(&sender, "10.0.0.2", 0..50_000);
        watch.read_numbers(25_000);
        send(&sender, "10.0.0.2", 50_000..100_000);
        // What is in the kernel then is handed out too.
        watch.stop();
        watch.assert_seen(&link.second, 0..100_000);
        let expected =
            InterfaceStatistics { received: 100_000, delivered: 100_000, ..Default::default() };
        assert_eq!(watch.statistics(&link.second), expected);
        send(&sender, "10.0.0.2", 0..10);
        watch.read();
        watch.stop();
        assert_eq!(watch.statistics(&link.second), expected, "nothing comes after the end");
    });
}

#[test]
fn what_the_kernel_had_no_room_for_is_counted() {
    require!(root);
    let (sender, receiver, link) = linked();
    receiver.inside(|| {
        let mut watch =
            Watch::new(CaptureOptions { buffer_size: 1 << 20, ..options(&[&link.second]) });
        send(&sender, "10.0.0.2", 0..50_000);
        watch.read_numbers(1);
        watch.stop();
        let statistics = watch.statistics(&link.second);
        assert_eq!(statistics.received, 50_000);
        assert_eq!(statistics.delivered, u64::try_from(watch.seen.len()).unwrap());
        assert!(statistics.dropped > 0, "{statistics:?}");
        assert_eq!(statistics.delivered + statistics.dropped, 50_000);
    });
}

#[test]
fn packets_are_captured_as_they_were() {
    require!(root);
    let (sender, receiver, link) = linked();
    receiver.inside(|| {
        let mut capture =
            Capture::open(CaptureOptions { snapshot_length: 46, ..options(&[&link.second]) })
                .unwrap();
        let before = std::time::SystemTime::now();
        send(&sender, "10.0.0.2", 7..8);
        let mut packets = Vec::new();
        while packets.is_empty() {
            let note = |packet: netglass_packet::Packet<'_>| {
                packets.push((packet.at, packet.link_type, packet.wire_length, packet.bytes.len()));
            };
            capture.read(PATIENCE, None, &mut { note }).unwrap();
        }
        let (at, link_type, wire_length, captured) = packets[0];
        assert_eq!((link_type, wire_length, captured), (LinkType::ETHERNET, 50, 46));
        assert!(at >= before.into() && at <= std::time::SystemTime::now().into());
        assert_ne!(at.as_nanoseconds() % 1000, 0, "in nanoseconds, but for one time in a thousand");
    });
}

#[test]
fn an_interface_that_goes_down_is_captured_on_again() {
    require!(root);
    let (sender, receiver, link) = linked();
    let interface = &link.second;
    receiver.inside(|| {
        let mut watch = Watch::new(options(&[interface]));
        send(&sender, "10.0.0.2", 0..100);
        receiver.ip(&format!("link set {interface} down"));
        watch.read_news(interface, InterfaceEvent::Down);
        receiver.ip(&format!("link set {interface} up"));
        watch.read_news(interface, InterfaceEvent::Up);
        meet(&sender, "10.0.0.2");
        send(&sender, "10.0.0.2", 100..200);
        watch.stop();
        watch.assert_seen(interface, 0..200);
        let statistics = watch.statistics(interface);
        assert_eq!((statistics.received, statistics.delivered), (200, 200));
        assert_eq!((statistics.interruptions, statistics.waiting()), (1, 0));
    });
}

#[test]
fn an_interface_that_is_made_anew_is_captured_on_again_and_others_meanwhile() {
    require!(root);
    let (sender, receiver, first) = linked();
    let second = link(&sender, "10.0.1.1/24", &receiver, "10.0.1.2/24");
    meet(&sender, "10.0.1.2");
    receiver.inside(|| {
        let mut watch = Watch::new(options(&[&first.second, &second.second]));
        send(&sender, "10.0.0.2", 0..100);
        receiver.ip(&format!("link delete {}", first.second));
        watch.read_news(&first.second, InterfaceEvent::Gone);
        send(&sender, "10.0.1.2", 0..100);
        receiver.ip(&format!(
            "link add {0} type veth peer name peer
             link set peer up
             link set {0} up",
            first.second
        ));
        watch.read_news(&first.second, InterfaceEvent::Opened);
        receiver.ip(&format!(
            "address add 10.0.2.1/24 dev {0}
             neighbour add 10.0.2.2 lladdr 02:00:00:00:00:02 dev {0}",
            first.second
        ));
        send(&receiver, "10.0.2.2", 100..200);
        watch.stop();
        watch.assert_seen(&first.second, 0..200);
        watch.assert_seen(&second.second, 0..100);
        let statistics = watch.statistics(&first.second);
        assert_eq!((statistics.received, statistics.delivered), (200, 200));
        assert_eq!(statistics.interruptions, 1);
    });
}

#[test]
fn interfaces_that_match_a_pattern_are_captured_on_when_they_appear() {
    require!(root);
    let namespace = Namespace::new("pattern");
    namespace.inside(|| {
        let mut watch = Watch::new(options(&["tap*"]));
        assert_eq!(watch.news, []);
        namespace.ip("link add other type veth peer name tap7
             link set other up");
        namespace.ip("link set tap7 up");
        watch.read_news("tap7", InterfaceEvent::Opened);
        namespace.ip("address add 10.0.0.1/24 dev other
             neighbour add 10.0.0.2 lladdr 02:00:00:00:00:02 dev other");
        send(&namespace, "10.0.0.2", 0..100);
        watch.stop();
        watch.assert_seen("tap7", 0..100);
        assert_eq!(watch.capture.interfaces().len(), 1);
    });
}

#[test]
fn all_interfaces_are_one_capture_in_which_each_packet_names_its_own() {
    require!(root);
    let (sender, receiver, link) = linked();
    receiver.inside(|| {
        let mut watch = Watch::new(options(&["any"]));
        send(&sender, "10.0.0.2", 0..1000);
        send(&receiver, "127.0.0.1", 1000..2000);
        receiver.ip("link add later type veth peer name peer
             link set peer up
             link set later up
             address add 10.0.2.1/24 dev later
             neighbour add 10.0.2.2 lladdr 02:00:00:00:00:02 dev later");
        watch.read_until(|watch| watch.seen.len() >= 2000);
        let knows = |watch: &mut Watch| {
            watch.capture.interfaces().iter().any(|interface| &*interface.name == "later")
        };
        let deadline = Instant::now() + PATIENCE;
        while !knows(&mut watch) {
            assert!(Instant::now() < deadline, "the new interface is not known");
            watch.read();
        }
        send(&receiver, "10.0.2.2", 2000..3000);
        watch.stop();
        watch.assert_seen(&link.second, 0..1000);
        watch.assert_seen("lo", 1000..2000);
        watch.assert_seen("later", 2000..3000);
        // What is sent on one end of a link is received at the other.
        watch.assert_seen("peer", 2000..3000);
        let statistics = watch.statistics("any");
        assert_eq!((statistics.received, statistics.delivered), (4000, 4000));
        assert_eq!((statistics.passed_over, statistics.waiting()), (0, 0));
    });
}

#[test]
fn what_goes_over_loopback_is_handed_out_once() {
    require!(root);
    let namespace = Namespace::new("loopback");
    namespace.inside(|| {
        let mut watch = Watch::new(options(&["lo"]));
        send(&namespace, "127.0.0.1", 0..1000);
        watch.read_numbers(500);
        watch.stop();
        watch.assert_seen("lo", 0..1000);
        let statistics = watch.statistics("lo");
        assert_eq!((statistics.received, statistics.delivered), (2000, 1000));
        assert_eq!((statistics.passed_over, statistics.dropped), (1000, 0));
    });
}

#[test]
fn a_filter_that_does_not_match_lets_the_kernel_keep_nothing() {
    require!(root);
    let namespace = Namespace::new("filter");
    namespace.inside(|| {
        let filter = "udp dst port 9999 and udp[15] & 1 = 1".to_owned();
        let mut watch = Watch::new(CaptureOptions { filter, ..options(&["any"]) });
        send(&namespace, "127.0.0.1", 0..1000);
        watch.stop();
        watch.assert_seen("lo", (0..1000).filter(|number| number % 2 == 1));
        assert_eq!(watch.statistics("any").received, 500);
    });
}

#[test]
fn whoever_waits_is_woken_by_another_descriptor() {
    require!(root);
    let namespace = Namespace::new("wake");
    namespace.inside(|| {
        let mut capture = Capture::open(options(&["lo"])).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let waking = thread::spawn(move || drop(writer));
        let wake = Some(std::os::fd::AsFd::as_fd(&reader));
        while !capture.read(PATIENCE, wake, &mut |_| {}).unwrap().woken {}
        waking.join().unwrap();
    });
}

#[test]
fn an_interface_that_is_missing_is_told_with_those_that_exist() {
    require!(root);
    let (_sender, receiver, link) = linked();
    receiver.inside(|| {
        let message = Capture::open(options(&["lo", "eth7"])).unwrap_err().to_string();
        assert!(message.contains("on eth7: there is no such interface"), "{message}");
        assert!(message.contains(&format!("lo, {}", link.second)), "{message}");
        let bad = CaptureOptions { filter: "prot 80".to_owned(), ..options(&["lo"]) };
        assert!(matches!(Capture::open(bad), Err(Error::Filter { .. })));
    });
}

#[test]
fn one_that_is_down_is_waited_for() {
    require!(root);
    let namespace = Namespace::new("down");
    namespace.inside(|| {
        namespace.ip("link add slow type veth peer name peer");
        let mut watch = Watch::new(options(&["slow", "lo"]));
        let down = ("slow".to_owned(), InterfaceEvent::Down);
        let opened = ("lo".to_owned(), InterfaceEvent::Opened);
        assert!(watch.news.contains(&down) && watch.news.contains(&opened), "{:?}", watch.news);
        namespace.ip("link set slow up");
        watch.read_news("slow", InterfaceEvent::Opened);
    });
}

#[test]
fn it_takes_the_right_to_open_packet_sockets_and_no_other() {
    require!(root);
    let (_sender, receiver, link) = linked();
    let promiscuity = || {
        let shown = run(Command::new("ip").args(["-details", "link", "show", &link.second]));
        shown.split_once("promiscuity ").unwrap().1.chars().next().unwrap()
    };
    receiver.inside(|| {
        drop_to(Needs::default(), || true, || true).unwrap();
        let message = Capture::open(options(&[&link.second])).unwrap_err().to_string();
        assert!(message.contains("CAP_NET_RAW") && message.contains("as root"), "{message}");
    });
    receiver.inside(|| {
        let sets = CapabilitySets {
            effective: CapabilitySet::NET_RAW,
            permitted: CapabilitySet::NET_RAW,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).unwrap();
        let mut watch = Watch::new(options(&[&link.second]));
        drop_to(Needs::default(), || true, || true).unwrap();
        assert_eq!(promiscuity(), '1');
        watch.stop();
    });
}

#[test]
fn the_right_to_open_interfaces_later_can_be_kept() {
    require!(root);
    for packets in [true, false] {
        let namespace = Namespace::new("later");
        let add = "link add tap7 type veth peer name other
             link set other up
             link set tap7 up";
        namespace.inside(|| {
            let mut watch = Watch::new(options(&["tap*"]));
            assert!(watch.capture.opens_later());
            thread::scope(|scope| {
                // The rights of a thread are its own.
                let adding = scope.spawn(|| namespace.ip(add));
                drop_to(Needs { packets, ..Needs::default() }, || true, || true).unwrap();
                adding.join().unwrap();
            });
            watch.read_until(|watch| !watch.news.is_empty());
            let (interface, event) = &watch.news[0];
            assert_eq!(interface, "tap7");
            match event {
                InterfaceEvent::Opened => assert!(packets),
                InterfaceEvent::Failed(reason) => {
                    assert!(!packets && reason.contains("CAP_NET_RAW"), "{reason}");
                }
                other => unreachable!("{other:?}"),
            }
        });
    }
}
