//! `netglass capture -i` and others on a device whose other end sends as fast as it can.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use netglass_testing::{Namespace, Running, Signal, link};

use crate::{
    bench::{Bench, Effort},
    capture_contestants::{NETGLASS, NETGLASS_IN_KERNEL, NFPCAPD, Results, SOFTFLOWD},
    capture_sender::{Sent, send},
    capture_watchers::{Place, Taken, Watcher, watchers},
    goal::Goal,
    rate::median,
    report::{Report, grouped},
    table::Table,
    wait::wait_for,
};

/// How long each is sent packets.
const SECONDS: f64 = 5.0;
const FLOWS: u16 = 10_000;

const NFPCAPD_GOAL: f64 = 1.0;
const SOFTFLOWD_GOAL: f64 = 0.5;

/// How long a program may take until it captures, and until it ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// No program waits so long until it looks at what has come.
const SETTLE: Duration = Duration::from_millis(1500);

/// The benches of this file.
pub(crate) fn benches(effort: Effort) -> Vec<Bench> {
    let lasts = Duration::from_secs_f64((SECONDS * effort.scale).max(0.2));
    vec![Bench {
        name: "capture-live".to_owned(),
        about: format!(
            "packets of 60 bytes in {} flows, as many as are sent in {lasts:?}; {} rounds",
            grouped(FLOWS.into()),
            effort.rounds
        ),
        measure: Box::new(move || measure(effort.rounds, lasts)),
    }]
}

/// One run of a program.
#[derive(Debug, Clone, Copy)]
struct Run {
    sent: Sent,
    taken: u64,
    cpu: Duration,
}

/// All runs of a program.
#[derive(Debug)]
struct Outcome {
    name: &'static str,
    runs: Vec<Run>,
}

fn measure(rounds: u32, lasts: Duration) -> Result<Report> {
    let (sender, receiver) = (Namespace::new("sender"), Namespace::new("receiver"));
    for namespace in [&sender, &receiver] {
        // Its neighbour discovery would be packets that were not sent by us.
        namespace.sysctl("net.ipv6.conf.default.disable_ipv6", "1");
    }
    let link = link(&sender, "10.9.0.1/24", &receiver, "10.9.0.2/24");
    let results = Results::new()?;
    let place = Place { namespace: &receiver, device: &link.second, results: &results };
    let mut notes = Vec::new();
    let mut running: Vec<(Watcher, Vec<Run>)> =
        watchers(&mut notes).into_iter().map(|watcher| (watcher, Vec::new())).collect();
    let mut failures = Vec::new();
    for _ in 0..rounds {
        running.retain_mut(|(watcher, runs)| {
            match watch(watcher, &place, || sender.inside(|| send(&link.first, FLOWS, lasts, None)))
            {
                Ok(run) => runs.push(run),
                Err(error) => {
                    failures.push((watcher.name, format!("{error:#}")));
                    return false;
                }
            }
            true
        });
    }
    let outcomes: Vec<Outcome> =
        running.into_iter().map(|(watcher, runs)| Outcome { name: watcher.name, runs }).collect();
    notes.push(format!(
        "{NETGLASS_IN_KERNEL}: what its kernel programs take while packets come is added to its own \
         time"
    ));
    notes.push("the ends are of one host: the sender pays for the way to the receiver".to_owned());
    Ok(Report { table: table(&outcomes), notes, failures, goals: goals(&outcomes) })
}

/// Lets a program capture what is sent.
fn watch(watcher: &Watcher, place: &Place<'_>, send: impl FnOnce() -> Result<Sent>) -> Result<Run> {
    let running = Running::spawn((watcher.command)(place));
    wait_for("its capture", PATIENCE, || {
        fail_if_ended(&running)?;
        Ok((captures(place.namespace)? || has_kernel_programs(&running)).then_some(()))
    })?;
    thread::sleep(SETTLE);
    let _counting = has_kernel_programs(&running).then(RunTimes::count).transpose()?;
    let before = running.cpu_time();
    let sent = send()?;
    thread::sleep(SETTLE);
    fail_if_ended(&running)?;
    let in_kernel = RunTimes::of(&running);
    let asked = match watcher.taken {
        Taken::Asked(ask) => Some(ask(place)?),
        Taken::Said(_) | Taken::Written(_) => None,
    };
    running.signal(Signal::INT);
    wait_for("its end", PATIENCE, || Ok(running.has_ended().then_some(())))?;
    // It has ended, but its parent has not asked for its status yet: it can still be read.
    let cpu = running.cpu_time().saturating_sub(before) + in_kernel;
    let finished = running.wait();
    let said = [finished.stdout, finished.stderr].concat();
    let taken = match (asked, watcher.taken) {
        (Some(taken), _) => taken,
        (None, Taken::Said(count)) => count(&String::from_utf8_lossy(&said))?,
        (None, Taken::Written(count) | Taken::Asked(count)) => count(place)?,
    };
    ensure!(taken <= sent.packets, "it took {taken} packets of {} that were sent", sent.packets);
    Ok(Run { sent, taken, cpu })
}

/// Has the kernel count for how long its programs run, as long as it lives.
struct RunTimes;

impl RunTimes {
    const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

    fn count() -> Result<Self> {
        fs::write(Self::SWITCH, "1").context("having the run time of kernel programs counted")?;
        Ok(Self)
    }

    /// For how long the programs of a process ran, on whichever processor packets came.
    fn of(running: &Running) -> Duration {
        let times = programs_of(running).into_iter().filter_map(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("run_time_ns:"))?;
            line.trim().parse().ok().map(Duration::from_nanos)
        });
        times.sum()
    }
}

impl Drop for RunTimes {
    fn drop(&mut self) {
        // It costs little, and the next run writes it again.
        let _ = fs::write(Self::SWITCH, "0");
    }
}

fn has_kernel_programs(running: &Running) -> bool {
    !programs_of(running).is_empty()
}

/// What the kernel tells of the programs that a process has loaded.
fn programs_of(running: &Running) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{}/fdinfo", running.id())).into_iter().flatten();
    let texts = files.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    texts.filter(|text| text.contains("prog_type:\t3\n")).collect()
}

fn fail_if_ended(running: &Running) -> Result<()> {
    let said = || String::from_utf8_lossy(&running.stderr()).trim().to_owned();
    ensure!(!running.has_ended(), "it ended by itself: {}", said());
    Ok(())
}

/// Whether somebody in the namespace has a packet socket that takes all protocols.
fn captures(namespace: &Namespace) -> Result<bool> {
    let table = namespace.inside(|| fs::read_to_string("/proc/thread-self/net/packet"));
    let table = table.context("reading the packet sockets of a namespace")?;
    // The address, the references, the type, the protocol: ETH_P_ALL.
    Ok(table.lines().any(|line| line.split_whitespace().nth(3) == Some("0003")))
}

impl Outcome {
    /// Seconds of processor time of a million packets that were taken, median.
    fn cpu_per_million(&self) -> Option<f64> {
        let cost = |run: &Run| run.cpu.as_secs_f64() * 1e6 / run.taken.max(1) as f64;
        let costs: Vec<f64> = self.runs.iter().map(cost).collect();
        (!costs.is_empty()).then(|| median(&costs))
    }

    fn sent(&self) -> u64 {
        self.runs.iter().map(|run| run.sent.packets).sum()
    }

    fn lost(&self) -> u64 {
        self.sent() - self.runs.iter().map(|run| run.taken).sum::<u64>()
    }

    fn sent_per_second(&self) -> f64 {
        let took: Duration = self.runs.iter().map(|run| run.sent.took).sum();
        self.sent() as f64 / took.as_secs_f64()
    }
}

fn table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new([
        "contestant",
        "sent",
        "million/s",
        "lost",
        "cpu s/million",
        &format!("× {NFPCAPD}"),
        &format!("× {SOFTFLOWD}"),
    ]);
    for outcome in outcomes {
        let cost = outcome.cpu_per_million();
        let times = |reference| {
            ratio(outcomes, outcome.name, reference).map_or("-".to_owned(), |x| format!("{x:.3}"))
        };
        table.push([
            outcome.name.to_owned(),
            grouped(outcome.sent()),
            format!("{:.3}", outcome.sent_per_second() / 1e6),
            grouped(outcome.lost()),
            cost.map_or("-".to_owned(), |cost| format!("{cost:.3}")),
            times(NFPCAPD),
            times(SOFTFLOWD),
        ]);
    }
    table
}

fn goals(outcomes: &[Outcome]) -> Vec<Goal> {
    let own = outcomes.iter().find(|outcome| outcome.name == NETGLASS);
    let lost = own.map(|own| (own.lost() == 0, format!("{} lost", grouped(own.lost()))));
    let cost = |reference: &str, at_most: f64| {
        let ratio = ratio(outcomes, NETGLASS, reference);
        Goal::new(
            format!("{NETGLASS} ≤ {at_most} × the processor time of {reference}"),
            ratio.map(|ratio| (ratio <= at_most, format!("{ratio:.3}"))),
        )
    };
    vec![
        Goal::new(format!("{NETGLASS} loses no packet"), lost),
        cost(NFPCAPD, NFPCAPD_GOAL),
        cost(SOFTFLOWD, SOFTFLOWD_GOAL),
    ]
}

/// What a packet costs one as a multiple of what it costs the other.
fn ratio(outcomes: &[Outcome], name: &str, reference: &str) -> Option<f64> {
    let cost = |name| outcomes.iter().find(|outcome| outcome.name == name)?.cpu_per_million();
    Some(cost(name)? / cost(reference)?)
}

#[cfg(test)]
mod tests {
    use netglass_testing::require;

    use super::*;
    use crate::capture_watchers::Taken;

    fn outcome(name: &'static str, taken: u64, milliseconds: u64) -> Outcome {
        let sent = Sent { packets: 1_000_000, took: Duration::from_secs(2) };
        let run = Run { sent, taken, cpu: Duration::from_millis(milliseconds) };
        Outcome { name, runs: vec![run] }
    }

    #[test]
    fn what_packets_cost_is_compared() {
        let outcomes = [outcome(NETGLASS, 1_000_000, 90), outcome(NFPCAPD, 500_000, 50)];
        let expected = "\
            \x20 contestant             sent  million/s     lost  cpu s/million  × nfpcapd  × softflowd
            \x20 netglass capture  1,000,000      0.500        0          0.090      0.900            -
            \x20 nfpcapd           1,000,000      0.500  500,000          0.100      1.000            -\n"
            .replace("            \u{20} ", "  ");
        assert_eq!(table(&outcomes).to_string(), expected);
        assert_eq!(
            goals(&outcomes).iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "netglass capture loses no packet: 0 lost, met",
                "netglass capture ≤ 1 × the processor time of nfpcapd: 0.900, met",
                "netglass capture ≤ 0.5 × the processor time of softflowd: not measured, MISSED",
            ]
        );
    }

    #[test]
    fn a_program_takes_what_is_sent() {
        require!(root, command("tcpdump"));
        let (sender, receiver) = (Namespace::new("sender"), Namespace::new("receiver"));
        receiver.sysctl("net.ipv6.conf.default.disable_ipv6", "1");
        sender.sysctl("net.ipv6.conf.default.disable_ipv6", "1");
        let link = link(&sender, "10.9.0.1/24", &receiver, "10.9.0.2/24");
        let results = Results::new().unwrap();
        let place = Place { namespace: &receiver, device: &link.second, results: &results };
        let all = watchers(&mut Vec::new());
        let tcpdump = all.iter().find(|watcher| watcher.name.starts_with("tcpdump")).unwrap();
        assert!(matches!(tcpdump.taken, Taken::Said(_)));
        let lasts = Duration::from_millis(50);
        let run = watch(tcpdump, &place, || sender.inside(|| send(&link.first, 10, lasts, None)));
        let run = run.unwrap();
        assert!(run.taken > 0, "{run:?}");
    }
}
