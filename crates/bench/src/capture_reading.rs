//! `netglass capture -r` and others that log the flows of a file.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{
    bench::{Bench, Effort},
    capture_contestants::{self as contestants, NETGLASS, Results, TCPDUMP},
    capture_file::CaptureFile,
    capture_public::{self as public, COPIES, public_captures},
    capture_realistic::realistic_traffic,
    capture_small::{PACKETS_PER_FLOW, one_packet, small_packets},
    goal::Goal,
    netglass::netglass_program,
    race::Race,
    report::{Report, grouped},
};

/// Of realistic traffic, in bytes.
const REALISTIC: u64 = 1_000_000_000;
const REALISTIC_GOAL: f64 = 0.75;

const SMALL_FLOWS: u64 = 1_000_000;
const LEAST_FLOWS: u64 = 1_000;
const SMALL_GOAL: f64 = 2.0;
const BYTES_PER_FLOW: u64 = 250;
const ONE_PACKET: &str = "netglass capture, one packet";

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
            Box::new(move || realistic(&realistic_traffic(bytes)?, rounds)),
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

fn realistic(file: &CaptureFile, rounds: u32) -> Result<Report> {
    let results = Results::new()?;
    let mut notes = vec![about_file(file)];
    let mut all =
        vec![contestants::tcpdump(file), contestants::netglass(NETGLASS, file, &results, &[])];
    all.extend(contestants::peers(file, &results, &mut notes));
    let race = Race::run(&all, rounds)?;
    let goals = vec![race.wall_goal(NETGLASS, TCPDUMP, REALISTIC_GOAL)];
    Ok(Report { table: race.table(&[TCPDUMP]), notes, failures: race.failures, goals })
}

fn small(flows: u64, rounds: u32) -> Result<Report> {
    let (file, results) = (small_packets(flows)?, Results::new()?);
    let all = [
        contestants::tcpdump(&file),
        contestants::netglass(NETGLASS, &file, &results, &[]),
        contestants::netglass(ONE_PACKET, &one_packet()?, &results, &[]),
    ];
    let race = Race::run(&all, rounds)?;
    let goals = vec![race.wall_goal(NETGLASS, TCPDUMP, SMALL_GOAL), memory_goal(&race, flows)];
    let notes = vec![about_file(&file)];
    Ok(Report { table: race.table(&[TCPDUMP]), notes, failures: race.failures, goals })
}

/// What each flow takes of the memory that a single one does not.
fn memory_goal(race: &Race, flows: u64) -> Goal {
    let peak = |name| race.find(name).map(|outcome| outcome.peak_memory);
    let per_flow = peak(NETGLASS)
        .zip(peak(ONE_PACKET))
        .map(|(all, one)| all.saturating_sub(one).div_ceil(flows));
    Goal::new(
        format!("{NETGLASS} ≤ {BYTES_PER_FLOW} bytes of memory a flow"),
        per_flow.map(|bytes| (bytes <= BYTES_PER_FLOW, bytes.to_string())),
    )
}

fn small_peers(flows: u64) -> Result<Report> {
    let (file, results) = (small_packets(flows)?, Results::new()?);
    let mut notes = vec![about_file(&file)];
    let mut all =
        vec![contestants::tcpdump(&file), contestants::netglass(NETGLASS, &file, &results, &[])];
    all.extend(contestants::peers(&file, &results, &mut notes));
    let race = Race::run(&all, 1)?;
    Ok(Report { table: race.table(&[TCPDUMP]), notes, failures: race.failures, goals: vec![] })
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
    let race = Race::run(&all, rounds)?;
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
