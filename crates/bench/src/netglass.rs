//! `netglass probe` in the background of a bench, and what it has stored at the end.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use netglass_testing::{Running, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::wait::wait_for;

/// How long the program may take until it observes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Shorter than the default, so that what is measured has several writes in it.
pub(crate) const FLUSH_INTERVAL: &str = "2s";

const LEDGER: &str = "\"kind\":\"ledger\"";

/// How connections are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Streaming,
    Polling,
}

impl Mode {
    /// The command that is measured, in short.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Streaming => "netglass probe --mode streaming",
            Self::Polling => "netglass probe --mode polling",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Streaming => "--mode=streaming",
            Self::Polling => "--mode=polling",
        }
    }
}

/// A running probe of all namespaces, with a database of its own.
#[derive(Debug)]
pub(crate) struct Probe {
    running: Running,
    database: Database,
}

impl Probe {
    /// Starts it; it observes once this returns.
    pub(crate) fn start(mode: Mode) -> Result<Self> {
        let database = Database::new()?;
        let mut command = database.netglass("probe");
        command.args([mode.option(), "--all-namespaces", "--format", "json"]);
        command.args(["--flush-interval", FLUSH_INTERVAL]);
        let probe = Self { running: Running::spawn(command), database };
        // It listens to signals before it opens the database; what asks for the ledger is answered
        // by the loop that observes.
        wait_for("the probe's database", PATIENCE, || {
            probe.fail_if_ended()?;
            Ok(probe.database.path().exists().then_some(()))
        })?;
        probe.running.signal(Signal::USR1);
        probe.running.lines_within(LEDGER, 1, PATIENCE).map_err(|reason| anyhow!(reason))?;
        Ok(probe)
    }

    /// The processor time that it has used.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.running.cpu_time()
    }

    /// The memory that it has resident, in bytes.
    pub(crate) fn resident_size(&self) -> Result<u64> {
        self.running.resident_size().context("the probe has ended")
    }

    /// Ends it, after it has written what it holds.
    pub(crate) fn end(self) -> Result<Stored> {
        self.fail_if_ended()?;
        self.running.signal(Signal::INT);
        wait_for("the end of the probe", PATIENCE, || Ok(self.running.has_ended().then_some(())))?;
        // It has ended, but its parent has not asked for its status yet: it can still be read.
        let cpu = self.running.cpu_time();
        let finished = self.running.wait();
        let text = String::from_utf8_lossy(&finished.stdout).into_owned();
        let said = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
        ensure!(finished.status.success(), "the probe ended with {}: {said}", finished.status);
        let line =
            text.lines().rfind(|line| line.contains(LEDGER)).context("there is no ledger")?;
        Ok(Stored { ledger: Ledger::read(line)?, cpu, said, database: self.database })
    }

    fn fail_if_ended(&self) -> Result<()> {
        if self.running.has_ended() {
            let said = self.running.stderr();
            let said = String::from_utf8_lossy(&said);
            bail!(
                "the probe ended by itself: {}",
                said.lines().next().unwrap_or("no reason given")
            );
        }
        Ok(())
    }
}

/// What a probe that has ended left behind.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) ledger: Ledger,
    /// The processor time of its whole life.
    pub(crate) cpu: Duration,
    /// What it wrote to standard error.
    pub(crate) said: String,
    database: Database,
}

impl Stored {
    /// The file.
    pub(crate) fn path(&self) -> PathBuf {
        self.database.path()
    }

    /// The edges that `netglass look` tells.
    pub(crate) fn edges(&self) -> Result<Vec<Value>> {
        let mut look = self.database.netglass("look");
        let output = look.args(["--format", "json"]).stderr(Stdio::inherit()).output();
        let output = output.context("running netglass look")?;
        // Status 1 is also that of a database without any edge.
        ensure!(matches!(output.status.code(), Some(0 | 1)), "netglass look: {}", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines()
            .map(|line| serde_json::from_str(line).context("reading an edge of netglass look"))
            .collect()
    }
}

/// What a probe saw, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) seen: u64,
    pub(crate) stored: u64,
    pub(crate) pending: u64,
    pub(crate) skipped: u64,
}

impl Ledger {
    fn read(line: &str) -> Result<Self> {
        let ledger: Value = serde_json::from_str(line).context("reading the ledger")?;
        let count = |key: &str| {
            ledger[key].as_u64().with_context(|| format!("the ledger has no count of {key}"))
        };
        let skipped = ledger["skipped"].as_object().context("the ledger says what was skipped")?;
        let skipped = skipped.values().filter_map(Value::as_u64).sum();
        let (seen, stored, pending) = (count("seen")?, count("stored")?, count("pending")?);
        Ok(Self { seen, stored, pending, skipped })
    }

    /// Whether all that was seen is accounted for.
    pub(crate) fn balances(self) -> bool {
        self.seen == self.stored + self.pending + self.skipped
    }
}

/// A database in a folder of its own, without any configuration file.
#[derive(Debug)]
pub(crate) struct Database {
    folder: TempDir,
}

impl Database {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("a temporary folder for the database")?;
        fs::write(folder.path().join("empty.toml"), "").context("an empty configuration")?;
        Ok(Self { folder })
    }

    fn path(&self) -> PathBuf {
        self.file("netglass.db")
    }

    /// The path of a file beside it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn netglass(&self, verb: &str) -> Command {
        let mut command = Command::new(netglass_program());
        command
            .arg(verb)
            .arg("--db")
            .arg(format!("sqlite:{}", self.path().display()))
            .arg("--config")
            .arg(self.folder.path().join("empty.toml"));
        command
    }
}

/// The program itself.
pub(crate) fn netglass_program() -> PathBuf {
    beside("netglass")
}

/// A program that was built beside this one.
pub(crate) fn beside(name: &str) -> PathBuf {
    let own = env::current_exe().unwrap_or_default();
    own.parent().unwrap_or(Path::new("/")).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_balances_when_all_is_accounted_for() {
        let read = |seen: u64| {
            let skipped = r#"{"filter":2,"loopback":1}"#;
            let counts = format!(r#""seen":{seen},"stored":3,"pending":4,"skipped":{skipped}"#);
            Ledger::read(&format!(r#"{{"version":1,"kind":"ledger",{counts},"lost":0}}"#)).unwrap()
        };
        assert_eq!(read(10), Ledger { seen: 10, stored: 3, pending: 4, skipped: 3 });
        assert!(read(10).balances());
        assert!(!read(11).balances());
    }

    #[test]
    fn what_is_no_ledger_is_refused() {
        for line in ["", "{}", r#"{"seen":1,"stored":1}"#] {
            assert!(Ledger::read(line).is_err(), "{line}");
        }
    }
}
