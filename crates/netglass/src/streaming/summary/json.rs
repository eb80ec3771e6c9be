//! A summary for programs: one JSON object a line for each end. The schema is documented in
//! `docs/stream.md`.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use netglass_model::{Direction, Timestamp};
use serde::Serialize;

use super::{Calls, Summary, show_endpoint};
use crate::{
    output::json::{ProcessObject, write_line},
    streaming::{errno, words},
};

/// The version of the schema; it grows when a key changes its meaning or goes away.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct EndLine<'a> {
    version: u32,
    since_ns: i64,
    until_ns: i64,
    process: ProcessObject<'a>,
    direction: Option<Direction>,
    peers: Vec<ProcessObject<'a>>,
    family: Option<Cow<'static, str>>,
    protocol: Option<&'static str>,
    netns: Option<u64>,
    local: Option<String>,
    remote: Option<String>,
    #[serde(flatten)]
    total: CallsObject,
    by_call: BTreeMap<&'static str, CallsObject>,
}

#[derive(Serialize)]
struct CallsObject {
    calls: u64,
    errors: BTreeMap<Cow<'static, str>, u64>,
    bytes_sent: u64,
    bytes_received: u64,
    duration_ns: u64,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
}

impl CallsObject {
    fn of(calls: &Calls) -> Self {
        let quantile = |thousandths| calls.latencies.quantile(thousandths).map(nanoseconds);
        Self {
            calls: calls.latencies.calls(),
            errors: calls.errors.iter().map(|(&number, &count)| (error(number), count)).collect(),
            bytes_sent: calls.bytes_sent,
            bytes_received: calls.bytes_received,
            duration_ns: nanoseconds(calls.duration),
            p50_ns: quantile(500),
            p90_ns: quantile(900),
            p99_ns: quantile(990),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn error(number: u32) -> Cow<'static, str> {
    errno::name(number).map_or_else(|| format!("errno {number}").into(), Cow::Borrowed)
}

/// Writes each end.
pub(in crate::streaming) fn write(
    summary: &Summary,
    (since, until): (Timestamp, Timestamp),
    out: &mut impl Write,
) -> io::Result<()> {
    for talk in summary.talks() {
        let end = talk.end;
        let connection = end.connection.as_ref();
        let remote = connection.and_then(|it| it.remote);
        let family = end.family.map(|number| {
            words::family_name(number).map_or_else(|| number.to_string().into(), Cow::Borrowed)
        });
        let by_call = end.calls.iter().map(|(name, calls)| (name.name(), CallsObject::of(calls)));
        let line = EndLine {
            version: VERSION,
            since_ns: since.as_nanoseconds(),
            until_ns: until.as_nanoseconds(),
            process: ProcessObject::of(&end.process),
            direction: remote.map(|_| end.direction),
            peers: talk.peers.iter().map(|process| ProcessObject::of(process)).collect(),
            family,
            protocol: connection.and_then(words::protocol_name),
            netns: connection.map(|it| it.namespace.0),
            local: connection.and_then(|it| it.local).map(show_endpoint),
            remote: remote.map(show_endpoint),
            total: CallsObject::of(&talk.total),
            by_call: by_call.collect(),
        };
        write_line(&line, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::summary, *};

    #[test]
    fn each_end_is_a_line() {
        let mut out = Vec::new();
        let span = (Timestamp::from_nanoseconds(1), Timestamp::from_nanoseconds(2));
        write(&summary(), span, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 3);
        insta::assert_snapshot!(text.lines().next().unwrap(), @r#"{"version":1,"since_ns":1,"until_ns":2,"process":{"pid":100,"start_time":"1970-01-01T00:00:00.000000Z","pgid":100,"comm":"nginx","exe":null,"uid":33,"container":null,"command_line":null},"direction":"passive","peers":[{"pid":200,"start_time":"1970-01-01T00:00:00.000000Z","pgid":200,"comm":"wget","exe":null,"uid":33,"container":null,"command_line":null}],"family":"AF_INET","protocol":"tcp","netns":4026531840,"local":"127.0.0.1:80","remote":"127.0.0.1","calls":12,"errors":{"EAGAIN":2},"bytes_sent":500,"bytes_received":500,"duration_ns":48000,"p50_ns":3840,"p90_ns":4053,"p99_ns":4096,"by_call":{"recvfrom":{"calls":7,"errors":{"EAGAIN":2},"bytes_sent":0,"bytes_received":500,"duration_ns":28000,"p50_ns":3876,"p90_ns":4096,"p99_ns":4096},"writev":{"calls":5,"errors":{},"bytes_sent":500,"bytes_received":0,"duration_ns":20000,"p50_ns":3891,"p90_ns":4096,"p99_ns":4096}}}"#);
    }
}
