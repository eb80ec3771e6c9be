//! The hosts that report: which runs of their probes still count, and how each fares.

use std::{collections::BTreeMap, time::Duration};

use netglass_model::{ProbeStatus, Timestamp};

use crate::host::NO_MACHINE_ID;

/// How a run of a probe fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It was heard of lately.
    Reporting,
    /// It was not, and never said that it would end.
    Silent,
    /// It said that it would end.
    Ended,
    /// It never said so, but another one was started since it was heard of last.
    Superseded,
}

impl State {
    /// The name in every output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reporting => "reporting",
            Self::Silent => "silent",
            Self::Ended => "ended",
            Self::Superseded => "superseded",
        }
    }
}

/// A run of a probe.
#[derive(Debug)]
pub(crate) struct Run {
    /// What the database knows of it. Its last flush has arrived, and counts as stored.
    pub(crate) status: ProbeStatus,
    /// How it fares.
    pub(crate) state: State,
    /// Whether it tells how its host fares now, rather than how it once did.
    pub(crate) is_current: bool,
    /// How many runs on other machines report with the same machine-id at the same time.
    pub(crate) clones: usize,
}

/// The runs of all hosts' probes in the order of [`Database::probes`]. `silent_after` is how long one
/// may not be heard of.
///
/// A probe in each of several network namespaces of a host is no odd thing: a run is superseded only
/// by one that was started after its last flush. One that ended with its first flush
/// (`probe --once`) took nobody's place.
///
/// [`Database::probes`]: netglass_store::Database::probes
pub(crate) fn assess(probes: &[ProbeStatus], now: Timestamp, silent_after: Duration) -> Vec<Run> {
    let mut runs = Vec::with_capacity(probes.len());
    for host in probes.chunk_by(|a, b| a.host == b.host) {
        let states: Vec<State> = (0..host.len())
            .map(|index| match host.split_at(index) {
                (newer, [run, ..]) => state(run, newer, now, silent_after),
                (_, []) => State::Ended,
            })
            .collect();
        let is_living = |state: &State| matches!(state, State::Reporting | State::Silent);
        let none_lives = !states.iter().any(is_living);
        for (index, (status, state)) in host.iter().zip(states).enumerate() {
            let mut status = status.clone();
            status.ledger.flushed();
            let is_current = is_living(&state) || (none_lives && index == 0);
            runs.push(Run { status, state, is_current, clones: 0 });
        }
    }
    count_clones(&mut runs);
    runs
}

fn state(
    run: &ProbeStatus,
    newer: &[ProbeStatus],
    now: Timestamp,
    silent_after: Duration,
) -> State {
    let supersedes = |newer: &ProbeStatus| {
        newer.probe.started >= run.last_flush && !(newer.ended && newer.sequence == 1)
    };
    if run.ended {
        State::Ended
    } else if newer.iter().any(supersedes) {
        State::Superseded
    } else if now.since(run.last_flush) > silent_after {
        State::Silent
    } else {
        State::Reporting
    }
}

fn count_clones(runs: &mut [Run]) {
    let mut by_machine: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, run) in runs.iter().enumerate() {
        let machine_id = run.status.host.machine_id.as_str();
        if run.is_current && machine_id != NO_MACHINE_ID {
            by_machine.entry(machine_id).or_default().push(index);
        }
    }
    let mut counts = Vec::new();
    for sharing in by_machine.values() {
        for &run in sharing {
            let is_clone = |other: &&usize| are_clones(&runs[run].status, &runs[**other].status);
            counts.push((run, sharing.iter().filter(is_clone).count()));
        }
    }
    for (run, clones) in counts {
        runs[run].clones = clones;
    }
}

/// Whether two runs with one machine-id were on two machines: different kernels at the same time.
/// One after the other is one machine that was started again, under another name perhaps.
fn are_clones(a: &ProbeStatus, b: &ProbeStatus) -> bool {
    let known = !a.probe.boot_id.is_empty() && !b.probe.boot_id.is_empty();
    let overlap = a.probe.started <= b.last_flush && b.probe.started <= a.last_flush;
    known && a.probe.boot_id != b.probe.boot_id && overlap
}

#[cfg(test)]
mod tests {
    use netglass_model::{Ledger, SpoolUsage};

    use super::*;
    use crate::fixtures::{now, probe_status};

    const SILENT_AFTER: Duration = Duration::from_secs(120);

    fn states(probes: &[ProbeStatus]) -> Vec<(&'static str, bool)> {
        let runs = assess(probes, now(), SILENT_AFTER);
        runs.iter().map(|run| (run.state.name(), run.is_current)).collect()
    }

    #[test]
    fn who_was_not_heard_of_for_longer_than_allowed_is_silent() {
        assert_eq!(states(&[probe_status("web", 600, 120)]), [("reporting", true)]);
        assert_eq!(states(&[probe_status("web", 600, 121)]), [("silent", true)]);
    }

    #[test]
    fn who_said_that_it_ends_is_not_silent() {
        let ended = ProbeStatus { ended: true, ..probe_status("web", 600, 500) };
        assert_eq!(states(&[ended]), [("ended", true)]);
    }

    #[test]
    fn one_that_was_started_later_takes_the_place_of_one_that_was_killed() {
        let runs = [probe_status("web", 300, 1), probe_status("web", 900, 310)];
        assert_eq!(states(&runs), [("reporting", true), ("superseded", false)]);
        // Even if it has ended since.
        let stopped = ProbeStatus { ended: true, ..probe_status("web", 300, 200) };
        let runs = [stopped, probe_status("web", 900, 310)];
        assert_eq!(states(&runs), [("ended", true), ("superseded", false)]);
    }

    #[test]
    fn two_probes_of_one_host_at_the_same_time_both_count() {
        let runs = [probe_status("web", 300, 1), probe_status("web", 900, 250)];
        assert_eq!(states(&runs), [("reporting", true), ("silent", true)]);
    }

    #[test]
    fn one_look_takes_nobodys_place() {
        let once = ProbeStatus { ended: true, sequence: 1, ..probe_status("web", 300, 299) };
        let runs = [once, probe_status("web", 900, 310)];
        assert_eq!(states(&runs), [("ended", false), ("silent", true)]);
    }

    #[test]
    fn hosts_are_looked_at_apart() {
        let runs = [probe_status("db", 300, 1), probe_status("web", 900, 310)];
        assert_eq!(states(&runs), [("reporting", true), ("silent", true)]);
    }

    #[test]
    fn what_came_with_the_last_flush_is_stored() {
        let mut ledger = Ledger::default();
        ledger.pend(5);
        let status = ProbeStatus { ledger, ..probe_status("web", 60, 1) };
        let runs = assess(&[status], now(), SILENT_AFTER);
        assert_eq!((runs[0].status.ledger.stored, runs[0].status.ledger.pending), (5, 0));
        assert_eq!(runs[0].status.spool, SpoolUsage::default());
    }

    /// A run on the machine that was started as `boot_id`, with one machine-id for all.
    fn on_machine(boot_id: &str, name: &str, started: u64, last: u64) -> ProbeStatus {
        let mut status = probe_status(name, started, last);
        status.host.machine_id = "0123456789abcdef0123456789abcdef".to_owned();
        status.probe.boot_id = boot_id.to_owned();
        status
    }

    fn clones(probes: &[ProbeStatus]) -> Vec<usize> {
        assess(probes, now(), SILENT_AFTER).iter().map(|run| run.clones).collect()
    }

    #[test]
    fn one_machine_id_on_two_kernels_at_once_is_that_of_copies() {
        let (a, b) = (on_machine("a", "web-1", 600, 1), on_machine("b", "web-2", 500, 1));
        assert_eq!(clones(&[a, b]), [1, 1]);
        let (a, b) = (on_machine("a", "web", 500, 1), on_machine("b", "web", 600, 1));
        assert_eq!(clones(&[a, b]), [1, 1], "under the same name too");
    }

    #[test]
    fn one_kernel_or_one_after_the_other_are_no_copies() {
        let (a, b) = (on_machine("a", "web-1", 600, 1), on_machine("a", "web-2", 500, 1));
        assert_eq!(clones(&[a, b]), [0, 0], "containers");
        let (a, b) = (on_machine("b", "new-name", 300, 1), on_machine("a", "web", 600, 310));
        assert_eq!(clones(&[a, b]), [0, 0], "renamed and started again");
        let (a, b) = (on_machine("b", "web", 300, 1), on_machine("a", "web", 600, 310));
        assert_eq!(clones(&[a, b]), [0, 0], "started again");
        let (a, b) = (on_machine("", "web-1", 600, 1), on_machine("", "web-2", 500, 1));
        assert_eq!(clones(&[a, b]), [0, 0], "nobody knows");
    }

    #[test]
    fn who_has_no_machine_id_shares_none() {
        let without = |boot_id, name| {
            let mut status = on_machine(boot_id, name, 600, 1);
            status.host.machine_id = NO_MACHINE_ID.to_owned();
            status
        };
        assert_eq!(clones(&[without("a", "web-1"), without("b", "web-2")]), [0, 0]);
    }
}
