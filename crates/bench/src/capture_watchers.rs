//! Programs that capture on a device, and how each tells what it has taken.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use netglass_testing::{Namespace, requirement::find_command};

use crate::{
    capture_contestants::{
        ARGUS, COLLECTOR, CaptureLedger, MAX_FLOWS, NETGLASS, NETGLASS_IN_KERNEL, NFPCAPD, Results,
        SOFTFLOWD, TCPDUMP, number_after, program,
    },
    netglass::netglass_program,
};

/// Where a program captures, and where it may write.
pub(crate) struct Place<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) device: &'a str,
    pub(crate) results: &'a Results,
}

impl Place<'_> {
    fn command(&self, program: PathBuf) -> Command {
        self.namespace.command(program)
    }
}

/// A program that captures.
pub(crate) struct Watcher {
    pub(crate) name: &'static str,
    pub(crate) command: fn(&Place<'_>) -> Command,
    pub(crate) taken: Taken,
}

/// How many packets it has taken.
#[derive(Clone, Copy)]
pub(crate) enum Taken {
    /// It says so at its end.
    Said(fn(&str) -> Result<u64>),
    /// It is asked before.
    Asked(fn(&Place<'_>) -> Result<u64>),
    /// It is found in what it has written.
    Written(fn(&Place<'_>) -> Result<u64>),
}

/// Netglass, and those of its peers that are installed; the others are noted.
pub(crate) fn watchers(notes: &mut Vec<String>) -> Vec<Watcher> {
    let peers = [("tcpdump", tcpdump()), ("nfpcapd", nfpcapd()), ("softflowd", softflowd())];
    let mut all = vec![netglass(), netglass_in_kernel()];
    for (name, peer) in peers.into_iter().chain([("argus", argus())]) {
        if find_command(name).is_some() {
            all.push(peer);
        } else {
            notes.push(format!("{name} is not installed"));
        }
    }
    all
}

fn netglass() -> Watcher {
    Watcher {
        name: NETGLASS,
        command: netglass_command,
        taken: Taken::Said(|said| {
            let ledger = CaptureLedger::read(said)?;
            ensure!(ledger.is_stored, "it has not stored all: {said}");
            Ok(ledger.seen - ledger.dropped)
        }),
    }
}

fn netglass_in_kernel() -> Watcher {
    Watcher {
        name: NETGLASS_IN_KERNEL,
        command: |place| {
            let mut command = netglass_command(place);
            command.args(["--engine", "kernel"]);
            command
        },
        ..netglass()
    }
}

fn netglass_command(place: &Place<'_>) -> Command {
    let mut command = place.command(netglass_program());
    command.args(["capture", "--config", "/dev/null", "--stats-format", "json"]);
    command.arg("--output");
    command.arg(format!("file:{}", place.results.fresh("flows.json").display()));
    command.args(["-i", place.device]);
    command
}

fn tcpdump() -> Watcher {
    Watcher {
        name: TCPDUMP,
        command: |place| {
            let mut command = place.command(program("tcpdump"));
            command.args(["-i", place.device, "-w", "/dev/null"]);
            command
        },
        taken: Taken::Said(|said| {
            let line = said.lines().find(|line| line.ends_with("packets captured"));
            let count = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            count.with_context(|| format!("there is no count in {said:?}"))
        }),
    }
}

fn nfpcapd() -> Watcher {
    Watcher {
        name: NFPCAPD,
        command: |place| {
            let folder = place.results.fresh("nfpcapd");
            // It says so itself where it cannot write.
            let _ = fs::create_dir(&folder);
            let mut command = place.command(program("nfpcapd"));
            command.args(["-i", place.device, "-w"]).arg(folder);
            command
        },
        taken: Taken::Said(|said| number_after(said, "Total: Processed: ")),
    }
}

fn softflowd() -> Watcher {
    Watcher {
        name: SOFTFLOWD,
        command: |place| {
            let results = place.results;
            let mut command = place.command(program("softflowd"));
            command.args(["-d", "-m", MAX_FLOWS, "-n", COLLECTOR, "-i", place.device]);
            command.arg("-p").arg(results.fresh("softflowd.pid"));
            command.arg("-c").arg(results.fresh(SOFTFLOWD_CONTROL));
            command
        },
        taken: Taken::Asked(|place| {
            let mut command = Command::new(program("softflowctl"));
            command.arg("-c").arg(place.results.path(SOFTFLOWD_CONTROL)).arg("statistics");
            number_after(&output(command)?, "Packets processed: ")
        }),
    }
}

const SOFTFLOWD_CONTROL: &str = "softflowd.ctl";

fn argus() -> Watcher {
    Watcher {
        name: ARGUS,
        command: |place| {
            let mut command = place.command(program("argus"));
            command.args(["-i", place.device, "-w"]).arg(place.results.fresh(ARGUS_RECORDS));
            command
        },
        taken: Taken::Written(|place| {
            let mut command = Command::new(program("racount"));
            command.arg("-r").arg(place.results.path(ARGUS_RECORDS));
            // The kind, records, packets.
            let said = output(command)?;
            let sums = said.lines().find(|line| line.trim_start().starts_with("sum"));
            let count = sums.and_then(|line| line.split_whitespace().nth(2)?.parse().ok());
            count.with_context(|| format!("there is no count in {said:?}"))
        }),
    }
}

const ARGUS_RECORDS: &str = "argus";

fn output(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
