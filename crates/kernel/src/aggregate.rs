//! Conversations that the kernel adds up itself: programs at the interfaces (tcx, Linux 6.6) count each
//! packet where it comes by, and the sums are collected from time to time.
//!
//! What is lost that way is what only a look at each packet tells: retransmissions, what goes through
//! tunnels, filters, the packets themselves. Of a TCP connection the segments that open and close it
//! are kept, so its state and the time of its handshake are known.

mod interfaces;
mod programs;
mod record;

use std::{os::fd::AsFd as _, sync::Arc, time::Duration};

use netglass_model::{IpProtocol, Timestamp};
use netglass_packet::TcpSegment;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use self::{interfaces::Interfaces, programs::Programs};
use crate::{
    Error,
    capture::InterfaceNews,
    program::{Clock, Obstacle},
};

/// What is counted, and how much is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateOptions {
    /// The interfaces: names, patterns with `*` and `?`, or `any` for all that there are.
    pub interfaces: Vec<String>,
    /// Whether packets for other hosts are asked for too; of `any` they never are.
    pub promiscuous: bool,
    /// How many flows there may be between two collections. There are two tables, of 540 bytes for
    /// each flow, whose memory is taken at the start.
    pub flows: u32,
}

impl AggregateOptions {
    /// How many flows suit this host: more where there is more memory, within bounds.
    #[must_use]
    pub fn flows_of_host() -> u32 {
        crate::stream::Sizes::of_host().flows
    }
}

/// What became of packets since the last collection:
/// `seen = in flows + not_ip + truncated + length + version + too_deep + flows_full + flows_busy +
/// unaccounted`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AggregateCounts {
    /// Packets that came by.
    pub seen: u64,
    /// Those that are not of IP.
    pub not_ip: u64,
    /// Those that end before their addresses.
    pub truncated: u64,
    /// Those with a length that cannot be.
    pub length: u64,
    /// Those whose IP header has another version than what comes before says.
    pub version: u64,
    /// Those with more tags than are looked behind.
    pub too_deep: u64,
    /// Those for whose flow there was no room.
    pub flows_full: u64,
    /// Those whose flow could not be counted at the moment.
    pub flows_busy: u64,
    /// Those that were lost in some other way.
    pub unaccounted: u64,
    /// Later fragments that are counted without ports, as the first of their datagram was not seen.
    pub unmatched_fragments: u64,
    /// Bytes of the packets that are in no flow.
    pub bytes_left_out: u64,
}

/// What was counted of a flow since the last collection. Arrays are by endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AggregatedFlow {
    /// The interface on which it was seen, as in [`Aggregator::interface_names`].
    pub interface: u32,
    /// The protocol above IP.
    pub protocol: IpProtocol,
    /// Both addresses and ports. A message of ICMP has its type times 256 and its code for the second
    /// port.
    pub endpoints: [(std::net::IpAddr, u16); 2],
    /// Which endpoint sent the first packet.
    pub first_sender: usize,
    /// When that was.
    pub began: Timestamp,
    /// When the last one came.
    pub last: Timestamp,
    /// How many packets each sent.
    pub packets: [u64; 2],
    /// How many bytes on the wire.
    pub bytes: [u64; 2],
    /// The flags of TCP that each sent, but for those of `steps`.
    pub flags: [u8; 2],
    /// Whether either sent data, but for that of `steps`.
    pub data: bool,
    steps: [Option<Step>; record::STEPS],
}

/// A segment on which the state of a connection depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    at: Timestamp,
    sender: usize,
    wire_length: u32,
    segment: TcpSegment,
    /// The lower bits of what each endpoint had sent before.
    packets: [u32; 2],
    bytes: [u32; 2],
}

/// A part of what was counted of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    /// One segment of TCP.
    Segment {
        /// When it came.
        at: Timestamp,
        /// Which endpoint sent it.
        sender: usize,
        /// How many bytes it had on the wire.
        wire_length: u32,
        /// What it says.
        segment: TcpSegment,
    },
    /// Packets of which only the sums are known, by endpoint.
    Sums {
        /// No packet of them came before that.
        from: Timestamp,
        /// No packet of them came after that.
        to: Timestamp,
        /// How many they are.
        packets: [u64; 2],
        /// How many bytes they had on the wire.
        bytes: [u64; 2],
    },
}

impl Portion {
    /// When it begins.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        match *self {
            Self::Segment { at, .. } => at,
            Self::Sums { from, .. } => from,
        }
    }
}

impl AggregatedFlow {
    /// Its portions, in order. All together they are its sums, also where processors counted at the
    /// same time and a step does not tell exactly what came before.
    pub fn portions(&self) -> impl Iterator<Item = Portion> + '_ {
        let steps: Vec<&Step> = self.steps.iter().flatten().collect();
        let mut portions = Vec::with_capacity(2 * steps.len() + 1);
        // What is left for sums, and for steps that are still to come.
        let (mut packets, mut bytes) = (self.packets, self.bytes);
        let (mut packets_told, mut bytes_told) = ([0_u64; 2], [0_u64; 2]);
        let mut kept = Vec::with_capacity(steps.len());
        for step in steps {
            let [left, room] = [&mut packets[step.sender], &mut bytes[step.sender]];
            let wire_length = u64::from(step.wire_length);
            // One that was being written when its table was taken.
            if *left == 0 || *room < wire_length {
                continue;
            }
            *left -= 1;
            *room -= wire_length;
            kept.push(step);
        }
        let mut from = self.began;
        for step in kept {
            let mut between = ([0; 2], [0; 2]);
            for end in 0..2 {
                between.0[end] = more(step.packets[end], packets_told[end]).min(packets[end]);
                between.1[end] = more(step.bytes[end], bytes_told[end]).min(bytes[end]);
                if between.0[end] == 0 {
                    between.1[end] = 0;
                }
                packets[end] -= between.0[end];
                bytes[end] -= between.1[end];
                packets_told[end] += between.0[end];
                bytes_told[end] += between.1[end];
            }
            if between.0 != [0; 2] {
                let to = step.at.max(from);
                portions.push(Portion::Sums { from, to, packets: between.0, bytes: between.1 });
            }
            let Step { at, sender, wire_length, segment, .. } = *step;
            portions.push(Portion::Segment { at, sender, wire_length, segment });
            packets_told[sender] += 1;
            bytes_told[sender] += u64::from(wire_length);
            from = from.max(at);
        }
        if packets != [0; 2] || bytes != [0; 2] {
            portions.push(Portion::Sums { from, to: self.last.max(from), packets, bytes });
        }
        portions.into_iter()
    }
}

/// How far a number whose lower bits are `lower` is beyond `told`; none if it is before that.
#[expect(clippy::cast_possible_truncation, reason = "the lower bits are wanted")]
fn more(lower: u32, told: u64) -> u64 {
    let more = lower.wrapping_sub(told as u32);
    // What processors count at the same time may seem to go back.
    if more > u32::MAX - (1 << 20) { 0 } else { more.into() }
}

/// Counts the packets of a set of interfaces, those that appear later included.
///
/// It belongs to the network namespace of the thread that opened it, and is to be used there.
#[derive(Debug)]
pub struct Aggregator {
    // Before the programs that they attach.
    interfaces: Interfaces,
    programs: Programs,
}

impl Aggregator {
    /// Begins to count in the network namespace of the calling thread.
    ///
    /// An interface that is named has to exist; patterns may match none.
    pub fn open(options: &AggregateOptions) -> Result<Self, Error> {
        let programs = Programs::load(options.flows.max(1))?;
        let interfaces = Interfaces::open(&options.interfaces, options.promiscuous, &programs)?;
        Ok(Self { interfaces, programs })
    }

    /// Waits until something is to be done: an interface changed, which is done here, or one of the
    /// tables fills up. Returns whether it is that.
    pub fn wait(&mut self, wait: Duration) -> Result<bool, Error> {
        let until_list = self.interfaces.until_list();
        let wait = until_list.map_or(wait, |until| until.min(wait));
        let timeout = Timespec::try_from(wait).ok();
        let mut events = [
            PollFd::from_borrowed_fd(self.interfaces.events(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.programs.wakeups().as_fd(), PollFlags::IN),
        ];
        let [links, wakeups] = match poll(&mut events, timeout.as_ref()) {
            Ok(_) => events.each_ref().map(|event| !event.revents().is_empty()),
            // A signal: whoever sent it wants the caller to look.
            Err(Errno::INTR) => [false; 2],
            Err(errno) => {
                return Err(Error::Capture { interface: None, reason: errno.to_string() });
            }
        };
        self.interfaces.keep_up(links, &self.programs)?;
        if wakeups {
            self.programs.take_wakeups()?;
        }
        Ok(wakeups)
    }

    /// Collects what came since the last time; what comes from now on is for the next.
    pub fn collect(&mut self, flows: &mut Vec<AggregatedFlow>) -> Result<AggregateCounts, Error> {
        let epoch = self.programs.flip()?;
        let clock = Clock::read();
        let before = flows.len();
        let interfaces = &self.interfaces;
        self.programs.take_flows(epoch, &mut |key, sums| {
            let flow = record::parse(key, sums, clock);
            flows.extend(flow.map(|flow| AggregatedFlow {
                interface: interfaces.number(flow.interface),
                ..flow
            }));
        })?;
        let mut counts = self.programs.take_counts(epoch)?;
        let in_flows: u64 = flows[before..].iter().flat_map(|flow| flow.packets).sum();
        let AggregateCounts { not_ip, truncated, length, version, too_deep, .. } = counts;
        let known = in_flows + not_ip + truncated + length + version + too_deep;
        let known = known + counts.flows_full + counts.flows_busy;
        counts.unaccounted = counts.seen.saturating_sub(known);
        Ok(counts)
    }

    /// Ends it: nothing is counted any more, and what was counted is still to be collected.
    pub fn stop(&mut self) {
        self.interfaces.close_all();
    }

    /// The names of the interfaces so far, those that are gone included.
    #[must_use]
    pub fn interface_names(&self) -> &[Arc<str>] {
        self.interfaces.names()
    }

    /// What happened to interfaces since the last time.
    pub fn take_news(&mut self) -> Vec<InterfaceNews> {
        self.interfaces.take_news()
    }

    /// Tries whether the thread that calls it may collect: what [`drop_to`](crate::drop_to) asks.
    pub fn trial(&self) -> impl FnOnce() -> bool + Send + '_ {
        self.programs.trial()
    }
}

/// Tries whether packets can be counted, on the loopback interface.
pub(crate) fn try_to_count() -> Result<(), Obstacle> {
    Programs::try_all()
}

#[cfg(test)]
mod tests;
