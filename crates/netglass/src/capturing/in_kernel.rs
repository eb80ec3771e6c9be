//! Conversations that the kernel adds up.

use std::{
    mem,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use netglass_flow::{Sighting, Sums};
use netglass_kernel::{
    Needs,
    aggregate::{AggregateCounts, AggregateOptions, AggregatedFlow, Aggregator, Portion},
};
use netglass_model::{FlowRecord, Timestamp};
use netglass_packet::{Headers, Malformed, Tunnels};

use super::{
    Work,
    arguments::{FlowArguments, InputArguments},
    conversations::{Complete, Conversations},
    ledger::Lost,
    live::{Owners, WAIT, now},
    packet_file::PacketFileArguments,
};
use crate::{probing::drop_privileges, usage::UsageError};

/// Interfaces at which the kernel adds up conversations.
pub(super) struct InKernel {
    aggregator: Aggregator,
    owners: Owners,
    all_namespaces: bool,
    interval: Duration,
    /// How many interfaces have told their name.
    named: usize,
    next_collection: Instant,
    /// All that came until then was collected.
    collected: Timestamp,
    // Kept for their room.
    flows: Vec<AggregatedFlow>,
    portions: Vec<(usize, usize, Portion)>,
}

/// Knows who is at the ends of conversations, and what was not looked at.
struct Known<'a>(&'a Owners);

impl Complete for Known<'_> {
    fn complete(&self, record: &mut FlowRecord) {
        self.0.complete(record);
        if let Some(tcp) = &mut record.tcp {
            tcp.source_retransmissions = None;
            tcp.destination_retransmissions = None;
        }
    }
}

/// Fails if there is something that takes a look at each packet.
pub(super) fn check(
    input: &InputArguments,
    flows: &FlowArguments,
    packets: &PacketFileArguments,
) -> Result<(), UsageError> {
    let reason = if !input.files.is_empty() {
        "files (-r) are not read by it"
    } else if !input.filter.is_empty() {
        "it cannot filter: leave the filter out, or look for conversations in what is logged"
    } else if packets.is_given() {
        "packets are not there to be written (-w)"
    } else if flows.tunnels() == Tunnels::Inner {
        "it does not look into tunnels (--tunnels inner)"
    } else {
        return Ok(());
    };
    Err(UsageError(format!(
        "with --engine kernel the kernel counts packets, and nobody sees them: {reason}; \
         --engine ring can"
    )))
}

impl InKernel {
    /// Begins to count. Conversations are asked about for as long as `timeout` after they end.
    pub(super) fn open(input: &InputArguments, timeout: Duration) -> anyhow::Result<Self> {
        let options = AggregateOptions {
            interfaces: input.interfaces.clone(),
            promiscuous: !input.no_promiscuous,
            flows: input.max_kernel_flows.unwrap_or_else(AggregateOptions::flows_of_host),
        };
        let owners = Owners::open(input, timeout)?;
        let aggregator = Aggregator::open(&options)
            .context("counting packets in the kernel (netglass doctor tells what that takes)")?;
        Ok(Self {
            aggregator,
            owners,
            all_namespaces: input.all_namespaces,
            interval: input.collect_interval,
            named: 0,
            next_collection: Instant::now() + input.collect_interval,
            collected: now(),
            flows: Vec::new(),
            portions: Vec::new(),
        })
    }

    /// Gives up all privileges that are not needed any more. What could not be given up is returned.
    pub(super) fn drop_privileges(&self, foreign_files: bool) -> Option<String> {
        let needs = Needs {
            processes: true,
            all_namespaces: self.all_namespaces,
            packets: true,
            attaching: true,
            foreign_files,
        };
        let (knows, collects) = (self.owners.get().trial(), self.aggregator.trial());
        drop_privileges(needs, || knows() && collects(), || true)
    }

    /// Counts until it is told to end.
    pub(super) fn run(&mut self, work: &mut Work) -> anyhow::Result<()> {
        let counted = self.count_until_the_end(work);
        self.aggregator.stop();
        let collected = self.collect(&mut work.conversations);
        let caught_up = self.owners.catch_up(&work.reporter);
        counted.and(collected).and(caught_up).and(work.conversations.finish(&Known(&self.owners)))
    }

    fn count_until_the_end(&mut self, work: &mut Work) -> anyhow::Result<()> {
        let Work { conversations, reporter, .. } = work;
        loop {
            let until = self.next_collection.saturating_duration_since(Instant::now());
            let is_filling = self.aggregator.wait(until.min(WAIT))?;
            for news in self.aggregator.take_news() {
                reporter.tell(&format!("{}: {}", news.interface, news.event));
            }
            if is_filling || self.next_collection <= Instant::now() {
                self.next_collection = Instant::now() + self.interval;
                self.collect(conversations)?;
            }
            self.owners.look_if_due(reporter)?;
            if reporter.is_due() {
                conversations.settle(Some(self.collected), &Known(&self.owners));
                if !reporter.report(conversations, None) {
                    return Ok(());
                }
            }
        }
    }

    /// Collects what came since the last time, and counts it in the order in which it came.
    fn collect(&mut self, conversations: &mut Conversations) -> anyhow::Result<()> {
        let known = Known(&self.owners);
        let collected = now();
        self.flows.clear();
        let counts = self.aggregator.collect(&mut self.flows)?;
        self.collected = collected;
        for name in self.aggregator.interface_names().iter().skip(self.named) {
            conversations.name_interface(name.clone(), &known);
            self.named += 1;
        }
        self.portions.clear();
        for (index, flow) in self.flows.iter().enumerate() {
            self.portions.extend(flow.portions().enumerate().map(|(part, it)| (index, part, it)));
        }
        self.portions.sort_unstable_by_key(|(flow, part, it)| (it.at(), *flow, *part));
        for (index, _, portion) in &self.portions {
            let Some(flow) = self.flows.get(*index) else { continue };
            match counted(flow, portion) {
                Counted::One(sighting) => conversations.count_one(sighting, &known),
                Counted::Several(sums) => conversations.count_sums(&sums, &known),
            }
        }
        count_losses(&counts, conversations);
        Ok(())
    }
}

/// What counts in the table of conversations.
enum Counted {
    One(Sighting),
    Several(Sums),
}

fn counted(flow: &AggregatedFlow, portion: &Portion) -> Counted {
    // There are never as many interfaces as would not fit.
    let interface = u16::try_from(flow.interface).unwrap_or(u16::MAX);
    match *portion {
        Portion::Segment { at, sender, wire_length, segment } => {
            let headers = Headers { tcp: Some(segment), ..headers(flow, sender) };
            Counted::One(Sighting { at, interface, wire_length, headers })
        }
        Portion::Sums { from, to, mut packets, mut bytes } => {
            let mut flags = flow.flags;
            let sender =
                if packets.contains(&0) { usize::from(packets[0] == 0) } else { flow.first_sender };
            if sender == 1 {
                packets.reverse();
                bytes.reverse();
                flags.reverse();
            }
            let (headers, data) = (headers(flow, sender), flow.data);
            Counted::Several(Sums { from, to, interface, headers, packets, bytes, flags, data })
        }
    }
}

/// The headers of what one of a flow's endpoints sends.
fn headers(flow: &AggregatedFlow, sender: usize) -> Headers {
    let [mut source, mut destination] = flow.endpoints;
    if sender == 1 {
        mem::swap(&mut source, &mut destination);
    }
    Headers {
        source: source.0,
        destination: destination.0,
        protocol: flow.protocol,
        source_port: source.1,
        destination_port: destination.1,
        fragment: None,
        tcp: None,
    }
}

/// Counts the packets that are in no flow.
fn count_losses(counts: &AggregateCounts, conversations: &mut Conversations) {
    let ledger = conversations.ledger_mut();
    ledger.not_ip += counts.not_ip;
    ledger.bytes += counts.bytes_left_out;
    ledger.unmatched_fragments += counts.unmatched_fragments;
    for (malformed, count) in [
        (Malformed::Truncated, counts.truncated),
        (Malformed::Length, counts.length),
        (Malformed::Version, counts.version),
        (Malformed::TooDeep, counts.too_deep),
    ] {
        if count > 0 {
            *ledger.malformed.entry(malformed).or_default() += count;
        }
    }
    for (reason, count) in [
        (Lost::TableFull, counts.flows_full),
        (Lost::TableBusy, counts.flows_busy),
        (Lost::Unaccounted, counts.unaccounted),
    ] {
        if count > 0 {
            *ledger.lost.entry(reason).or_default() += count;
        }
    }
}
