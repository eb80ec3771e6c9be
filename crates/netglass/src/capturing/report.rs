//! What is told on standard error while packets are captured, and at the end.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use netglass_flow::Usage;
use netglass_model::printable;
use netglass_store::flow_log::FlowOutput;
use serde::Serialize;

use super::{
    arguments::{ReportArguments, ReportFormat},
    conversations::Conversations,
    ledger::{Lost, PacketLedger, malformed_name},
    packet_file::PacketFile,
};
use crate::probing::{Event, Signals};

/// The version of the objects' schema (docs/capture.md).
const VERSION: u32 = 1;
/// How often signals and clocks are looked at while there is much to do.
const OFTEN: Duration = Duration::from_millis(100);

/// Tells how things go, each time after a while and when a signal asks for it.
pub(super) struct Reporter {
    signals: Signals,
    interval: Option<Duration>,
    format: ReportFormat,
    next_look: Instant,
    next_report: Option<Instant>,
    last: Instant,
    packets: u64,
    bytes: u64,
}

impl Reporter {
    pub(super) fn new(arguments: &ReportArguments, signals: Signals) -> Self {
        let now = Instant::now();
        let interval = arguments.stats_interval;
        Self {
            signals,
            interval,
            format: arguments.stats_format,
            next_look: now + OFTEN,
            next_report: interval.map(|interval| now + interval),
            last: now,
            packets: 0,
            bytes: 0,
        }
    }

    /// Whether [`Reporter::report`] may have something to do.
    pub(super) fn is_due(&self) -> bool {
        self.next_look <= Instant::now()
    }

    /// Tells what is to be told. Returns whether it should go on: no signal asked for the end, and
    /// somebody wants what is logged.
    pub(super) fn report(
        &mut self,
        conversations: &mut Conversations,
        packets: Option<&PacketFile>,
    ) -> bool {
        let now = Instant::now();
        self.next_look = now + OFTEN;
        for note in conversations.log_mut().take_notes() {
            self.tell(&note);
        }
        if self.next_report.is_some_and(|next| next <= now) {
            self.next_report = self.interval.map(|interval| now + interval);
            self.tell_rates(conversations, now);
        }
        let outputs = conversations.log().outputs();
        if !outputs.is_empty() && outputs.iter().all(FlowOutput::is_closed) {
            return false;
        }
        loop {
            match self.signals.pending() {
                Some(Event::Report) => self.tell_ledger(conversations, packets),
                Some(Event::End) => return false,
                // Files that were moved are begun anew, which is done now and then anyway.
                Some(Event::HangUp) => conversations.log_mut().tick(now),
                Some(Event::Scan | Event::Flush) => {}
                None => return true,
            }
        }
    }

    /// Tells the user something.
    pub(super) fn tell(&self, note: &str) {
        // Nobody is left to be told when even this cannot be written.
        let _ = match self.format {
            ReportFormat::Text => writeln!(io::stderr().lock(), "netglass: {}", printable(note)),
            ReportFormat::Json => {
                write_object(&Object { version: VERSION, kind: "note", rest: Note { note } })
            }
        };
    }

    /// Tells what became of each packet and of each conversation.
    pub(super) fn tell_ledger(&self, conversations: &Conversations, file: Option<&PacketFile>) {
        let (packets, usage) = (conversations.ledger(), conversations.usage());
        let outputs = conversations.log().outputs();
        if self.format == ReportFormat::Json {
            let outputs = outputs
                .iter()
                .map(|output| {
                    let ledger = output.ledger();
                    let dropped =
                        ledger.dropped.iter().map(|(reason, count)| (reason.name(), *count));
                    OutputObject {
                        target: output.target().to_owned(),
                        records: ledger.records,
                        stored: ledger.stored,
                        spooled: ledger.spooled,
                        pending: ledger.pending,
                        dropped: dropped.collect(),
                    }
                })
                .collect();
            let rest = LedgerObject {
                packets: PacketsObject::of(packets),
                flows: usage.flows,
                evicted: usage.evicted,
                unmatched_fragments: usage.unmatched_fragments,
                outputs,
                packet_file: file.map(PacketFileObject::of),
            };
            // Nobody is left to be told when even this cannot be written.
            let _ = write_object(&Object { version: VERSION, kind: "capture_ledger", rest });
            return;
        }
        self.tell(&packets.to_string());
        if packets.lost.contains_key(&Lost::TableFull) {
            self.tell(
                "the kernel had no room for all conversations between two collections: raise \
                 --max-kernel-flows, or collect more often (--collect-interval)",
            );
        }
        if usage.evicted > 0 {
            self.tell(&format!(
                "{} conversations made way, as there were more than --max-flows",
                usage.evicted
            ));
        }
        if usage.unmatched_fragments > 0 {
            self.tell(&format!(
                "{} fragments count without ports: the first of their datagrams was not seen",
                usage.unmatched_fragments
            ));
        }
        for output in outputs {
            self.tell(&format!("{}: {}", output.target(), output.ledger()));
        }
        if let Some(file) = file {
            self.tell(&format!("{}: {}", file.target(), file.ledger()));
        }
    }

    fn tell_rates(&mut self, conversations: &Conversations, now: Instant) {
        let ledger = conversations.ledger();
        let seconds = now.duration_since(self.last).as_secs_f64().max(1e-9);
        let packets = (ledger.seen() - self.packets) as f64 / seconds;
        let bits = (ledger.bytes - self.bytes) as f64 * 8.0 / seconds;
        (self.last, self.packets, self.bytes) = (now, ledger.seen(), ledger.bytes);
        let Usage { flows, evicted, .. } = conversations.usage();
        let waiting: u64 = conversations.log().outputs().iter().map(FlowOutput::waiting).sum();
        if self.format == ReportFormat::Json {
            let rest = RatesObject {
                packets_per_second: packets.round(),
                bits_per_second: bits.round(),
                flows,
                evicted,
                dropped_by_kernel: ledger.dropped_total(),
                records_waiting: waiting,
            };
            // Nobody is left to be told when even this cannot be written.
            let _ = write_object(&Object { version: VERSION, kind: "capture_statistics", rest });
            return;
        }
        self.tell(&format!(
            "{packets:.0} packets/s, {:.3} Mbit/s, {flows} conversations, {} packets dropped by the \
             kernel, {waiting} records waiting",
            bits / 1e6,
            ledger.dropped_total()
        ));
    }
}

fn write_object(object: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(object)?;
    line.push(b'\n');
    io::stderr().lock().write_all(&line)
}

#[derive(Serialize)]
struct Object<T> {
    version: u32,
    kind: &'static str,
    #[serde(flatten)]
    rest: T,
}

#[derive(Serialize)]
struct Note<'a> {
    note: &'a str,
}

#[derive(Serialize)]
struct RatesObject {
    packets_per_second: f64,
    bits_per_second: f64,
    flows: usize,
    evicted: u64,
    dropped_by_kernel: u64,
    records_waiting: u64,
}

#[derive(Serialize)]
struct LedgerObject {
    packets: PacketsObject,
    flows: usize,
    evicted: u64,
    unmatched_fragments: u64,
    outputs: Vec<OutputObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet_file: Option<PacketFileObject>,
}

#[derive(Serialize)]
struct PacketsObject {
    seen: u64,
    in_flows: u64,
    not_ip: u64,
    malformed: BTreeMap<&'static str, u64>,
    filtered: u64,
    dropped_by_kernel: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    dropped_reasons: BTreeMap<&'static str, u64>,
}

impl PacketsObject {
    fn of(ledger: &PacketLedger) -> Self {
        let malformed = ledger.malformed.iter().map(|(&it, &count)| (malformed_name(it), count));
        Self {
            seen: ledger.seen(),
            in_flows: ledger.in_flows,
            not_ip: ledger.not_ip,
            malformed: malformed.collect(),
            filtered: ledger.filtered,
            dropped_by_kernel: ledger.dropped_total(),
            dropped_reasons: ledger.lost.iter().map(|(it, &count)| (it.name(), count)).collect(),
        }
    }
}

#[derive(Serialize)]
struct OutputObject {
    target: String,
    records: u64,
    stored: u64,
    spooled: u64,
    pending: u64,
    dropped: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct PacketFileObject {
    target: String,
    packets: u64,
    written: u64,
    left_out: u64,
    lost: u64,
}

impl PacketFileObject {
    fn of(file: &PacketFile) -> Self {
        let ledger = file.ledger();
        Self {
            target: file.target(),
            packets: ledger.packets,
            written: ledger.written(),
            left_out: ledger.left_out,
            lost: ledger.lost,
        }
    }
}
