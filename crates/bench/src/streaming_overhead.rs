//! What it costs a web server's clients that somebody observes them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netglass_testing::{Namespace, Nginx, link, requirement::find_command};

use crate::{
    bench::{Bench, Effort},
    bpftrace::Bpftrace,
    empty_programs::EmptyPrograms,
    netglass::{FLUSH_INTERVAL, Mode, Probe},
    rate::{Condition, Observer, Rates, Work},
    report::{Report, grouped},
};

const SERVER: &str = "10.0.0.1";
const CLIENT: &str = "10.0.1.1";
/// Connections that wrk has open at a time.
const CONNECTIONS: &str = "32";
/// How long each measurement lasts.
const SECONDS: u64 = 4;

const AT_LEAST: f64 = 0.98;
const NOTHING: &str = "programs that do nothing";
const BPFTRACE: &str = "bpftrace, a line per connection";

/// The benches of this file.
pub(crate) fn benches(effort: Effort) -> Vec<Bench> {
    let bench = |kind: Kind| {
        let seconds = effort.scaled(SECONDS, 1);
        Bench {
            name: format!("streaming-overhead-{}", kind.label()),
            about: format!(
                "wrk asks nginx over {}; {} rounds of {seconds} s under each condition",
                kind.about(),
                effort.rounds
            ),
            measure: Box::new(move || measure(kind, effort.rounds, seconds)),
        }
    };
    [Kind::Short, Kind::KeepAlive].into_iter().map(bench).collect()
}

/// What becomes of a connection after the first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Short,
    KeepAlive,
}

impl Kind {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::KeepAlive => "keepalive",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Short => "a new connection for each request",
            Self::KeepAlive => "connections that are kept",
        }
    }
}

/// A web server and its client, each in a namespace of its own.
pub(crate) struct Web {
    // Before the namespaces in which they are.
    pub(crate) nginx: Nginx,
    client: Namespace,
    _server: Namespace,
}

impl Web {
    pub(crate) fn start() -> Self {
        let (client, server) = (Namespace::new("wrk"), Namespace::new("nginx"));
        link(&client, &format!("{CLIENT}/16"), &server, &format!("{SERVER}/16"));
        for key in ["net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog"] {
            server.sysctl(key, "65535");
        }
        let nginx = Nginx::new().listen(&format!("{SERVER}:80")).file("/page", 100).start(&server);
        Self { nginx, client, _server: server }
    }

    /// Lets wrk run for a while.
    pub(crate) fn ask(&self, kind: Kind, seconds: u64) -> Result<Work> {
        wrk(&self.client, kind, seconds)
    }
}

fn measure(kind: Kind, rounds: u32, seconds: u64) -> Result<Report> {
    let web = Web::start();

    let mut conditions = vec![probing(Mode::Streaming), doing_nothing()];
    let mut notes = Vec::new();
    if find_command("bpftrace").is_some() {
        conditions.push(tracing(kind));
    } else {
        notes.push("bpftrace is not installed".to_owned());
    }
    conditions.push(probing(Mode::Polling));
    notes
        .push(format!("netglass writes each {FLUSH_INTERVAL}, more often than it does by default"));

    let rates = Rates::measure(&conditions, rounds, || web.ask(kind, seconds))?;
    notes.extend(rates.notes());
    Ok(Report {
        table: rates.table("requests"),
        notes,
        failures: rates.failures(),
        goals: match kind {
            Kind::Short => vec![rates.goal(Mode::Streaming.name(), AT_LEAST)],
            Kind::KeepAlive => Vec::new(),
        },
    })
}

fn probing(mode: Mode) -> Condition {
    Condition {
        name: mode.name(),
        start: Box::new(move || Ok(Box::new(Probe::start(mode)?) as Box<dyn Observer>)),
    }
}

impl Observer for Probe {
    fn cpu_time(&self) -> Duration {
        Probe::cpu_time(self)
    }

    fn end(self: Box<Self>, _: Work) -> Result<Option<String>> {
        let stored = Probe::end(*self)?;
        ensure!(stored.ledger.stored > 0, "it has stored nothing");
        let said = stored.said.lines().collect::<Vec<_>>().join("; ");
        Ok((!said.is_empty()).then_some(said))
    }
}

fn doing_nothing() -> Condition {
    let start = || Ok(Box::new(EmptyPrograms::of_connections()?) as Box<dyn Observer>);
    Condition { name: NOTHING, start: Box::new(start) }
}

fn tracing(kind: Kind) -> Condition {
    let start = move || Ok(Box::new(Tracing { kind, bpftrace: Bpftrace::start()? }) as Box<_>);
    Condition { name: BPFTRACE, start: Box::new(start) }
}

struct Tracing {
    kind: Kind,
    bpftrace: Bpftrace,
}

impl Observer for Tracing {
    fn cpu_time(&self) -> Duration {
        self.bpftrace.cpu_time()
    }

    fn end(self: Box<Self>, work: Work) -> Result<Option<String>> {
        let printed = self.bpftrace.end()?;
        ensure!(printed > 0, "it has printed nothing");
        // Events that it loses cost it nothing, which its numbers do not tell.
        let all = 2 * work.count;
        let note = || {
            format!("printed {} lines of {}, when measured last", grouped(printed), grouped(all))
        };
        Ok((self.kind == Kind::Short && printed < all).then(note))
    }
}

fn wrk(client: &Namespace, kind: Kind, seconds: u64) -> Result<Work> {
    let mut command = client.command("wrk");
    command.args(["--threads", "1", "--connections", CONNECTIONS]);
    command.args(["--duration", &format!("{seconds}s")]);
    if kind == Kind::Short {
        command.args(["--header", "Connection: close"]);
    }
    let output = command.arg(format!("http://{SERVER}/page")).output().context("running wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk: {}: {}", output.status, text.trim());
    read(&text).with_context(|| format!("wrk printed {text:?}"))
}

/// What wrk printed of its work.
fn read(text: &str) -> Result<Work> {
    ensure!(!text.contains("Non-2xx"), "there were answers without the page");
    let after = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name));
    let per_second = after("Requests/sec:").context("there is no rate")?.trim().parse()?;
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let (count, _) = requests.context("there is no number of requests")?;
    Ok(Work { per_second, count: count.parse()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "Running 2s test @ http://10.0.0.1/page
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.46ms    1.32ms  39.42ms   96.51%
    Req/Sec    12.84k     2.05k   16.93k    70.00%
  25613 requests in 2.01s, 8.26MB read
Requests/sec:  12753.29
Transfer/sec:      4.11MB
";

    #[test]
    fn the_work_of_wrk_is_read_from_what_it_prints() {
        let work = read(PRINTED).unwrap();
        assert_eq!((format!("{:.2}", work.per_second).as_str(), work.count), ("12753.29", 25613));
    }

    #[test]
    fn errors_are_no_work() {
        let errors = format!("{PRINTED}  Non-2xx or 3xx responses: 7\n");
        assert!(read(&errors).is_err());
        assert!(read("").is_err());
    }
}
