//! `netglass capture -r` and others that log the flows of a file.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{
    bench::{Bench, Effort},
    capture_contestants::{self as contestants, NETGLASS, NETGLASS_ON_DISK, Results, TCPDUMP},
    capture_file::CaptureFile,
    capture_public::{self as public, COPIES, public_captures},
    capture_realistic::{ROUTER, SAMPLES, realistic_traffic},
    capture_small::{PACKETS_PER_FLOW, small_packets},
    goal::Goal,
    netglass::netglass_program,
    plain_flows::{PLAIN, plain_flows},
    race::{Contestant, Race},
    report::{Report, grouped},
};

/// Of realistic traffic, in bytes.
const REALISTIC: u64 = 1_000_000_000;
const REALISTIC_GOAL: f64 = 0.75;

const SMALL_FLOWS: u64 = 1_000_000;
const LEAST_FLOWS: u64 = 1_000;
const SMALL_GOAL: f64 = 2.0;
/// Of memory, what the program takes without any flow included.
const BYTES_PER_FLOW: u64 = 250;

const ONE_THREAD: &str = "netglass capture --threads 1";
const TWO_THREADS: &str = "netglass capture --threads 2";
const THREADS_GOAL: f64 = 1.6;

/// The benches of this file.
pub(crate) fn benches(effort: Effort) -> Vec<Bench> {
    let rounds = effort.rounds;
    let (bytes, copies) = (effort.scaled(REALISTIC, 1_000_000), effort.scaled(COPIES, 1));
    let flows = effort.scaled(SMALL_FLOWS, LEAST_FLOWS);
    // They need minutes for all.
    let few = effort.scaled(SMALL_FLOWS / 10, LEAST_FLOWS);
    let bench = |name: &str, about: String, measure: Box<dyn Fn() -> Result<Report>>| Bench {
        name: format!("capture-{name}"),
        about,
        measure,
    };
    vec![
        bench(
            "realistic",
            format!("a file of {} bytes as a gateway sees them; {rounds} rounds", grouped(bytes)),
            Box::new(move || realistic(&realistic_traffic(&SAMPLES, bytes)?, rounds)),
        ),
        bench(
            "router",
            format!("a file of {} bytes as routers count them; {rounds} rounds", grouped(bytes)),
            Box::new(move || realistic(&realistic_traffic(&ROUTER, bytes)?, rounds)),
        ),
        bench(
            "public",
            format!("a file of {copies} copies of public captures; {rounds} rounds"),
            Box::new(move || match public::missing() {
                Some(missing) => Ok(Report::only_note(format!("this needs {missing}"))),
                None => realistic(&public_captures(copies)?, rounds),
            }),
        ),
        bench(
            "small",
            format!("{}; {rounds} rounds", about_small(flows)),
            Box::new(move || small(flows, rounds)),
        ),
        bench(
            "small-peers",
            format!("{}, read by all; one round", about_small(few)),
            Box::new(move || small_peers(few)),
        ),
        bench(
            "threads",
            format!("{}; {rounds} rounds", about_small(flows)),
            Box::new(move || threads(flows, rounds)),
        ),
    ]
}

fn about_small(flows: u64) -> String {
    let packets = grouped(flows * PACKETS_PER_FLOW);
    format!("a file of {packets} packets of 60 bytes in {} flows", grouped(flows))
}

/// Without peers: what it takes to read a file and to log its flows at all, and what ours takes.
fn floor_and_ours(file: &CaptureFile, results: &Results) -> Result<Vec<Contestant>> {
    Ok(vec![
        contestants::tcpdump(file),
        plain_flows(file, results)?,
        contestants::netglass(NETGLASS, file, results, &[]),
    ])
}

fn realistic(file: &CaptureFile, rounds: u32) -> Result<Report> {
    let results = Results::new()?;
    let mut notes = vec![about_file(file)];
    let mut all = floor_and_ours(file, &results)?;
    all.push(contestants::netglass_on_disk(file, &results));
    all.extend(contestants::peers(file, &results, &mut notes));
    let race = race(&all, rounds, file)?;
    let goals = vec![race.wall_goal(NETGLASS, TCPDUMP, REALISTIC_GOAL)];
    Ok(report_with_peers(race, notes, goals))
}

fn small(flows: u64, rounds: u32) -> Result<Report> {
    let (file, results) = (small_packets(flows)?, Results::new()?);
    let race = race(&floor_and_ours(&file, &results)?, rounds, &file)?;
    let mut goals = vec![race.wall_goal(NETGLASS, TCPDUMP, SMALL_GOAL)];
    // With fewer flows, the program itself is most of it.
    if flows == SMALL_FLOWS {
        goals.push(race.peak_memory_goal(NETGLASS, BYTES_PER_FLOW * flows));
    }
    let notes = vec![about_file(&file)];
    Ok(Report { table: race.table(&[TCPDUMP, PLAIN]), notes, failures: race.failures, goals })
}

fn small_peers(flows: u64) -> Result<Report> {
    let (file, results) = (small_packets(flows)?, Results::new()?);
    let mut notes = vec![about_file(&file)];
    let mut all = floor_and_ours(&file, &results)?;
    all.extend(contestants::peers(&file, &results, &mut notes));
    Ok(report_with_peers(race(&all, 1, &file)?, notes, Vec::new()))
}

/// Those who read a file, which is in memory.
fn race(contestants: &[Contestant], rounds: u32, file: &CaptureFile) -> Result<Race> {
    Race::run_prepared(contestants, rounds, || file.get_to_memory())
}

/// A peer that a file makes fail is no failure of ours: public captures are broken in many ways.
fn report_with_peers(race: Race, mut notes: Vec<String>, goals: Vec<Goal>) -> Report {
    let table = race.table(&[TCPDUMP, PLAIN]);
    let (failures, of_peers): (Vec<_>, Vec<_>) = race
        .failures
        .into_iter()
        .partition(|(name, _)| [NETGLASS, NETGLASS_ON_DISK, TCPDUMP].contains(name));
    notes.extend(of_peers.iter().map(|(name, reason)| {
        let reason = reason.lines().next().unwrap_or_default();
        format!("{name} fails on it: {reason}")
    }));
    Report { table, notes, failures, goals }
}

fn threads(flows: u64, rounds: u32) -> Result<Report> {
    let help = Command::new(netglass_program()).args(["capture", "--help"]).output();
    let help = help.context("asking netglass capture for its options")?;
    if !String::from_utf8_lossy(&help.stdout).contains("--threads") {
        return Ok(Report::only_note("netglass capture has no option --threads".to_owned()));
    }
    let (file, results) = (small_packets(flows)?, Results::new()?);
    let netglass = |name, options| contestants::netglass(name, &file, &results, options);
    let all = [
        contestants::tcpdump(&file),
        netglass(ONE_THREAD, &["--threads", "1"]),
        netglass(TWO_THREADS, &["--threads", "2"]),
    ];
    let race = race(&all, rounds, &file)?;
    Ok(Report {
        table: race.table(&[TCPDUMP, ONE_THREAD]),
        notes: vec![about_file(&file)],
        goals: vec![race.speed_goal(TWO_THREADS, ONE_THREAD, THREADS_GOAL)],
        failures: race.failures,
    })
}

fn about_file(file: &CaptureFile) -> String {
    format!("{} has {} packets", file.path.display(), grouped(file.packets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_fails_is_a_note_and_ours_a_failure() {
        let failures = [(NETGLASS, "broken"), ("argus", "signal: 6\nmany lines")];
        let failures = failures.map(|(name, reason)| (name, reason.to_owned())).to_vec();
        let race = Race { results: Vec::new(), failures };
        let report = report_with_peers(race, vec!["before".to_owned()], Vec::new());
        assert_eq!(report.notes, ["before", "argus fails on it: signal: 6"]);
        assert_eq!(report.failures, [(NETGLASS, "broken".to_owned())]);
    }
}
