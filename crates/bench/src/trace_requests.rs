//! What it costs a program that its requests are traced: the traced client beside hyper's own, in one
//! process and in turn, against nginx on the loopback device.

use std::{fs::File, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use netglass_testing::{Dnsmasq, Namespace, Nginx};
use serde_json::Value;

use crate::{
    bench::{Bench, Effort},
    goal::{Goal, megabytes},
    netglass::beside,
    rate::median,
    report::{Report, grouped},
    table::Table,
};

const REQUESTS: u64 = 2_000;
/// Of a turn that is short, so many stand for one round.
const TURNS: u32 = 4;
/// How long the body of a short response is.
const PAGE: usize = 100;

/// Connections that have to cost the same from the first to the last, and what is compared of them.
const MANY: u64 = 20_000;
const PARTS: u64 = 10;
const LAST_TO_FIRST: f64 = 1.2;
const MORE_MEMORY: u64 = 40_000_000;

const DOWNLOAD: u64 = 1 << 30;
const MORE_MEMORY_OF_DOWNLOAD: u64 = 4_000_000;

const PLAIN: &str = "plain";
const TRACED: &str = "traced";

/// The benches of this file.
pub(crate) fn benches(effort: Effort) -> Vec<Bench> {
    let requests = effort.scaled(REQUESTS, 10);
    let (many, bytes) = (effort.scaled(MANY, 10 * PARTS), effort.scaled(DOWNLOAD, 1 << 20));
    let rounds = effort.rounds;
    let bench = |name: &str, about: String, measure: Box<dyn Fn() -> Result<Report>>| Bench {
        name: format!("trace-{name}"),
        about,
        measure,
    };
    let count = grouped(requests);
    let short = |load: Load, at_most: f64| -> Box<dyn Fn() -> Result<Report>> {
        Box::new(move || compare(load, rounds * TURNS, at_most))
    };
    let load = Load { requests, bytes: PAGE as u64, new_connections: false, names: false };
    let connections = Load { new_connections: true, ..load };
    let names = Load { names: true, ..connections };
    let download = Load { requests: 1, bytes, ..load };
    vec![
        bench("keep-alive", format!("{count} requests over one connection"), short(load, 1.05)),
        bench(
            "connections",
            format!("{count} requests over a connection each"),
            short(connections, 1.10),
        ),
        bench(
            "names",
            format!("{count} requests over a connection each, whose name is looked up"),
            short(names, 1.10),
        ),
        bench(
            "many",
            format!("{} requests over a connection each, of one client", grouped(many)),
            Box::new(move || endure(Load { requests: many, ..connections }, rounds)),
        ),
        bench(
            "download",
            format!("a response of {}", megabytes(bytes)),
            Box::new(move || receive(download, rounds)),
        ),
    ]
}

/// What the clients are to do in a turn.
#[derive(Debug, Clone, Copy)]
struct Load {
    requests: u64,
    bytes: u64,
    new_connections: bool,
    names: bool,
}

/// A web server and a name server, in a namespace of their own.
struct Stage {
    // Before the namespace in which they are.
    _nginx: Nginx,
    _names: Dnsmasq,
    namespace: Namespace,
    load: Load,
}

/// What one client needed for one turn.
#[derive(Debug, Clone)]
struct Turn {
    client: String,
    /// Of each part of it.
    times: Vec<Duration>,
    /// In bytes, of the process until its last response.
    peak_memory: u64,
    /// The same once a trace has been taken.
    peak_memory_with_trace: u64,
}

impl Turn {
    fn read(line: &str) -> Result<Self> {
        let turn: Value = serde_json::from_str(line).context("reading a turn")?;
        let times = turn["times_ns"].as_array().context("a turn has no times")?;
        let times: Option<Vec<_>> =
            times.iter().map(|time| time.as_u64().map(Duration::from_nanos)).collect();
        let memory = |key: &str| turn[key].as_u64().with_context(|| format!("a turn has no {key}"));
        Ok(Self {
            client: turn["client"].as_str().context("a turn is of nobody")?.to_owned(),
            times: times.context("a time of a turn is no number")?,
            peak_memory: memory("peak_memory")?,
            peak_memory_with_trace: memory("peak_memory_with_trace")?,
        })
    }

    fn total(&self) -> f64 {
        self.times.iter().map(Duration::as_secs_f64).sum()
    }
}

impl Stage {
    fn start(load: Load) -> Result<Self> {
        let namespace = Namespace::new("requests");
        // Each connection leaves its port behind for a while.
        namespace.sysctl("net.ipv4.ip_local_port_range", "1024 65535");
        let nginx = Nginx::new()
            .listen("127.0.0.1:80")
            .directive("sendfile on")
            .directive("keepalive_requests 100000000")
            .start(&namespace);
        let page = File::create(nginx.root().join("page")).context("creating the page")?;
        page.set_len(load.bytes).context("making the page long enough")?;
        let names = Dnsmasq::new("127.0.0.1")
            .argument("--local=/test/")
            .host("web.test", "127.0.0.1")
            .start(&namespace);
        Ok(Self { _nginx: nginx, _names: names, namespace, load })
    }

    /// Lets the clients make their requests, each so often in its turn.
    fn run(&self, clients: &[&str], turns: u32, more: &[&str]) -> Result<Vec<Turn>> {
        let Load { requests, bytes, new_connections, names } = self.load;
        let mut command = self.namespace.command(program());
        let host = if names { "web.test" } else { "127.0.0.1" };
        command.arg(format!("http://{host}/page")).args(more);
        command.args(clients.iter().map(|client| format!("--client={client}")));
        command.args([
            format!("--requests={requests}"),
            format!("--bytes={bytes}"),
            format!("--rounds={turns}"),
        ]);
        if new_connections {
            command.arg("--new-connections");
        }
        if names {
            command.arg("--nameserver=127.0.0.1:53");
        }
        let output = command.stderr(Stdio::piped()).output().context("running the clients")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the clients ended with {}: {said}", output.status);
        String::from_utf8_lossy(&output.stdout).lines().map(Turn::read).collect()
    }
}

fn program() -> PathBuf {
    beside("netglass-bench-requests")
}

/// The times of turns that were taken in pairs.
struct Pairs {
    plain: Vec<f64>,
    traced: Vec<f64>,
    ratios: Vec<f64>,
}

impl Pairs {
    fn new(turns: &[Turn]) -> Self {
        let times = |client: &str| -> Vec<f64> {
            turns.iter().filter(|turn| turn.client == client).map(Turn::total).collect()
        };
        let (plain, traced) = (times(PLAIN), times(TRACED));
        let ratios = traced.iter().zip(&plain).map(|(traced, plain)| traced / plain).collect();
        Self { plain, traced, ratios }
    }

    /// A line for each client; `unit` is what `count` of them are of.
    fn table(&self, count: f64, unit: &str) -> Table {
        let mut table = Table::new(["client", &format!("{unit}/s"), "time × plain", "from … to"]);
        for (name, times, ratio, spread) in [
            ("hyper", &self.plain, "1.000".to_owned(), "-".to_owned()),
            (
                "netglass-http-trace",
                &self.traced,
                format!("{:.3}", median(&self.ratios)),
                spread(&self.ratios),
            ),
        ] {
            let rate = format!("{:.0}", count / median(times));
            table.push([name.to_owned(), rate, ratio, spread]);
        }
        table
    }

    fn goal(&self, at_most: f64) -> Goal {
        let ratio = median(&self.ratios);
        let reached = (ratio <= at_most, format!("{ratio:.3}"));
        Goal::new(format!("≤ {at_most:.2} × the time of hyper's own client"), Some(reached))
    }
}

fn compare(load: Load, turns: u32, at_most: f64) -> Result<Report> {
    let pairs = Pairs::new(&Stage::start(load)?.run(&[PLAIN, TRACED], turns, &[])?);
    Ok(Report {
        table: pairs.table(load.requests as f64, "requests"),
        notes: vec![turns_note(turns)],
        failures: Vec::new(),
        goals: vec![pairs.goal(at_most)],
    })
}

fn endure(load: Load, rounds: u32) -> Result<Report> {
    let stage = Stage::start(load)?;
    let parts = format!("--parts={PARTS}");
    let mut turns = Vec::new();
    for _ in 0..rounds {
        for client in [PLAIN, TRACED] {
            turns.extend(stage.run(&[client], 1, &["--cold", &parts])?);
        }
    }
    let mut table = Table::new([
        "client",
        "first tenth",
        "last tenth",
        "last ÷ first",
        "memory",
        "… with the trace",
    ]);
    for (client, name) in [(PLAIN, "hyper"), (TRACED, "netglass-http-trace")] {
        let (first, last) = ends(&turns, client);
        let ratio = last / first;
        let milliseconds = |seconds: f64| format!("{:.0} ms", seconds * 1e3);
        table.push([
            name.to_owned(),
            milliseconds(first),
            milliseconds(last),
            format!("{ratio:.3}"),
            megabytes(peak(&turns, client)),
            megabytes(peak_with_trace(&turns, client)),
        ]);
    }
    let (first, last) = ends(&turns, TRACED);
    let slower = last / first;
    let linear = Goal::new(
        format!("the last tenth takes ≤ {LAST_TO_FIRST} × the time of the first"),
        Some((slower <= LAST_TO_FIRST, format!("{slower:.3}"))),
    );
    let notes = vec![format!("medians of {rounds} processes of each client; the greatest memory")];
    let goals = vec![linear, memory_goal(&turns, MORE_MEMORY)];
    Ok(Report { table, notes, failures: Vec::new(), goals })
}

fn receive(load: Load, rounds: u32) -> Result<Report> {
    let stage = Stage::start(load)?;
    let pairs = Pairs::new(&stage.run(&[PLAIN, TRACED], rounds, &[])?);
    let mut alone = Vec::new();
    for client in [PLAIN, TRACED] {
        alone.extend(stage.run(&[client], 1, &["--cold"])?);
    }
    let memory = [PLAIN, TRACED].map(|client| megabytes(peak_with_trace(&alone, client)));
    Ok(Report {
        table: pairs.table(load.bytes as f64 / 1e6, "MB"),
        notes: vec![turns_note(rounds), format!("memory: {} and {}", memory[0], memory[1])],
        failures: Vec::new(),
        goals: vec![pairs.goal(1.03), memory_goal(&alone, MORE_MEMORY_OF_DOWNLOAD)],
    })
}

fn turns_note(turns: u32) -> String {
    format!("medians of {turns} turns of each client, in one process, in alternating order")
}

/// The medians of the first and the last part of a client's turns, in seconds.
fn ends(turns: &[Turn], client: &str) -> (f64, f64) {
    let part = |choose: fn(&[Duration]) -> Option<&Duration>| {
        let own = turns.iter().filter(|turn| turn.client == client);
        let times: Vec<f64> =
            own.filter_map(|turn| choose(&turn.times)).map(Duration::as_secs_f64).collect();
        median(&times)
    };
    (part(<[Duration]>::first), part(<[Duration]>::last))
}

fn peak(turns: &[Turn], client: &str) -> u64 {
    let own = turns.iter().filter(|turn| turn.client == client);
    own.map(|turn| turn.peak_memory).max().unwrap_or_default()
}

fn peak_with_trace(turns: &[Turn], client: &str) -> u64 {
    let own = turns.iter().filter(|turn| turn.client == client);
    own.map(|turn| turn.peak_memory_with_trace).max().unwrap_or_default()
}

fn memory_goal(turns: &[Turn], below: u64) -> Goal {
    let more = peak_with_trace(turns, TRACED).saturating_sub(peak_with_trace(turns, PLAIN));
    let aim =
        format!("< {} of memory more than hyper's own client, the trace taken", megabytes(below));
    Goal::new(aim, Some((more < below, megabytes(more))))
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{least:.3} … {most:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(lines: &[(&str, &[u64])]) -> Vec<Turn> {
        let line = |(client, times): &(&str, &[u64])| {
            let memory = r#""peak_memory":1000,"peak_memory_with_trace":2000"#;
            format!(r#"{{"client":"{client}","times_ns":{times:?},{memory}}}"#)
        };
        lines.iter().map(line).map(|line| Turn::read(&line).unwrap()).collect()
    }

    #[test]
    fn turns_of_both_clients_are_compared_in_pairs() {
        let turns = turns(&[
            (PLAIN, &[100, 100]),
            (TRACED, &[210]),
            (TRACED, &[420]),
            (PLAIN, &[400]),
            (PLAIN, &[200]),
            (TRACED, &[260]),
        ]);
        let pairs = Pairs::new(&turns);
        assert_eq!(pairs.ratios.len(), 3);
        let goal = |at_most| pairs.goal(at_most).to_string();
        assert_eq!(goal(1.05), "≤ 1.05 × the time of hyper's own client: 1.050, met");
        assert_eq!(goal(1.04), "≤ 1.04 × the time of hyper's own client: 1.050, MISSED");
        assert_eq!(spread(&pairs.ratios), "1.050 … 1.300");
    }

    #[test]
    fn the_ends_of_a_turn_are_its_first_and_last_part() {
        let turns = turns(&[(TRACED, &[1_000, 5, 3_000]), (PLAIN, &[9])]);
        assert_eq!(ends(&turns, TRACED), (1e-6, 3e-6));
    }

    #[test]
    fn memory_is_what_the_traced_client_has_more() {
        let mut turns = turns(&[(TRACED, &[1]), (PLAIN, &[1])]);
        turns[0].peak_memory_with_trace = 2_500_000;
        let judged = |below| memory_goal(&turns, below).to_string();
        let aim = "of memory more than hyper's own client, the trace taken: 2.5 MB";
        assert_eq!(judged(3_000_000), format!("< 3.0 MB {aim}, met"));
        assert_eq!(judged(2_000_000), format!("< 2.0 MB {aim}, MISSED"));
    }

    #[test]
    fn what_is_no_turn_is_refused() {
        for line in ["", "{}", r#"{"client":"plain","times_ns":["1"],"peak_memory":1}"#] {
            assert!(Turn::read(line).is_err(), "{line}");
        }
    }
}
