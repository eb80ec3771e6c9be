//! `netglass monitor --kernel`: whether it loses packets that come by, and what it costs a connection that
//! drops are watched.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use netglass_testing::{Namespace, Running, Signal, link};

use crate::{
    bench::{Bench, Effort},
    capture_sender::{Sent, send},
    goal::Goal,
    netglass::netglass_program,
    rate::{Condition, Observer, Rates, Work},
    report::{Report, grouped},
    table::Table,
    wait::wait_for,
};

/// How long packets are sent, and the connection is measured each time.
const SECONDS: f64 = 5.0;
const LOAD_SECONDS: f64 = 2.0;
const FLOWS: u16 = 1_000;
const PER_SECOND: u32 = 200_000;
const AT_LEAST: f64 = 0.98;

const DROPS: &str = "netglass monitor --kernel -t drop";

/// How long the program may take until it tells of packets, and until it ends.
const PATIENCE: Duration = Duration::from_secs(60);
const READY: &str = "the kernel tells of packets";

/// How much is written to the connection at once.
const PIECE: usize = 128 * 1024;

/// The benches of this file.
pub(crate) fn benches(effort: Effort) -> Vec<Bench> {
    let lasts = Duration::from_secs_f64((SECONDS * effort.scale).max(0.2));
    let each = Duration::from_secs_f64((LOAD_SECONDS * effort.scale).max(0.2));
    let rounds = effort.rounds;
    vec![
        Bench {
            name: "monitor-kernel-traces".to_owned(),
            about: format!(
                "{} packets of 60 bytes a second for {lasts:?}, each told of; {rounds} rounds",
                grouped(PER_SECOND.into())
            ),
            measure: Box::new(move || traces(rounds, lasts)),
        },
        Bench {
            name: "monitor-kernel-drops".to_owned(),
            about: format!("a connection as fast as it can, {each:?} each time; {rounds} rounds"),
            measure: Box::new(move || drops(rounds, each)),
        },
    ]
}

/// A program that tells of packets, and does not keep what it tells.
struct Monitor(Running);

impl Monitor {
    fn start(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" > /dev/null"]).arg(netglass_program());
        command.args(["monitor", "--kernel"]).args(arguments);
        command.env("NETGLASS_CONFIG", "/dev/null");
        let running = Running::spawn(command);
        running.lines_within(READY, 1, PATIENCE).map_err(|reason| anyhow!(reason))?;
        Ok(Self(running))
    }

    /// Ends it, and returns its ledger and the processor time that it has used.
    fn end(self) -> Result<(String, Duration)> {
        let running = self.0;
        running.signal(Signal::INT);
        wait_for("its end", PATIENCE, || Ok(running.has_ended().then_some(())))?;
        // It has ended, but its parent has not asked for its status yet: it can still be read.
        let cpu = running.cpu_time();
        let finished = running.wait();
        let said = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
        ensure!(finished.status.success(), "it ended with {}: {said}", finished.status);
        let ledger = said.lines().last().context("it has told no ledger")?;
        Ok((ledger.to_owned(), cpu))
    }
}

/// The number before some words of a ledger.
fn number(ledger: &str, what: &str) -> Result<u64> {
    let (before, _) =
        ledger.split_once(what).with_context(|| format!("no {what:?} in {ledger:?}"))?;
    let digits = before.rsplit(|character: char| !character.is_ascii_digit()).next();
    digits
        .unwrap_or_default()
        .parse()
        .with_context(|| format!("no number of {what:?} in {ledger:?}"))
}

fn traces(rounds: u32, lasts: Duration) -> Result<Report> {
    let (sender, receiver) = (Namespace::new("sender"), Namespace::new("receiver"));
    for namespace in [&sender, &receiver] {
        // Its neighbour discovery would be packets that were not sent by us.
        namespace.sysctl("net.ipv6.conf.default.disable_ipv6", "1");
    }
    let link = link(&sender, "10.9.0.1/24", &receiver, "10.9.0.2/24");
    let mut table = Table::new(["round", "sent", "a second", "told", "lost", "cpu s/million"]);
    let (mut lost_of_all, mut slowest) = (0, f64::INFINITY);
    for round in 1..=rounds {
        let monitor =
            Monitor::start(&["--netns", receiver.name(), "-i", &link.second, "-t", "trace"])?;
        let Sent { packets, took } =
            sender.inside(|| send(&link.first, FLOWS, lasts, Some(PER_SECOND)))?;
        let (ledger, cpu) = monitor.end()?;
        let (told, lost) = (number(&ledger, " told")?, number(&ledger, " lost before")?);
        ensure!(told + lost >= packets, "{packets} were sent, but {ledger}");
        let per_second = packets as f64 / took.as_secs_f64();
        let cost = cpu.as_secs_f64() * 1e6 / told.max(1) as f64;
        table.push([
            round.to_string(),
            grouped(packets),
            format!("{per_second:.0}"),
            grouped(told),
            grouped(lost),
            format!("{cost:.2}"),
        ]);
        lost_of_all += lost;
        slowest = slowest.min(per_second);
    }
    let reached = (lost_of_all == 0, format!("{} lost", grouped(lost_of_all)));
    let was_sent = f64::from(PER_SECOND) * 0.99;
    let goals = vec![
        Goal::new("each packet is told of".to_owned(), Some(reached)),
        Goal::new(
            format!("{} a second were sent", grouped(PER_SECOND.into())),
            Some((slowest >= was_sent, format!("{slowest:.0}"))),
        ),
    ];
    Ok(Report { table, notes: Vec::new(), failures: Vec::new(), goals })
}

fn drops(rounds: u32, lasts: Duration) -> Result<Report> {
    let (sender, receiver) = (Namespace::new("sender"), Namespace::new("receiver"));
    link(&sender, "10.9.0.1/24", &receiver, "10.9.0.2/24");
    let listener = receiver.inside(|| TcpListener::bind("10.9.0.2:9"))?;
    let start = || Ok(Box::new(Monitor::start(&["-t", "drop"])?) as Box<dyn Observer>);
    let conditions = [Condition { name: DROPS, start: Box::new(start) }];
    let rates = Rates::measure(&conditions, rounds, || transfer(&sender, &listener, lasts))?;
    Ok(Report {
        table: rates.table("MB"),
        notes: rates.notes(),
        failures: rates.failures(),
        goals: vec![rates.goal(DROPS, AT_LEAST)],
    })
}

impl Observer for Monitor {
    fn cpu_time(&self) -> Duration {
        self.0.cpu_time()
    }

    fn end(self: Box<Self>, _: Work) -> Result<Option<String>> {
        let (ledger, _) = Monitor::end(*self)?;
        Ok(ledger.split_once("in the kernel: ").map(|(_, kernel)| kernel.to_owned()))
    }
}

/// Sends as much as a connection takes.
fn transfer(sender: &Namespace, listener: &TcpListener, lasts: Duration) -> Result<Work> {
    let mut stream = sender.inside(|| TcpStream::connect("10.9.0.2:9"))?;
    let (mut taken, _) = listener.accept()?;
    let is_over = AtomicBool::new(false);
    let (bytes, took) = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let piece = vec![0; PIECE];
            while !is_over.load(Ordering::Relaxed) {
                stream.write_all(&piece)?;
            }
            stream.shutdown(std::net::Shutdown::Write)
        });
        let received = receive(&mut taken, lasts);
        is_over.store(true, Ordering::Relaxed);
        // What is still on its way is taken, so that the other end is not kept waiting.
        let mut piece = vec![0; PIECE];
        while taken.read(&mut piece).is_ok_and(|length| length > 0) {}
        let _ = sending.join();
        received
    })?;
    let megabytes = bytes as f64 / 1e6;
    Ok(Work { per_second: megabytes / took.as_secs_f64(), count: bytes / 1_000_000 })
}

/// Takes what comes for so long.
fn receive(stream: &mut TcpStream, lasts: Duration) -> std::io::Result<(u64, Duration)> {
    let mut piece = vec![0; PIECE];
    let (mut bytes, start) = (0, Instant::now());
    while start.elapsed() < lasts {
        bytes += stream.read(&mut piece)? as u64;
    }
    Ok((bytes, start.elapsed()))
}

#[cfg(test)]
mod tests {
    use netglass_testing::require;

    use super::*;

    const LEDGER: &str = "netglass: 12 events = 12 shown + 0 filtered out; 3 lost before they came; in \
                          the kernel: 15 seen + 0 dropped = 12 told + 0 filtered out + 0 no packets + 3 \
                          lost";

    #[test]
    fn numbers_are_read_from_a_ledger() {
        assert_eq!(number(LEDGER, " told").unwrap(), 12);
        assert_eq!(number(LEDGER, " lost before").unwrap(), 3);
        assert!(number(LEDGER, " found").is_err() && number("none lost before", " lost").is_err());
    }

    #[test]
    fn a_connection_transfers_what_it_can() {
        require!(root);
        let (sender, receiver) = (Namespace::new("sender"), Namespace::new("receiver"));
        link(&sender, "10.9.0.1/24", &receiver, "10.9.0.2/24");
        let listener = receiver.inside(|| TcpListener::bind("10.9.0.2:9")).unwrap();
        let work = transfer(&sender, &listener, Duration::from_millis(50)).unwrap();
        assert!(work.per_second > 1.0, "{work:?}");
    }
}
