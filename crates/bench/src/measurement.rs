//! What one run of a command costs.

use std::{
    fs::File,
    io::{Read, Seek},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use wait4::Wait4;

/// How many bytes of what a failed command said are repeated.
const MOST_TEXT: u64 = 10_000;

/// The cost of a command, its children included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measurement {
    pub(crate) wall: Duration,
    /// User and system time.
    pub(crate) cpu: Duration,
    /// The greatest resident set of any one of its processes, in bytes.
    ///
    /// The kernel counts from before `exec`, when a new process still shares our memory: no value
    /// is below what this program ever had resident, so it never holds what a contestant prints.
    pub(crate) peak_memory: u64,
}

impl Measurement {
    /// Runs a command whose output goes to nowhere.
    pub(crate) fn of(command: Command) -> Result<Self> {
        measure(command, Stdio::null())
    }

    /// Runs a command and returns its output too, as a file to be read from its beginning.
    pub(crate) fn with_output(command: Command) -> Result<(Self, File)> {
        // A file, not a pipe: nobody has to read it while the clock runs.
        let mut file = tempfile::tempfile().context("a temporary file for the output")?;
        let measurement = measure(command, file.try_clone()?.into())?;
        file.rewind()?;
        Ok((measurement, file))
    }
}

fn measure(mut command: Command, stdout: Stdio) -> Result<Measurement> {
    let mut messages = tempfile::tempfile().context("a temporary file for the messages")?;
    command.stdin(Stdio::null()).stdout(stdout).stderr(messages.try_clone()?);
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let used = child.wait4().with_context(|| format!("waiting for {command:?}"))?;
    let wall = start.elapsed();
    if !used.status.success() {
        let mut text = Vec::new();
        messages.rewind()?;
        messages.take(MOST_TEXT).read_to_end(&mut text)?;
        bail!("{}: {}", used.status, String::from_utf8_lossy(&text).trim());
    }
    let cpu = used.rusage.utime + used.rusage.stime;
    Ok(Measurement { wall, cpu, peak_memory: used.rusage.maxrss })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_run_has_its_time_and_memory_and_output() {
        let (measurement, mut output) = Measurement::with_output(shell("echo hello")).unwrap();
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello\n");
        assert!(measurement.wall > Duration::ZERO);
        assert!(measurement.peak_memory > 100_000);
    }

    #[test]
    fn the_work_of_children_is_counted() {
        let busy = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; true";
        let measurement = Measurement::of(shell(busy)).unwrap();
        assert!(measurement.cpu > Duration::from_millis(10));
    }

    #[test]
    fn a_failure_is_told_with_what_the_command_said() {
        let error = Measurement::of(shell("echo broken >&2; exit 3")).unwrap_err();
        assert_eq!(error.to_string(), "exit status: 3: broken");
    }
}
