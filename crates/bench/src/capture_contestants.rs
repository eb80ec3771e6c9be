//! Programs that read a file of packets, and what they say about it.

use std::{
    ffi::OsStr,
    fs,
    io::BufRead,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
};

use anyhow::{Context, Result, ensure};
use netglass_testing::requirement::find_command;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    capture_file::{CaptureFile, folder},
    netglass::netglass_program,
    race::Contestant,
};

pub(crate) const NETGLASS: &str = "netglass capture";
/// The same with its lines in a file of its own, which it completes on the disk before it ends.
pub(crate) const NETGLASS_ON_DISK: &str = "netglass capture --output file";
/// The same where the kernel counts.
pub(crate) const NETGLASS_IN_KERNEL: &str = "netglass --engine kernel";
pub(crate) const TCPDUMP: &str = "tcpdump -w /dev/null";
pub(crate) const SOFTFLOWD: &str = "softflowd";
pub(crate) const NFPCAPD: &str = "nfpcapd";
pub(crate) const ARGUS: &str = "argus";

const NETGLASS_OPTIONS: [&str; 5] = ["capture", "--config", "/dev/null", "--stats-format", "json"];

/// As many as netglass has by default.
pub(crate) const MAX_FLOWS: &str = "1048576";
/// Where nobody listens: to send there costs as much.
pub(crate) const COLLECTOR: &str = "127.0.0.1:9995";

/// Runs a command whose messages are its output.
const TELL: &str = r#"exec "$@" 2>&1"#;
/// The same where the output itself goes to a file.
const TELL_AND_WRITE: &str = r#"output=$1; shift; exec "$@" 2>&1 >"$output""#;

/// A folder for what the contestants write; it goes with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Results(Rc<TempDir>);

impl Results {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir_in(folder()?).context("a folder for results")?;
        Ok(Self(Rc::new(folder)))
    }

    /// Where a file of this name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same where nothing is any more, for each run anew.
    pub(crate) fn fresh(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir_all(&path);
        path
    }
}

/// The floor: each packet is read and written to nowhere.
pub(crate) fn tcpdump(file: &CaptureFile) -> Contestant {
    let path = file.path.clone();
    let command = move || {
        let mut command = Command::new(program("tcpdump"));
        command.arg("-r").arg(&path).args(["-w", "/dev/null"]);
        command
    };
    Contestant::new(TCPDUMP, command, |_| Ok(()))
}

/// Ours, with lines of JSON as its output, which goes to a file.
pub(crate) fn netglass(
    name: &'static str,
    file: &CaptureFile,
    results: &Results,
    options: &'static [&'static str],
) -> Contestant {
    let (path, results) = (file.path.clone(), results.clone());
    let command = move || {
        let mut command = Command::new("sh");
        command.args(["-c", TELL_AND_WRITE, "sh"]).arg(results.fresh("flows.json"));
        command.arg(netglass_program()).args(NETGLASS_OPTIONS).args(["--format", "json"]);
        command.args(options).arg("-r").arg(&path);
        command
    };
    ours(name, command, file.packets)
}

/// Ours, with its lines on the disk when it ends.
pub(crate) fn netglass_on_disk(file: &CaptureFile, results: &Results) -> Contestant {
    let (path, results) = (file.path.clone(), results.clone());
    let command = move || {
        let mut command = telling(&netglass_program());
        let output = format!("file:{}", results.fresh("flows.json").display());
        command.args(NETGLASS_OPTIONS).args(["--output", &output]).arg("-r").arg(&path);
        command
    };
    ours(NETGLASS_ON_DISK, command, file.packets)
}

fn ours(name: &'static str, command: impl Fn() -> Command + 'static, packets: u64) -> Contestant {
    Contestant::new(name, command, move |said| {
        let mut text = String::new();
        said.read_to_string(&mut text)?;
        let ledger = CaptureLedger::read(&text)?;
        ensure!(ledger.seen == packets, "it has seen {} of {packets} packets", ledger.seen);
        ensure!(ledger.records > 0 && ledger.is_stored, "it has not stored all: {text}");
        Ok(())
    })
}

/// Those that log flows too; what is not installed is a note.
pub(crate) fn peers(
    file: &CaptureFile,
    results: &Results,
    notes: &mut Vec<String>,
) -> Vec<Contestant> {
    let all = [("softflowd", softflowd as fn(_, _) -> _), ("nfpcapd", nfpcapd), ("argus", argus)];
    let mut peers = Vec::new();
    for (name, peer) in all {
        if find_command(name).is_some() {
            peers.push(peer(file, results));
        } else {
            notes.push(format!("{name} is not installed"));
        }
    }
    peers
}

fn softflowd(file: &CaptureFile, results: &Results) -> Contestant {
    let (path, results) = (file.path.clone(), results.clone());
    let command = move || {
        let mut command = telling(&program("softflowd"));
        command.args(["-d", "-c", "none", "-m", MAX_FLOWS, "-n", COLLECTOR]);
        command.arg("-p").arg(results.fresh("softflowd.pid")).arg("-r").arg(&path);
        command
    };
    // It does not tell of how many it made nothing.
    Contestant::new(SOFTFLOWD, command, |said| says(said, "Packets processed").map(|_| ()))
}

fn nfpcapd(file: &CaptureFile, results: &Results) -> Contestant {
    let (path, packets, results) = (file.path.clone(), file.packets, results.clone());
    let command = move || {
        let folder = results.fresh("nfpcapd");
        // It says so itself where it cannot write.
        let _ = fs::create_dir(&folder);
        let mut command = telling(&program("nfpcapd"));
        command.arg("-r").arg(&path).arg("-w").arg(folder);
        command
    };
    Contestant::new(NFPCAPD, command, move |said| {
        let line = says(said, "Total: Processed: ")?;
        let count = number_after(&line, "Total: Processed: ")?;
        ensure!(count == packets, "it has seen {count} of {packets} packets");
        Ok(())
    })
}

fn argus(file: &CaptureFile, results: &Results) -> Contestant {
    let (path, written) = (file.path.clone(), results.path("argus"));
    let results = results.clone();
    let command = move || {
        let mut command = Command::new(program("argus"));
        command.arg("-r").arg(&path).arg("-w").arg(results.fresh("argus"));
        command
    };
    Contestant::new(ARGUS, command, move |_| {
        let size = fs::metadata(&written).context("looking at what it has written")?.len();
        ensure!(size > 0, "it has written nothing");
        Ok(())
    })
}

/// What became of all packets, as netglass tells at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CaptureLedger {
    /// All, those that the kernel dropped included.
    pub(crate) seen: u64,
    pub(crate) dropped: u64,
    /// Conversations.
    pub(crate) records: u64,
    /// Whether all of them are.
    pub(crate) is_stored: bool,
}

impl CaptureLedger {
    /// Finds it in the lines that netglass printed.
    pub(crate) fn read(said: &str) -> Result<Self> {
        let line = said.lines().rfind(|line| line.contains(r#""kind":"capture_ledger""#));
        let line = line.with_context(|| format!("there is no ledger in {said:?}"))?;
        let ledger: Value = serde_json::from_str(line).context("reading the ledger")?;
        let count = |place: &str| {
            let count = ledger.pointer(place).and_then(Value::as_u64);
            count.with_context(|| format!("the ledger has no {place}: {line}"))
        };
        let records = count("/outputs/0/records")?;
        Ok(Self {
            seen: count("/packets/seen")?,
            dropped: count("/packets/dropped_by_kernel")?,
            records,
            is_stored: count("/outputs/0/stored")? == records,
        })
    }
}

/// The path of a program; its name when it is not found, as an error names it then.
pub(crate) fn program(name: &str) -> PathBuf {
    find_command(name).unwrap_or_else(|| name.into())
}

fn telling(program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args([OsStr::new("-c"), OsStr::new(TELL), OsStr::new("sh"), program.as_os_str()]);
    command
}

/// The first line with a text.
fn says(said: &mut dyn BufRead, text: &str) -> Result<String> {
    let mut bytes = Vec::new();
    said.read_to_end(&mut bytes)?;
    let said = String::from_utf8_lossy(&bytes);
    let line = said.lines().find(|line| line.contains(text));
    line.map(str::to_owned).with_context(|| format!("it does not say {text:?}"))
}

/// The number that follows a text.
pub(crate) fn number_after(said: &str, text: &str) -> Result<u64> {
    let after = said.split_once(text).map(|(_, after)| after.trim_start());
    let after = after.with_context(|| format!("it does not say {text:?}: {}", said.trim()))?;
    let digits = after.find(|char: char| !char.is_ascii_digit()).unwrap_or(after.len());
    let number = after.get(..digits).unwrap_or_default();
    number.parse().with_context(|| format!("there is no number after {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_found_and_read() {
        let said = concat!(
            r#"{"version":1,"kind":"note","note":"bvb: its packets are captured"}"#,
            "\n",
            r#"{"version":1,"kind":"capture_ledger","packets":{"seen":10,"in_flows":9,"#,
            r#""dropped_by_kernel":1},"outputs":[{"records":3,"stored":3}]}"#,
            "\n"
        );
        let ledger = CaptureLedger { seen: 10, dropped: 1, records: 3, is_stored: true };
        assert_eq!(CaptureLedger::read(said).unwrap(), ledger);
        assert!(CaptureLedger::read("{}").is_err());
    }

    #[test]
    fn numbers_are_read_where_they_are_told() {
        let said = "Total: Processed: 2528239, skipped: 5751";
        assert_eq!(number_after(said, "Processed: ").unwrap(), 2_528_239);
        assert_eq!(number_after(said, "skipped:").unwrap(), 5751);
        assert!(number_after(said, "unknown").is_err());
        assert!(number_after(said, "Total").is_err());
    }
}
