//! Drops counted by reason, interface, connection, endpoint and process.

use std::{
    collections::HashMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use netglass_cilium::{
    Event, InterfaceNames, Level, Notification, Options, Outcome, PacketProcess, Style, Summarizer,
    decode,
};
use netglass_model::printable;
use serde::Serialize;

use super::arguments::Summary;

/// The version of the object's schema (docs/monitor-schema.md).
const VERSION: u32 = 1;
/// How many of a kind are told apart; the rest is counted together.
const MOST: usize = 65_536;
/// How many of a kind are shown.
const SHOWN: usize = 20;
/// What those are called that are not told apart.
const OTHERS: &str = "(others)";

/// The kinds by which drops are counted.
const KINDS: [&str; 5] = ["reason", "interface", "connection", "endpoint", "process"];

/// Drops since the last summary.
pub(super) struct Drops {
    style: Style,
    is_json: bool,
    interval: Option<Duration>,
    since: Instant,
    next: Option<Instant>,
    summarizer: Summarizer,
    interfaces: InterfaceNames,
    dropped: u64,
    others: u64,
    lost: u64,
    counts: [HashMap<String, u64>; KINDS.len()],
}

impl Drops {
    pub(super) fn new(summary: Summary, options: Options, now: Instant) -> Self {
        let interval = match summary {
            Summary::End => None,
            Summary::Each(interval) => Some(interval),
        };
        Self {
            style: options.style,
            is_json: options.level == Level::Json,
            interval,
            since: now,
            next: interval.map(|interval| now + interval),
            summarizer: Summarizer::new(options.style),
            interfaces: InterfaceNames::default(),
            dropped: 0,
            others: 0,
            lost: 0,
            counts: Default::default(),
        }
    }

    pub(super) fn set_interfaces(&mut self, names: InterfaceNames) {
        self.interfaces = names;
    }

    /// Counts an event.
    pub(super) fn take(&mut self, event: &Event<'_>, outcome: Outcome) {
        if let Outcome::Lost(lost) = outcome {
            self.lost = self.lost.saturating_add(lost);
            return;
        }
        let Ok(Notification::Drop(drop)) = decode(event.data, self.style.layouts()) else {
            self.others += 1;
            return;
        };
        self.dropped += 1;
        let names = drop.kernel.map(|facts| facts.names());
        let interface = match (&names, drop.interface.filter(|index| *index > 0)) {
            (_, None) => "(not told)".to_owned(),
            (Some(names), Some(index)) => {
                let namespace = names.network_namespace.map(|name| format!(" of {name}"));
                let name = names.interface.map_or_else(|| index.to_string(), str::to_owned);
                name + &namespace.unwrap_or_default()
            }
            (None, Some(index)) => {
                self.interfaces.get(&index).cloned().unwrap_or_else(|| index.to_string())
            }
        };
        // Endpoints are Cilium's, processes the kernel's.
        let endpoints = names.is_none().then(|| format!("{} -> {}", drop.source, drop.destination));
        let processes =
            names.map(|it| format!("{} -> {}", process(it.source), process(it.destination)));
        let keys = [
            Some(self.summarizer.reason(&drop)),
            Some(interface),
            Some(self.summarizer.connection(&drop.captured)),
            endpoints,
            processes,
        ];
        for (counts, key) in self.counts.iter_mut().zip(keys) {
            let Some(key) = key else { continue };
            let has_room = counts.len() < MOST || counts.contains_key(&key);
            let key = if has_room { key } else { OTHERS.to_owned() };
            *counts.entry(key).or_default() += 1;
        }
    }

    /// Whether it is time to show them.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// Appends what was counted, and begins anew.
    pub(super) fn show(&mut self, now: Instant, out: &mut Vec<u8>) {
        let seconds = now.duration_since(self.since).as_secs_f64();
        let text = if self.is_json { self.json(seconds) } else { self.text(seconds) };
        out.extend_from_slice(text.as_bytes());
        self.since = now;
        self.next = self.interval.map(|interval| now + interval);
        (self.dropped, self.others, self.lost) = (0, 0, 0);
        self.counts.iter_mut().for_each(HashMap::clear);
    }

    /// The most frequent of a kind.
    fn most(counts: &HashMap<String, u64>) -> Vec<Count<'_>> {
        let mut all: Vec<_> =
            counts.iter().map(|(what, count)| Count { what, count: *count }).collect();
        all.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.what.cmp(b.what)));
        all.truncate(SHOWN);
        all
    }

    fn text(&self, seconds: f64) -> String {
        let Self { dropped: drops, others, lost, .. } = self;
        // Writing to a String cannot fail.
        let mut text =
            format!("{drops} drops in {seconds:.1} s, {others} other events, {lost} lost\n");
        for (kind, counts) in KINDS.into_iter().zip(&self.counts) {
            if counts.is_empty() {
                continue;
            }
            let _ = writeln!(text, "by {kind}");
            let most = Self::most(counts);
            for Count { what, count } in &most {
                let _ = writeln!(text, "{count:>10}  {what}");
            }
            if counts.len() > most.len() {
                let _ = writeln!(text, "{:>10}  more", counts.len() - most.len());
            }
        }
        text
    }

    fn json(&self, seconds: f64) -> String {
        let [reasons, interfaces, connections, endpoints, processes] =
            self.counts.each_ref().map(Self::most);
        let object = Object {
            v: VERSION,
            kind: "summary",
            seconds,
            drops: self.dropped,
            others: self.others,
            lost: self.lost,
            reasons,
            interfaces,
            connections,
            endpoints,
            processes,
        };
        // A struct of numbers and texts can always be written.
        serde_json::to_string(&object).unwrap_or_default() + "\n"
    }
}

#[derive(Debug, Serialize)]
struct Count<'a> {
    what: &'a str,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Object<'a> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    seconds: f64,
    drops: u64,
    others: u64,
    lost: u64,
    reasons: Vec<Count<'a>>,
    interfaces: Vec<Count<'a>>,
    connections: Vec<Count<'a>>,
    endpoints: Vec<Count<'a>>,
    processes: Vec<Count<'a>>,
}

/// A process as it is counted.
fn process(process: Option<PacketProcess<'_>>) -> String {
    process.map_or_else(|| "unknown".to_owned(), |it| format!("{}[{}]", printable(it.comm), it.pid))
}
