//! Loads of several processes: this program starts itself once for each.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::hold;

/// Starts a process for each list of arguments; when all are ready, says so, and holds them.
///
/// The children end when their standard input closes, which is when this process ends, however it
/// does.
pub(crate) fn hold(processes: impl IntoIterator<Item = Vec<OsString>>) -> Result<()> {
    let members = start(processes)?;
    hold::ready()?;
    hold::until_stdin_closes();
    end(members)
}

/// Starts a process for each list of arguments; when all are ready, says so. A line on standard
/// input goes to each of them, and when all are done, says what they did together.
pub(crate) fn run(processes: impl IntoIterator<Item = Vec<OsString>>) -> Result<()> {
    let mut members = start(processes)?;
    hold::ready()?;
    hold::until_told()?;
    for member in &mut members {
        member.stdin.write_all(b"\n").context("telling a child to start")?;
    }
    let mut sum = 0;
    for member in &mut members {
        let line = member.line()?;
        let count = line.strip_prefix("done ").and_then(|count| count.parse::<usize>().ok());
        sum += count.context("a child ended before it was done")?;
    }
    hold::done(sum)?;
    hold::until_stdin_closes();
    end(members)
}

/// A process of the family.
struct Member {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Member {
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).context("reading from a child")?;
        Ok(line.trim_end().to_owned())
    }
}

fn start(processes: impl IntoIterator<Item = Vec<OsString>>) -> Result<Vec<Member>> {
    // Not /proc/self/exe, which would name the processes "exe".
    let program = env::current_exe().context("finding this program")?;
    let start = |arguments: Vec<OsString>| {
        let mut child = Command::new(&program)
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting netglass-load {arguments:?}"))?;
        let stdin = child.stdin.take().context("stdin is piped")?;
        let stdout = BufReader::new(child.stdout.take().context("stdout is piped")?);
        Ok(Member { child, stdin, stdout })
    };
    let mut members = processes.into_iter().map(start).collect::<Result<Vec<_>>>()?;
    for member in &mut members {
        ensure!(member.line()? == "ready", "a child ended instead of being ready");
    }
    Ok(members)
}

fn end(members: Vec<Member>) -> Result<()> {
    for Member { mut child, stdin, .. } in members {
        drop(stdin);
        child.wait().context("waiting for a child")?;
    }
    Ok(())
}
