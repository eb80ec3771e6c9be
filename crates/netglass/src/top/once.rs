//! One interval on standard output (docs/top.md).

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write as _},
    time::Duration,
};

use anstyle::Style;
use netglass_model::text_from_bytes;
use serde::Serialize;

use super::{
    arguments::{Format, TopArguments},
    sample::{Activity, Sample},
    screen::latency,
    state::{Row, State},
};
use crate::{
    output::{
        json::write_line,
        table::{Align, Cell, Table},
        tree::show_bytes,
    },
    streaming::errno_name,
    users::UserNames,
};

/// The version of the JSON schema (docs/top.md).
const VERSION: u32 = 1;

#[derive(Serialize)]
struct ProcessObject<'a> {
    version: u32,
    time_ns: i64,
    interval_ns: u64,
    pid: u32,
    comm: String,
    ppid: u32,
    pcomm: String,
    uid: u32,
    user: Option<&'a str>,
    bytes_sent: u64,
    bytes_received: u64,
    calls: u64,
    errors: u64,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
    by_call: BTreeMap<&'static str, u64>,
    by_error: BTreeMap<String, u64>,
}

/// Writes what was done in an interval, in the order that is asked for.
pub(super) fn write(
    sample: &Sample,
    arguments: &TopArguments,
    users: &UserNames,
) -> anyhow::Result<()> {
    let mut state = State::new(arguments.interval, arguments.sort, false, Vec::new());
    state.update(sample);
    let rows = state.rows();
    match arguments.format {
        Format::Table => table(&rows).write(&mut anstream::stdout().lock())?,
        Format::Json => {
            let mut out = BufWriter::new(io::stdout().lock());
            for activity in rows.iter().filter_map(|row| sample.of(row.key)) {
                write_line(&object(activity, sample, users), &mut out)?;
            }
            out.flush()?;
        }
    }
    Ok(())
}

fn table(rows: &[&Row]) -> Table {
    let mut table = Table::new([
        ("PID", Align::Right),
        ("USER", Align::Left),
        ("NAME", Align::Left),
        ("SENT/s", Align::Right),
        ("RECEIVED/s", Align::Right),
        ("CALLS/s", Align::Right),
        ("ERRORS/s", Align::Right),
        ("P50", Align::Right),
        ("P99", Align::Right),
    ]);
    for row in rows {
        let cells = [
            row.key.pid.to_string(),
            row.user.clone(),
            row.name.clone(),
            show_bytes(row.sent),
            show_bytes(row.received),
            row.calls.to_string(),
            row.errors.to_string(),
            latency(row.median),
            latency(row.slow),
        ];
        table.push(cells.into_iter().map(|text| Cell::new(text, Style::new())).collect());
    }
    table
}

fn object<'a>(activity: &Activity, sample: &Sample, users: &'a UserNames) -> ProcessObject<'a> {
    let process = &activity.process;
    let nanoseconds = |it: Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
    let quantile = |thousandths| activity.latencies.quantile(thousandths).map(nanoseconds);
    ProcessObject {
        version: VERSION,
        time_ns: sample.at.as_nanoseconds(),
        interval_ns: nanoseconds(sample.elapsed),
        pid: process.pid,
        comm: text_from_bytes(process.comm.as_bytes()),
        ppid: process.ppid,
        pcomm: text_from_bytes(process.parent_comm.as_bytes()),
        uid: process.uid,
        user: users.user(process.uid),
        bytes_sent: activity.sent,
        bytes_received: activity.received,
        calls: activity.calls,
        errors: activity.errors,
        p50_ns: quantile(500),
        p90_ns: quantile(900),
        p99_ns: quantile(990),
        by_call: activity.by_call.iter().map(|(call, &count)| (call.name(), count)).collect(),
        by_error: activity.by_error.iter().map(|(&it, &count)| (errno_name(it), count)).collect(),
    }
}
