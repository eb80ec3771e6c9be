//! What it costs a web server and its clients that each of their network calls is told of.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use netglass_testing::{Running, Signal, requirement::find_command};
use tempfile::TempDir;

use crate::{
    bench::{Bench, Effort},
    empty_programs::EmptyPrograms,
    netglass::Database,
    plain_calls::{PlainCalls, PlainSums},
    rate::{Condition, Observer, Rates, Work},
    report::{Report, grouped},
    streaming_overhead::{Kind, Web},
};

/// How long each measurement lasts.
const SECONDS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

const NETGLASS: &str = "netglass stream --format json, all processes";
const SUMMARY: &str = "netglass stream --summary, all processes";
const BPFTRACE: &str = "bpftrace, a line per call";
const STRACE: &str = "strace, of nginx alone";
const PLAIN: &str = "a plain program, a line per call";
const PLAIN_SUMS: &str = "a plain program, sums by process and call";
const TIMES: &str = "the two times of each call, and nothing else";
const NOTHING: &str = "programs that do nothing";

/// The calls that wrk and nginx make on sockets.
const CALLS: [&str; 9] =
    ["socket", "connect", "accept4", "read", "write", "writev", "recvfrom", "shutdown", "close"];

/// The benches of this file.
pub(crate) fn benches(effort: Effort) -> Vec<Bench> {
    let bench = |kind: Kind| {
        let seconds = effort.scaled(SECONDS, 1);
        Bench {
            name: format!("stream-overhead-{}", kind.label()),
            about: format!(
                "wrk asks nginx over {}, and each call is told of; {} rounds of {seconds} s under \
                 each condition",
                kind.about(),
                effort.rounds
            ),
            measure: Box::new(move || measure(kind, effort.rounds, seconds)),
        }
    };
    [Kind::Short, Kind::KeepAlive].into_iter().map(bench).collect()
}

fn measure(kind: Kind, rounds: u32, seconds: u64) -> Result<Report> {
    let web = Web::start();
    let nginx = web.nginx.running().id();
    let json: &[&str] = &["--format", "json"];
    let summary: &[&str] = &["--summary"];
    let mut conditions: Vec<Condition> = [(NETGLASS, json), (SUMMARY, summary)]
        .into_iter()
        .map(|(name, options)| Condition {
            name,
            start: Box::new(move || boxed(Calls::start(options))),
        })
        .collect();
    conditions
        .push(Condition { name: NOTHING, start: Box::new(|| boxed(EmptyPrograms::of_calls())) });
    conditions.push(Condition { name: TIMES, start: Box::new(|| boxed(PlainSums::of_times())) });
    conditions.push(Condition { name: PLAIN, start: Box::new(|| boxed(PlainCalls::start())) });
    conditions.push(Condition { name: PLAIN_SUMS, start: Box::new(|| boxed(PlainSums::start())) });
    let mut notes = Vec::new();
    for (program, condition) in [
        ("bpftrace", Condition { name: BPFTRACE, start: Box::new(|| boxed(Lines::bpftrace())) }),
        (
            "strace",
            Condition { name: STRACE, start: Box::new(move || boxed(Lines::strace(nginx))) },
        ),
    ] {
        if find_command(program).is_some() {
            conditions.push(condition);
        } else {
            notes.push(format!("{program} is not installed"));
        }
    }
    let rates = Rates::measure(&conditions, rounds, || web.ask(kind, seconds))?;
    notes.extend(rates.notes());
    let (each, summed) = match kind {
        Kind::Short => (0.92, 0.97),
        Kind::KeepAlive => (0.75, 0.88),
    };
    Ok(Report {
        table: rates.table("requests"),
        notes,
        failures: rates.failures(),
        goals: vec![rates.goal(NETGLASS, each), rates.goal(SUMMARY, summed)],
    })
}

fn boxed(observer: Result<impl Observer + 'static>) -> Result<Box<dyn Observer>> {
    observer.map(|observer| Box::new(observer) as Box<dyn Observer>)
}

/// `netglass stream`, which writes to a file.
struct Calls {
    running: Running,
    _database: Database,
}

impl Calls {
    fn start(options: &[&str]) -> Result<Self> {
        let database = Database::new()?;
        let mut command = database.netglass("stream");
        command.args(options).arg("-o").arg(database.file("calls"));
        let running = Running::spawn(command);
        running.wait_until_it_catches(Signal::USR1);
        running.signal(Signal::USR1);
        running.lines_within("ledger: ", 1, PATIENCE).map_err(|reason| anyhow!(reason))?;
        Ok(Self { running, _database: database })
    }
}

impl Observer for Calls {
    fn cpu_time(&self) -> Duration {
        self.running.cpu_time()
    }

    fn end(self: Box<Self>, work: Work) -> Result<Option<String>> {
        self.running.signal(Signal::INT);
        let finished = self.running.wait();
        let said = String::from_utf8_lossy(&finished.stderr);
        ensure!(finished.status.success(), "it ended with {}: {said}", finished.status);
        let ledger = said.lines().rfind(|line| line.contains("ledger: "));
        let ledger = ledger.context("there is no ledger")?;
        ensure!(ledger.ends_with(" + 0 lost"), "calls were lost: {ledger}");
        let (_, ledger) = ledger.split_once("ledger: ").unwrap_or_default();
        Ok(Some(format!("{ledger}, of {} requests", grouped(work.count))))
    }
}

/// Another program, which writes a line for each call.
struct Lines {
    running: Running,
    file: PathBuf,
    _folder: TempDir,
}

impl Lines {
    fn bpftrace() -> Result<Self> {
        let folder = tempfile::tempdir().context("a temporary folder for bpftrace")?;
        let (script, file) = (folder.path().join("calls.bt"), folder.path().join("lines"));
        let names = CALLS.map(|call| format!("tracepoint:syscalls:sys_exit_{call}"));
        let action = r#"{ printf("%llu %s %d %s %d\n", nsecs, probe, pid, comm, args->ret); }"#;
        let begin = r#"BEGIN { printf("ready\n"); }"#;
        fs::write(&script, format!("{begin}\n{}\n{action}\n", names.join(",\n")))
            .context("writing the script of bpftrace")?;
        let mut command = Command::new("unshare");
        // Tracepoints are found by tracefs, which is not mounted everywhere.
        let start = "
            if [ ! -d /sys/kernel/tracing/events ]; then
                mount -t tracefs tracefs /sys/kernel/tracing
            fi
            exec bpftrace \"$1\" >\"$2\"";
        command.args(["--mount", "sh", "-c", start, "sh"]).arg(&script).arg(&file);
        Self::start(command, file, folder)
    }

    fn strace(pid: u32) -> Result<Self> {
        let folder = tempfile::tempdir().context("a temporary folder for strace")?;
        let file = folder.path().join("lines");
        let mut command = Command::new("sh");
        // Its workers are there already, and are attached to by their own ids.
        let start = "
            for child in $(cat /proc/$1/task/$1/children); do set -- \"$@\" -p \"$child\"; done
            pid=$1 file=$2 calls=$3; shift 3
            exec strace -f -e \"trace=$calls\" -o \"$file\" -p \"$pid\" \"$@\"";
        command.args(["-c", start, "sh", &pid.to_string()]).arg(&file).arg(CALLS.join(","));
        let lines = Self { running: Running::spawn(command), file, _folder: folder };
        lines.running.lines_within("attached", 1, PATIENCE).map_err(|reason| anyhow!(reason))?;
        Ok(lines)
    }

    fn start(command: Command, file: PathBuf, folder: TempDir) -> Result<Self> {
        let lines = Self { running: Running::spawn(command), file, _folder: folder };
        crate::wait::wait_for("the first line", PATIENCE, || {
            let said = String::from_utf8_lossy(&lines.running.stderr()).into_owned();
            ensure!(!lines.running.has_ended(), "it ended by itself: {}", said.trim());
            let length = fs::metadata(&lines.file).map_or(0, |file| file.len());
            Ok((length > 0).then_some(()))
        })?;
        Ok(lines)
    }
}

impl Observer for Lines {
    fn cpu_time(&self) -> Duration {
        self.running.cpu_time()
    }

    fn end(self: Box<Self>, _: Work) -> Result<Option<String>> {
        self.running.signal(Signal::INT);
        let _ = self.running.wait();
        let written = fs::metadata(&self.file).context("looking at what it has written")?.len();
        ensure!(written > 100_000, "it has hardly written anything");
        Ok(None)
    }
}
