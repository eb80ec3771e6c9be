//! The ledger as it is printed.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use clap::ValueEnum;
use netglass_model::{Lack, Ledger, Skip};
use serde::Serialize;

/// The version of the object's schema (docs/probe.md).
const VERSION: u32 = 1;

/// How the ledger is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LedgerFormat {
    /// A line to be read by people
    Text,
    /// One JSON object on a line
    Json,
}

#[derive(Serialize)]
struct Record {
    version: u32,
    kind: &'static str,
    #[serde(flatten)]
    ledger: LedgerObject,
}

/// A ledger for programs: every reason and every lack is there, also with 0.
#[derive(Serialize)]
pub(crate) struct LedgerObject {
    seen: u64,
    stored: u64,
    spooled: u64,
    pending: u64,
    skipped: BTreeMap<&'static str, u64>,
    lacking: BTreeMap<&'static str, u64>,
}

impl LedgerObject {
    pub(crate) fn of(ledger: &Ledger) -> Self {
        let skipped = |reason| ledger.skipped.get(&reason).copied().unwrap_or_default();
        let lacking = |what| ledger.lacking.get(&what).copied().unwrap_or_default();
        Self {
            seen: ledger.seen,
            stored: ledger.stored,
            spooled: ledger.spooled,
            pending: ledger.pending,
            skipped: Skip::ALL.map(|reason| (reason.name(), skipped(reason))).into(),
            lacking: Lack::ALL.map(|what| (what.name(), lacking(what))).into(),
        }
    }
}

/// Prints the ledger on standard output.
pub(crate) fn print(ledger: &Ledger, format: LedgerFormat) -> io::Result<()> {
    write(ledger, format, &mut io::stdout().lock())
}

fn write(ledger: &Ledger, format: LedgerFormat, out: &mut impl Write) -> io::Result<()> {
    match format {
        LedgerFormat::Text => writeln!(out, "ledger: {ledger}")?,
        LedgerFormat::Json => {
            let ledger = LedgerObject::of(ledger);
            let record = Record { version: VERSION, kind: "ledger", ledger };
            serde_json::to_writer(&mut *out, &record)?;
            writeln!(out)?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_named() {
        let mut ledger = Ledger::default();
        ledger.pend(5);
        ledger.flushed();
        ledger.skip(Skip::Filter, 2);
        ledger.lack(Lack::ProcessVanished, 3);
        let mut out = Vec::new();
        write(&ledger, LedgerFormat::Json, &mut out).unwrap();
        write(&ledger, LedgerFormat::Text, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        {"version":1,"kind":"ledger","seen":7,"stored":5,"spooled":0,"pending":0,"skipped":{"database":0,"filter":2,"loopback":0,"malformed":0,"map_busy":0,"map_full":0,"no_peer":0,"spool_damaged":0,"spool_full":0,"table_full":0,"unaccounted":0,"untracked":0},"lacking":{"process_buffer_full":0,"process_forgotten":0,"process_vanished":3,"translation_events_lost":0,"translation_table_full":0}}
        ledger: 7 sightings = 5 stored + 2 skipped (2 filter); lacking 3 process_vanished
        "#);
    }
}
