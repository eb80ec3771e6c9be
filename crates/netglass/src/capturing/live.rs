//! Packets from interfaces.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use netglass_kernel::{
    FlowEnds, FlowOwnerOptions, FlowOwners, Needs, OwnerSource,
    capture::{Capture, CaptureOptions, Interface},
};
use netglass_model::{FlowRecord, Owner, Timestamp};
use netglass_packet::{Headers, Packet, file};

use super::{
    Work,
    arguments::InputArguments,
    conversations::{Complete, Conversations},
    packet_file::PacketFile,
    report::Reporter,
};
use crate::probing::drop_privileges;

/// How long is waited for packets before something else is looked at.
pub(super) const WAIT: Duration = Duration::from_millis(100);
/// How far time is told behind the present: packets that were seen by then may still be on their way.
const BEHIND: Duration = Duration::from_secs(1);
/// How much longer than a conversation its sockets are remembered.
const MARGIN: Duration = Duration::from_secs(10);

/// Interfaces from which packets come.
pub(super) struct Live {
    capture: Capture,
    owners: Owners,
    all_namespaces: bool,
    filter: String,
    snapshot_length: u32,
    /// How many interfaces have told their name.
    named: u32,
}

/// Knows who is at the ends of conversations by the sockets of this host.
pub(super) struct Owners {
    flow_owners: FlowOwners,
    /// How many sockets were told of that are left out.
    told: u64,
}

impl Complete for Owners {
    fn complete(&self, record: &mut FlowRecord) {
        let FlowRecord { protocol, first_seen, last_seen, .. } = *record;
        let ends = FlowEnds {
            protocol,
            source: SocketAddr::new(record.source, record.source_port),
            destination: SocketAddr::new(record.destination, record.destination_port),
            first_seen,
            last_seen,
        };
        (record.source_owner, record.destination_owner) = self.flow_owners.find(&ends);
    }
}

impl Owners {
    /// Looks for the first time. Conversations are asked about for as long as `timeout` after they
    /// end.
    pub(super) fn open(input: &InputArguments, timeout: Duration) -> anyhow::Result<Self> {
        let flow_owners = FlowOwners::new(FlowOwnerOptions {
            all_namespaces: input.all_namespaces,
            owners: OwnerSource::Auto,
            keep: timeout + MARGIN,
        })?;
        Ok(Self { flow_owners, told: 0 })
    }

    #[cfg(feature = "ebpf")]
    pub(super) fn get(&self) -> &FlowOwners {
        &self.flow_owners
    }

    /// Looks at the sockets that there are, if that is due, and tells what does not work.
    pub(super) fn look_if_due(&mut self, reporter: &Reporter) -> anyhow::Result<()> {
        self.flow_owners.look_if_due()?;
        self.tell_degradations(reporter);
        // That it begins; how many there were is told at the end.
        if self.told == 0 {
            self.tell_left_out(reporter);
        }
        Ok(())
    }

    /// Learns of sockets what can still be learned, at the end.
    pub(super) fn catch_up(&mut self, reporter: &Reporter) -> anyhow::Result<()> {
        self.flow_owners.catch_up()?;
        self.tell_left_out(reporter);
        Ok(())
    }

    fn tell_left_out(&mut self, reporter: &Reporter) {
        let left_out = self.flow_owners.refused();
        if left_out > self.told {
            self.told = left_out;
            reporter.tell(&format!(
                "owners: there was no room for sockets {left_out} times; their conversations may be \
                 without a process"
            ));
        }
    }

    fn tell_degradations(&mut self, reporter: &Reporter) {
        for degradation in self.flow_owners.take_degradations() {
            reporter.tell(&degradation.to_string());
        }
    }

    fn of(&self, packet: &Packet<'_>, headers: &Headers) -> [Option<Owner>; 2] {
        let (source, destination) = self.flow_owners.find(&FlowEnds {
            protocol: headers.protocol,
            source: SocketAddr::new(headers.source, headers.source_port),
            destination: SocketAddr::new(headers.destination, headers.destination_port),
            first_seen: packet.at,
            last_seen: packet.at,
        });
        [source, destination]
    }
}

impl Live {
    /// Begins to capture. Conversations are asked about for as long as `timeout` after they end.
    pub(super) fn open(input: &InputArguments, timeout: Duration) -> anyhow::Result<Self> {
        let filter = input.filter();
        let options = CaptureOptions {
            interfaces: input.interfaces.clone(),
            filter: filter.clone(),
            promiscuous: !input.no_promiscuous,
            snapshot_length: input.snapshot_length,
            buffer_size: usize::try_from(input.buffer_size).unwrap_or(usize::MAX),
            ..CaptureOptions::default()
        };
        let owners = Owners::open(input, timeout)?;
        Ok(Self {
            capture: Capture::open(options)?,
            owners,
            all_namespaces: input.all_namespaces,
            filter,
            snapshot_length: input.snapshot_length,
            named: 0,
        })
    }

    /// Gives up all privileges that are not needed any more. What could not be given up is returned.
    pub(super) fn drop_privileges(&self, foreign_files: bool) -> Option<String> {
        let needs = Needs {
            processes: true,
            all_namespaces: self.all_namespaces,
            packets: self.capture.opens_later(),
            attaching: false,
            foreign_files,
        };
        drop_privileges(needs, self.owners.flow_owners.trial(), || true)
    }

    /// Captures until it is told to end.
    pub(super) fn run(&mut self, work: &mut Work) -> anyhow::Result<()> {
        let captured = self.capture_until_the_end(work);
        let Work { conversations, packets, reporter } = work;
        let Self { capture, owners, filter, snapshot_length, .. } = self;
        let known = Interfaces { filter, snapshot_length: *snapshot_length };
        capture.stop(&mut |packet| {
            take(&packet, owners, &known, conversations, packets.as_mut(), reporter);
        });
        self.count(conversations);
        let captured = captured.and(self.owners.catch_up(reporter));
        let captured = captured.and(conversations.finish(&self.owners));
        let interfaces = self.capture.interfaces();
        for interface in &interfaces {
            reporter.tell(&account(interface));
        }
        let Some(packets) = packets else { return captured };
        for (number, interface) in interfaces.iter().enumerate() {
            let statistics = &interface.statistics;
            packets.set_statistics(
                number,
                file::InterfaceStatistics {
                    received: Some(statistics.received - statistics.passed_over),
                    dropped: Some(statistics.dropped_by_interface),
                    dropped_by_system: Some(statistics.dropped),
                },
            );
        }
        captured.and(packets.finish(now()))
    }

    fn capture_until_the_end(&mut self, work: &mut Work) -> anyhow::Result<()> {
        let Work { conversations, packets, reporter } = work;
        loop {
            let Self { capture, owners, filter, snapshot_length, .. } = self;
            let known = Interfaces { filter, snapshot_length: *snapshot_length };
            capture.read(WAIT, None, &mut |packet| {
                take(&packet, owners, &known, conversations, packets.as_mut(), reporter);
            })?;
            self.name_interfaces(conversations);
            for news in self.capture.take_news() {
                reporter.tell(&format!("{}: {}", news.interface, news.event));
            }
            self.owners.look_if_due(reporter)?;
            if reporter.is_due() {
                conversations.settle(Some(now().saturating_sub(BEHIND)), &self.owners);
                if let Some(packets) = packets {
                    packets.flush(reporter);
                }
                self.count(conversations);
                if !reporter.report(conversations, packets.as_ref()) {
                    return Ok(());
                }
            }
        }
    }

    fn name_interfaces(&mut self, conversations: &mut Conversations) {
        while let Some(interface) = self.capture.interface(self.named) {
            conversations.name_interface(interface.name.clone(), &self.owners);
            self.named += 1;
        }
    }

    /// Counts what the kernel had no room for.
    fn count(&mut self, conversations: &mut Conversations) {
        let interfaces = self.capture.interfaces();
        let dropped = interfaces.iter().map(|interface| interface.statistics.dropped).sum();
        conversations.ledger_mut().dropped = dropped;
    }
}

/// What is known of interfaces beside their numbers.
struct Interfaces<'a> {
    filter: &'a str,
    snapshot_length: u32,
}

fn take(
    packet: &Packet<'_>,
    owners: &Owners,
    interfaces: &Interfaces<'_>,
    conversations: &mut Conversations,
    packets: Option<&mut PacketFile>,
    reporter: &Reporter,
) {
    let headers = conversations.take(packet, number(packet.interface), owners);
    let Some(packets) = packets else { return };
    let of_packet = headers.map(|headers| owners.of(packet, &headers)).unwrap_or_default();
    let described = || file::Interface {
        name: conversations.interface_name(packet.interface).to_owned(),
        link_type: packet.link_type,
        snapshot_length: interfaces.snapshot_length,
        filter: interfaces.filter.to_owned(),
        statistics: file::InterfaceStatistics::default(),
    };
    packets.write(packet, described, &of_packet, reporter);
}

/// There are never as many interfaces as would not fit.
fn number(interface: u32) -> u16 {
    u16::try_from(interface).unwrap_or(u16::MAX)
}

pub(super) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// What became of the packets of an interface.
fn account(interface: &Interface) -> String {
    let statistics = &interface.statistics;
    let mut account = format!(
        "{}: {} packets seen by the kernel = {} taken + {} dropped by it",
        interface.name,
        statistics.received - statistics.passed_over,
        statistics.delivered,
        statistics.dropped
    );
    for (count, what) in [
        (statistics.dropped_by_interface, "lost by the interface before"),
        (statistics.passed_over, "left out: sent on loopback, where each is received too"),
        (statistics.interruptions, "times down or gone"),
    ] {
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(account, "; {count} {what}");
        }
    }
    account
}
