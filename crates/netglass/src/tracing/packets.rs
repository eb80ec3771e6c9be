//! The packets of the client's connections, in a file for other programs.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::Context as _;
use http_trace::{HttpTrace, TracedClient, capture::write_pcapng, settings::CaptureSettings};

use crate::probing::tell;

/// What the kernel says of the interfaces of this process's network namespace (proc(5)).
const INTERFACES: &str = "/proc/self/net/dev";
/// How many interfaces are captured on: each takes a thread and memory of the kernel's.
const MOST_INTERFACES: usize = 16;
/// How many bytes of packets are kept of each.
const MOST_BYTES: u64 = 64 << 20;
/// How many bytes of each packet: all of the largest there is.
const SNAPSHOT_LENGTH: u32 = 65_535;

/// What is captured: of the interface that packets are sent from, or of all there are.
pub(super) fn settings(interface: Option<&str>) -> anyhow::Result<CaptureSettings> {
    let interfaces: Vec<String> = if let Some(name) = interface {
        vec![name.to_owned()]
    } else {
        let table = fs::read_to_string(INTERFACES)
            .with_context(|| format!("reading the names of interfaces from {INTERFACES}"))?;
        // Two lines of headings, then a name before a colon.
        let lines = table.lines().skip(2).filter_map(|line| line.split_once(':'));
        lines.map(|(name, _)| name.trim().to_owned()).collect()
    };
    if let Some(left_out) = interfaces.get(MOST_INTERFACES..).filter(|names| !names.is_empty()) {
        tell(&[format!(
            "packets of {} interfaces are not captured, as {MOST_INTERFACES} are the most at a time; \
             name one with --interface",
            left_out.len()
        )]);
    }
    Ok(CaptureSettings {
        interfaces: interfaces.into_iter().take(MOST_INTERFACES).collect(),
        snapshot_length: SNAPSHOT_LENGTH,
        size_limit: MOST_BYTES,
        ..CaptureSettings::default()
    })
}

/// Writes the packets of a trace that was just taken, and tells what is not there.
pub(super) fn write(path: &Path, client: &TracedClient, trace: &HttpTrace) -> anyhow::Result<()> {
    let captures = client.captures();
    let secrets = client.tls_secrets().map(|(lines, _)| lines);
    let create = || {
        let mut file = BufWriter::new(File::create(path)?);
        write_pcapng(&mut file, &captures, secrets.as_deref())?;
        file.flush()
    };
    create().with_context(|| format!("writing packets to {}", path.display()))?;
    let mut notes = Vec::new();
    for capture in &trace.captures {
        let name = &capture.interface;
        notes.extend(capture.error.as_ref().map(|why| format!("packets of {name}: {why}")));
        if capture.dropped_by_kernel > 0 {
            let count = capture.dropped_by_kernel;
            notes.push(format!(
                "{count} packets of {name} are lost: the kernel had no room for them"
            ));
        }
        if capture.dropped_by_limit > 0 {
            let count = capture.dropped_by_limit;
            notes.push(format!(
                "{count} packets of {name} are left out: they are more than is kept"
            ));
        }
    }
    if trace.captures.is_empty() {
        let missing = trace.missing.iter().filter(|missing| missing.what.starts_with("packets"));
        notes.extend(missing.map(|missing| format!("{}: {}", missing.what, missing.why)));
    }
    tell(&notes);
    Ok(())
}
