//! Loads of several processes: this program starts itself once for each.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::hold;

/// Starts a process for each list of arguments; when all are ready, says so, and holds them.
///
/// The children end when their standard input closes, which is when this process ends, however it
/// does.
pub(crate) fn hold(processes: impl IntoIterator<Item = Vec<OsString>>) -> Result<()> {
    // Not /proc/self/exe, which would name the processes "exe".
    let program = env::current_exe().context("finding this program")?;
    let start = |arguments: Vec<OsString>| {
        Command::new(&program)
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting netglass-load {arguments:?}"))
    };
    let mut children = processes.into_iter().map(start).collect::<Result<Vec<_>>>()?;
    for child in &mut children {
        let mut line = String::new();
        let stdout = child.stdout.as_mut().context("stdout is piped")?;
        BufReader::new(stdout).read_line(&mut line).context("reading from a child")?;
        ensure!(line == "ready\n", "a child ended instead of being ready");
    }
    hold::ready()?;
    hold::until_stdin_closes();
    for mut child in children {
        // Waiting closes the child's standard input first, which ends it.
        child.wait().context("waiting for a child")?;
    }
    Ok(())
}
