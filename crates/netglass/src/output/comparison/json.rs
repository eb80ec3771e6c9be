//! A comparison as JSON Lines, for programs.

use std::io::{self, Write};

use netglass_model::{Failures, Protocol};
use netglass_store::Window;
use serde::Serialize;

use super::Compared;
use crate::{
    comparison::{Change, Side, Sum},
    output::json::{NodeObject, write_line},
    time::rfc3339,
};

/// The version of the schema; it grows when a key changes its meaning or goes away.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct WindowsLine {
    version: u32,
    kind: &'static str,
    before: WindowObject,
    after: WindowObject,
}

#[derive(Serialize)]
struct WindowObject {
    since: String,
    until: String,
}

#[derive(Serialize)]
struct ChangeLine<'a> {
    version: u32,
    kind: &'static str,
    client: NodeObject<'a>,
    server: NodeObject<'a>,
    protocol: Protocol,
    before: Option<SumObject>,
    after: Option<SumObject>,
}

#[derive(Serialize)]
struct SumObject {
    connections: u64,
    failed: u64,
    failures: Failures,
    first_seen: String,
    last_seen: String,
}

#[derive(Serialize)]
struct UnobservedLine<'a> {
    version: u32,
    kind: &'static str,
    window: &'static str,
    host: &'a str,
    machine_id: &'a str,
    edges: u64,
}

/// Writes which windows were compared, each change, then what could not be compared.
pub(super) fn render(compared: &Compared<'_>, out: &mut impl Write) -> io::Result<()> {
    let line = WindowsLine {
        version: VERSION,
        kind: "windows",
        before: WindowObject::of(compared.before),
        after: WindowObject::of(compared.after),
    };
    write_line(&line, out)?;
    for change in &compared.comparison.changes {
        write_line(&ChangeLine::of(change), out)?;
    }
    for unobserved in &compared.comparison.unobserved {
        let line = UnobservedLine {
            version: VERSION,
            kind: "unobserved",
            window: match unobserved.side {
                Side::Before => "before",
                Side::After => "after",
            },
            host: &unobserved.host.hostname,
            machine_id: &unobserved.host.machine_id,
            edges: unobserved.edges,
        };
        write_line(&line, out)?;
    }
    Ok(())
}

impl WindowObject {
    fn of(window: Window) -> Self {
        Self { since: rfc3339(window.since), until: rfc3339(window.until) }
    }
}

impl<'a> ChangeLine<'a> {
    fn of(change: &Change<'a>) -> Self {
        Self {
            version: VERSION,
            kind: change.kind.name(),
            client: NodeObject::client(&change.edge.client),
            server: NodeObject::server(&change.edge.server),
            protocol: change.edge.protocol,
            before: change.before.as_ref().map(SumObject::of),
            after: change.after.as_ref().map(SumObject::of),
        }
    }
}

impl SumObject {
    fn of(sum: &Sum) -> Self {
        Self {
            connections: sum.connections,
            failed: sum.failed.total(),
            failures: sum.failed,
            first_seen: rfc3339(sum.first_seen),
            last_seen: rfc3339(sum.last_seen),
        }
    }
}
