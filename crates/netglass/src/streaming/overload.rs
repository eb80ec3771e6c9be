//! Calls that come faster than they can be written: they are added up in the kernel until the load
//! is gone, and their sums are written in place of them.

use std::{
    borrow::Cow,
    io,
    time::{Duration, Instant},
};

use netglass_kernel::{Error, calls::CallWatcher};
use netglass_model::{CallSum, printable, text_from_bytes};
use serde::Serialize;

use super::{
    arguments::{Format, WritingArguments},
    errno,
    sink::Sink,
    text::push_display,
    words,
};
use crate::{output::json::write_line, probing::tell};

/// How often sums are written, and looked at whether the load is gone.
const LOOK: Duration = Duration::from_secs(1);
/// About how much a call takes of the buffer.
const RECORD: u64 = 128;

/// Whether calls are added up, and since when.
#[derive(Debug)]
pub(super) struct Overload {
    /// With so many calls a second, or more, there is load: half of what the buffer holds.
    load: u64,
    next_look: Option<Instant>,
}

impl Overload {
    pub(super) fn new(arguments: &WritingArguments) -> Self {
        Self { load: arguments.buffer_size / RECORD / 2, next_look: None }
    }

    /// Looks whether there is load, or still is, and writes what was added up.
    pub(super) fn look(&mut self, watcher: &mut CallWatcher, sink: &mut Sink) -> Result<(), Error> {
        let now = Instant::now();
        match self.next_look {
            None if watcher.is_adding_up()? => {
                tell(&["calls come faster than they can be written, so they are added up until \
                        there are fewer"
                    .to_owned()]);
                sink.write_overload(true);
                self.next_look = Some(now + LOOK);
            }
            Some(next) if now >= next => {
                if take(watcher, sink)? >= self.load {
                    self.next_look = Some(now + LOOK);
                } else {
                    watcher.tell_again()?;
                    take(watcher, sink)?;
                    tell(&["calls are written one by one again".to_owned()]);
                    sink.write_overload(false);
                    self.next_look = None;
                }
            }
            None | Some(_) => {}
        }
        Ok(())
    }

    /// Writes what is left of what was added up.
    pub(super) fn finish(
        &mut self,
        watcher: &mut CallWatcher,
        sink: &mut Sink,
    ) -> Result<(), Error> {
        if self.next_look.is_none() && watcher.is_adding_up()? {
            sink.write_overload(true);
        }
        take(watcher, sink).map(drop)
    }
}

/// Writes what was added up since the last time; how many calls those were.
fn take(watcher: &mut CallWatcher, sink: &mut Sink) -> Result<u64, Error> {
    let mut calls = 0_u64;
    watcher.take_sums(&mut |sum| {
        calls = calls.saturating_add(sum.calls());
        sink.write_sum(sum);
    })?;
    Ok(calls)
}

/// Says that calls are added up from here on, or no more.
pub(super) fn push_change(format: Format, is_overload: bool, out: &mut Vec<u8>) {
    match (format, is_overload) {
        (Format::Json, _) => {
            push_display(out, format_args!("{{\"version\":1,\"overload\":{is_overload}}}\n"));
        }
        (Format::Table, true) => {
            out.extend_from_slice(b"-- calls come too fast, and are added up from here on\n");
        }
        (Format::Table, false) => {
            out.extend_from_slice(b"-- calls are written one by one again\n");
        }
        (Format::Csv | Format::Tsv, _) => {}
    }
}

/// Writes a sum.
pub(super) fn push_sum(format: Format, sum: &CallSum, out: &mut Vec<u8>) -> io::Result<()> {
    match format {
        Format::Json => write_line(&SumLine::of(sum), out),
        Format::Table => {
            push_line(sum, out);
            Ok(())
        }
        Format::Csv | Format::Tsv => Ok(()),
    }
}

fn push_line(sum: &CallSum, out: &mut Vec<u8>) {
    let comm = text_from_bytes(sum.process.comm.as_bytes());
    push_display(out, format_args!("-- {} times {}", sum.calls(), sum.name));
    if let Some(number) = sum.error {
        push_display(out, format_args!(" {}", error(number)));
    }
    push_display(out, format_args!(" of {} ({})", printable(&comm), sum.process.pid));
    if let Some(fd) = sum.fd {
        push_display(out, format_args!(" on {fd}"));
    }
    let ends = sum.connection.map(|it| (it.local, it.remote));
    match ends {
        Some((Some(local), Some(remote))) => {
            push_display(out, format_args!(": {local} -> {remote}"));
        }
        Some((Some(local), None)) => push_display(out, format_args!(": {local}")),
        _ => {}
    }
    if sum.transfer.is_some() && sum.error.is_none() {
        push_display(out, format_args!(", {} bytes", sum.bytes));
    }
    out.push(b'\n');
}

fn error(number: u32) -> Cow<'static, str> {
    errno::name(number).map_or_else(|| format!("errno {number}").into(), Cow::Borrowed)
}

#[derive(Serialize)]
struct SumLine<'a> {
    version: u32,
    added_up: u64,
    call: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'static, str>>,
    pid: u32,
    comm: String,
    ppid: u32,
    pcomm: String,
    uid: u32,
    fd: Option<i32>,
    family: Option<Cow<'static, str>>,
    protocol: Option<&'static str>,
    local: Option<String>,
    remote: Option<String>,
    netns: Option<u64>,
    bytes: u64,
    duration_ns: u64,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
}

impl SumLine<'_> {
    fn of(sum: &CallSum) -> Self {
        let nanoseconds = |it: Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
        let quantile = |thousandths| sum.latencies.quantile(thousandths).map(nanoseconds);
        let family = |number| {
            words::family_name(number).map_or_else(|| number.to_string().into(), Cow::Borrowed)
        };
        let connection = sum.connection.as_ref();
        Self {
            version: 1,
            added_up: sum.calls(),
            call: sum.name.name(),
            error: sum.error.map(error),
            pid: sum.process.pid,
            comm: text_from_bytes(sum.process.comm.as_bytes()),
            ppid: sum.process.ppid,
            pcomm: text_from_bytes(sum.process.parent_comm.as_bytes()),
            uid: sum.process.uid,
            fd: sum.fd,
            family: sum.family.map(family),
            protocol: connection.and_then(words::protocol_name),
            local: connection.and_then(|it| it.local).map(|it| it.to_string()),
            remote: connection.and_then(|it| it.remote).map(|it| it.to_string()),
            netns: connection.map(|it| it.namespace.0),
            bytes: sum.bytes,
            duration_ns: nanoseconds(sum.duration),
            p50_ns: quantile(500),
            p90_ns: quantile(900),
            p99_ns: quantile(990),
        }
    }
}

#[cfg(test)]
mod tests {
    use netglass_model::{CallName, Direction};

    use super::{super::summary::fixtures, *};

    fn written(format: Format) -> String {
        let mut out = Vec::new();
        push_change(format, true, &mut out);
        let mut sum = fixtures::sum(CallName::Write, Direction::Passive, 7);
        sum.fd = Some(5);
        if let Some(connection) = &mut sum.connection {
            connection.remote = Some(([127, 0, 0, 1], 5000).into());
        }
        push_sum(format, &sum, &mut out).unwrap();
        sum.error = Some(11);
        push_sum(format, &sum, &mut out).unwrap();
        push_change(format, false, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_sum_is_a_line_of_the_table() {
        insta::assert_snapshot!(written(Format::Table), @r"
        -- calls come too fast, and are added up from here on
        -- 7 times write of nginx (100) on 5: 127.0.0.1:80 -> 127.0.0.1:5000, 700 bytes
        -- 7 times write EAGAIN of nginx (100) on 5: 127.0.0.1:80 -> 127.0.0.1:5000
        -- calls are written one by one again
        ");
    }

    #[test]
    fn a_sum_is_an_object() {
        insta::assert_snapshot!(written(Format::Json), @r#"
        {"version":1,"overload":true}
        {"version":1,"added_up":7,"call":"write","pid":100,"comm":"nginx","ppid":0,"pcomm":"","uid":0,"fd":5,"family":"AF_INET","protocol":"tcp","local":"127.0.0.1:80","remote":"127.0.0.1:5000","netns":4026531840,"bytes":700,"duration_ns":28000,"p50_ns":3876,"p90_ns":4096,"p99_ns":4096}
        {"version":1,"added_up":7,"call":"write","error":"EAGAIN","pid":100,"comm":"nginx","ppid":0,"pcomm":"","uid":0,"fd":5,"family":"AF_INET","protocol":"tcp","local":"127.0.0.1:80","remote":"127.0.0.1:5000","netns":4026531840,"bytes":700,"duration_ns":28000,"p50_ns":3876,"p90_ns":4096,"p99_ns":4096}
        {"version":1,"overload":false}
        "#);
    }
}
