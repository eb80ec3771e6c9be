//! The packets of one interface, or of all of them together, in memory that the kernel shares with us
//! (packet(7), `TPACKET_V3`).

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::{Duration, Instant},
};

use netglass_model::Timestamp;
use netglass_packet::{LinkType, Packet};
use nix::sys::socket::{SockaddrStorage, bind, getsockname};
use pcap::{Active, Linktype, Precision};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{self, AddressFamily, Protocol, RawProtocol, SocketFlags, SocketType, sockopt},
};

use super::{CaptureOptions, filter, link_type_of, reason, statistics::InterfaceStatistics};
use crate::Error;

/// The name of all interfaces together, in libpcap.
pub(super) const ANY: &str = "any";

/// The kernel's loopback interface has this index in each network namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// What is enough for who takes no packets.
#[cfg(feature = "ebpf")]
const SMALLEST_BUFFER: i32 = 1 << 16;

/// How many packets are handed out at one time, before it is the next interface's turn.
pub(super) const MAXIMUM_DELIVERED: usize = 16_384;

/// How long nothing may come out of a ring into which nothing goes any more, before it is taken to be
/// empty, beyond the delay after which the kernel hands out what it has.
const QUIET: Duration = Duration::from_millis(150);

/// A number that no packet has as its protocol (`linux/if_ether.h`).
const NO_PROTOCOL: RawProtocol = {
    let network_order = 0x00ff_u16.to_be();
    match RawProtocol::new(network_order as u32) {
        Some(number) => number,
        None => RawProtocol::MIN,
    }
};

/// An address that no packet comes to.
///
/// A socket that is bound to it keeps what it has and gets nothing more, so that it can be counted.
#[derive(Debug, Clone)]
pub(super) struct Nowhere(SockaddrStorage);

impl Nowhere {
    pub(super) fn new() -> Result<Self, Error> {
        let protocol = Some(Protocol::from_raw(NO_PROTOCOL));
        let (kind, flags) = (SocketType::DGRAM, SocketFlags::CLOEXEC);
        let failure = |reason: String| Error::Capture { interface: None, reason };
        let socket = net::socket_with(AddressFamily::PACKET, kind, flags, protocol);
        let socket = socket.map_err(|errno| match errno {
            Errno::PERM | Errno::ACCESS => Error::CaptureDenied,
            errno => failure(errno.to_string()),
        })?;
        getsockname(socket.as_raw_fd()).map(Self).map_err(|errno| failure(errno.to_string()))
    }
}

/// Has packets for other hosts come to an interface, as long as it lives. It takes none itself.
#[cfg(feature = "ebpf")]
pub(crate) struct Promiscuous {
    _capture: pcap::Capture<Active>,
}

#[cfg(feature = "ebpf")]
impl Promiscuous {
    pub(crate) fn new(interface: &str) -> Result<Self, Error> {
        let failure =
            |reason: String| Error::Capture { interface: Some(interface.to_owned()), reason };
        let nowhere = Nowhere::new()?;
        let capture = pcap::Capture::from_device(interface)
            .map_err(|error| failure(reason(&error)))?
            .promisc(true)
            .snaplen(64)
            .buffer_size(SMALLEST_BUFFER)
            .open()
            .map_err(|error| failure(reason(&error)))?;
        bind(capture.as_fd().as_raw_fd(), &nowhere.0)
            .map_err(|errno| failure(errno.desc().to_owned()))?;
        Ok(Self { _capture: capture })
    }
}

/// The packets of one interface, or of all of them.
pub(super) struct Ring {
    capture: pcap::Capture<Active>,
    nowhere: Nowhere,
    pub(super) link_type: LinkType,
    /// libpcap's counts, which begin anew at 2³².
    counted: pcap::Stat,
    statistics: InterfaceStatistics,
    delay: Duration,
}

impl Ring {
    /// Begins to capture on `interface` with `buffer_size` bytes for what waits.
    pub(super) fn open(
        interface: &str,
        options: &CaptureOptions,
        buffer_size: usize,
        nowhere: &Nowhere,
    ) -> Result<Self, Error> {
        let failure =
            |reason: String| Error::Capture { interface: Some(interface.to_owned()), reason };
        let of_pcap = |error: pcap::Error| failure(reason(&error));
        let of_errno = |errno: nix::errno::Errno| failure(errno.desc().to_owned());

        let number = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        let milliseconds = usize::try_from(options.delay.as_millis()).unwrap_or(usize::MAX);
        let snapshot_length = usize::try_from(options.snapshot_length).unwrap_or(usize::MAX);
        let mut capture = pcap::Capture::from_device(interface)
            .map_err(of_pcap)?
            .promisc(options.promiscuous && interface != ANY)
            .snaplen(number(snapshot_length))
            .buffer_size(number(buffer_size))
            .timeout(number(milliseconds.max(1)))
            .precision(Precision::Nano)
            .open()
            .and_then(pcap::Capture::setnonblock)
            .map_err(of_pcap)?;
        // From here on until all is set up nothing comes in: what came before the filter was set
        // would be counted, and not be handed out.
        let descriptor = capture.as_fd().as_raw_fd();
        let address: SockaddrStorage = getsockname(descriptor).map_err(of_errno)?;
        bind(descriptor, &nowhere.0).map_err(of_errno)?;
        set_filter(&mut capture, interface, &options.filter)?;
        let link_type = link_type_of(capture.get_datalink());
        let counted = pcap::Stat { received: 0, dropped: 0, if_dropped: 0 };
        let mut ring = Self {
            capture,
            nowhere: nowhere.clone(),
            link_type,
            counted,
            statistics: InterfaceStatistics::default(),
            delay: options.delay,
        };
        ring.drain(&mut |_| {});
        ring.statistics = InterfaceStatistics::default();
        bind(descriptor, &address).map_err(of_errno)?;
        Ok(ring)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.capture.as_fd()
    }

    /// What happened since it was opened.
    pub(super) fn statistics(&mut self) -> InterfaceStatistics {
        self.count();
        self.statistics
    }

    fn count(&mut self) {
        // It does not fail on a socket of ours; were it to, the next time tells of all.
        let Ok(now) = self.capture.stats() else { return };
        let before = std::mem::replace(&mut self.counted, now);
        let more = |now: u32, before: u32| u64::from(now.wrapping_sub(before));
        self.statistics.received += more(now.received, before.received);
        self.statistics.dropped += more(now.dropped, before.dropped);
        self.statistics.dropped_by_interface += more(now.if_dropped, before.if_dropped);
    }

    /// Hands out at most `maximum` packets of those that are there, as packets of interface 0.
    pub(super) fn deliver(
        &mut self,
        maximum: usize,
        handler: &mut impl FnMut(Packet<'_>),
    ) -> Result<usize, Error> {
        // Otherwise libpcap takes the interface that went down for an error before it has handed out
        // what came before.
        let _ = sockopt::socket_error(self.capture.as_fd());
        let link_type = self.link_type;
        let delivered = &mut self.statistics.delivered;
        let done = self.capture.dispatch(Some(maximum), |packet| {
            *delivered += 1;
            let seconds: i64 = packet.header.ts.tv_sec;
            // With the precision that was asked for, these are nanoseconds.
            let nanoseconds: i64 = packet.header.ts.tv_usec;
            handler(Packet {
                at: Timestamp::from_nanoseconds(
                    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds),
                ),
                link_type,
                interface: 0,
                wire_length: packet.header.len,
                bytes: packet.data,
            });
        });
        done.map_err(|error| Error::Capture { interface: None, reason: reason(&error) })
    }

    /// Lets nothing more come in.
    pub(super) fn seal(&mut self) {
        // On an interface that is gone it may fail: nothing comes from there.
        let _ = bind(self.capture.as_fd().as_raw_fd(), &self.nowhere.0);
    }

    /// Lets nothing more come in, and hands out all that is there.
    pub(super) fn drain(&mut self, handler: &mut impl FnMut(Packet<'_>)) {
        self.seal();
        let mut quiet_since = Instant::now();
        loop {
            self.count();
            let InterfaceStatistics { received, delivered, dropped, .. } = self.statistics;
            if received == delivered + dropped {
                break;
            }
            let is_ready = self.wait(Duration::from_millis(10));
            let delivered = self.deliver(MAXIMUM_DELIVERED, handler).unwrap_or(0);
            if delivered > 0 {
                quiet_since = Instant::now();
            } else if !is_ready && quiet_since.elapsed() > self.delay + QUIET {
                break;
            }
        }
        let InterfaceStatistics { received, delivered, dropped, .. } = self.statistics;
        self.statistics.passed_over = received.saturating_sub(delivered + dropped);
    }

    fn wait(&self, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).unwrap_or_default();
        let mut events = [PollFd::new(&self.capture, PollFlags::IN)];
        poll(&mut events, Some(&timeout)).is_ok_and(|ready| ready > 0)
    }
}

fn set_filter(
    capture: &mut pcap::Capture<Active>,
    interface: &str,
    expression: &str,
) -> Result<(), Error> {
    // Version 2 of the cooked headers names the interface of each packet; libpcap has it since 1.10.
    let is_any =
        interface == ANY && capture.set_datalink(Linktype(LinkType::LINUX_SLL2.0.into())).is_ok();
    filter::compile(capture, expression)?;
    let expression = match (is_any, expression.trim()) {
        (false, expression) => expression.to_owned(),
        // What goes over the loopback interface is sent and received there. libpcap passes over what
        // is sent, but only after the kernel has counted it.
        (true, "") => format!("not (outbound and ifindex {LOOPBACK})"),
        (true, expression) => format!("not (outbound and ifindex {LOOPBACK}) and ({expression})"),
    };
    // An empty one is set too: it is what cuts packets in the kernel rather than after it has kept them.
    capture
        .filter(&expression, true)
        .map_err(|error| Error::Filter { expression, reason: reason(&error) })
}
