//! Notifications of Cilium from memory, rendered to /dev/null by one thread.

use std::{
    fs::File,
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use netglass_cilium::{Event, Filter, Level, Options, Outcome, Renderer, Style};

use crate::{
    bench::{Bench, Effort},
    goal::Goal,
    report::{Report, grouped},
    table::Table,
};

const EVENTS: u64 = 1_000_000;
const LEAST_EVENTS: u64 = 1_000;
/// How much is written at once.
const ENOUGH: usize = 1 << 16;

/// A style, a rendering, and how many million of events a second are to be rendered.
const RENDERINGS: [(&str, Style, Level, f64); 4] = [
    ("as Cilium 1.20, lines", Style::V1_20, Level::Info, 5.0),
    ("as Cilium 1.20, JSON", Style::V1_20, Level::Json, 1.0),
    ("our own, lines", Style::Netglass(None), Level::Info, 5.0),
    ("our own, JSON", Style::Netglass(None), Level::Json, 1.0),
];

/// The bench of this file.
pub(crate) fn benches(effort: Effort) -> Vec<Bench> {
    let events = effort.scaled(EVENTS, LEAST_EVENTS);
    vec![Bench {
        name: "monitor-rendering".to_owned(),
        about: format!(
            "{} notifications of Cilium from memory to /dev/null, one thread; the best of {} rounds",
            grouped(events),
            effort.rounds
        ),
        measure: Box::new(move || measure(events, effort.rounds)),
    }]
}

fn measure(events: u64, rounds: u32) -> Result<Report> {
    let notifications = notifications();
    let mut table = Table::new(["rendering", "M events/s", "bytes/event"]);
    let mut goals = Vec::new();
    for (name, style, level, goal) in RENDERINGS {
        let options = Options { style, level, hex: false, numeric: false };
        let mut best = Duration::MAX;
        let mut bytes = 0;
        for _ in 0..rounds {
            let (took, written) = render(&notifications, events, options)?;
            best = best.min(took);
            bytes = written;
        }
        let rate = events as f64 / best.as_secs_f64() / 1e6;
        let per_event = bytes as f64 / events as f64;
        table.push([name.to_owned(), format!("{rate:.2}"), format!("{per_event:.0}")]);
        let reached = (rate >= goal, format!("{rate:.2}"));
        goals.push(Goal::new(format!("{name}: ≥ {goal} M events/s"), Some(reached)));
    }
    Ok(Report { table, notes: Vec::new(), failures: Vec::new(), goals })
}

/// Renders so many of them, and returns how long that took and how many bytes they have.
fn render(notifications: &[Vec<u8>], events: u64, options: Options) -> Result<(Duration, usize)> {
    let mut renderer = Renderer::new(options);
    let mut filter = Filter::default();
    let mut out = Vec::with_capacity(2 * ENOUGH);
    let mut null = File::create("/dev/null")?;
    let mut written = 0;
    let mut left = events;
    let start = Instant::now();
    for notification in notifications.iter().cycle() {
        if left == 0 {
            break;
        }
        left -= 1;
        let outcome = renderer.render(&Event::sample(1, notification), &mut filter, &mut out);
        ensure!(outcome == Outcome::Shown, "{outcome:?}");
        if out.len() >= ENOUGH || left == 0 {
            null.write_all(&out)?;
            written += out.len();
            out.clear();
        }
    }
    Ok((start.elapsed(), written))
}

/// Packets that come and go, and some that are dropped, of TCP, UDP and ICMP over IPv4 and IPv6.
fn notifications() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for is_v6 in [false, true] {
        for packet in [tcp(0x02), tcp(0x10), udp(), icmp(is_v6)] {
            let frame = frame(is_v6, &packet);
            all.push(trace(all.len(), &frame));
        }
    }
    all.push(dropped(&frame(false, &tcp(0x02))));
    all
}

/// A protocol and what belongs to it.
type Segment = (u8, Vec<u8>);

fn tcp(flags: u8) -> Segment {
    let mut header = vec![0xb2, 0x6e, 0, 80, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0, 0x50, flags];
    header.extend_from_slice(&[0x72, 0x10, 0xbe, 0xef, 0, 0]);
    (6, header)
}

fn udp() -> Segment {
    (17, vec![0xb2, 0x6e, 0, 53, 0, 8, 0, 0])
}

fn icmp(is_v6: bool) -> Segment {
    if is_v6 { (58, vec![128, 0, 0, 0, 0, 1, 0, 1]) } else { (1, vec![8, 0, 0, 0, 0, 1, 0, 1]) }
}

fn frame(is_v6: bool, (protocol, payload): &Segment) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
    let mut frame = vec![0x5e, 0x6f, 0x1a, 0x2b, 0x3c, 0x4d, 0x0a, 0x58, 0x0a, 0x0f, 0x1c, 0xee];
    if is_v6 {
        frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, length, *protocol, 63]);
        for last in [1, 2] {
            frame.extend_from_slice(&[0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x1c, last]);
        }
    } else {
        frame.extend_from_slice(&[8, 0, 0x45, 0, 0, 20 + length, 0x1c, 0x46, 0x40, 0, 63]);
        frame.extend_from_slice(&[*protocol, 0x79, 0xb4, 10, 15, 28, 238, 10, 15, 116, 202]);
    }
    frame.extend_from_slice(payload);
    frame
}

/// What notifications of packets begin with, in their version of 2019.
fn header(kind: u8, sub_type: u8, frame: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, sub_type, 0xfe, 3, 0x73, 0xed, 0x5c, 0xbe];
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&length);
    for number in [49_055_u32, 19_302, 1022] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn trace(which: usize, frame: &[u8]) -> Vec<u8> {
    let point = [0, 2, 5, 10][which % 4];
    let mut bytes = header(4, point, frame);
    let reason = u8::try_from(which % 3).unwrap_or_default();
    bytes.extend_from_slice(&[reason, 0, 0, 0]);
    bytes.extend_from_slice(frame);
    bytes
}

fn dropped(frame: &[u8]) -> Vec<u8> {
    let mut bytes = header(1, 133, frame);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(frame);
    bytes
}
