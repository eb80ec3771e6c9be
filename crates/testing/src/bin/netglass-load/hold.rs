//! What all loads have in common: many files, what they say, and an end with standard input.

use std::io::{self, BufRead, Read, Write};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Allows as many open files as may be had without asking.
pub(crate) fn raise_file_limit() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("raising the limit of open files")
}

/// Tells that everything is open.
pub(crate) fn ready() -> Result<()> {
    say("ready")
}

/// Tells how many were opened and closed.
pub(crate) fn done(count: usize) -> Result<()> {
    say(&format!("done {count}"))
}

/// Returns when a line comes on standard input.
///
/// An end without a line is an error: who would have sent it has died, and nobody wants the load.
pub(crate) fn until_told() -> Result<()> {
    let mut line = String::new();
    let length = io::stdin().lock().read_line(&mut line).context("reading standard input")?;
    ensure!(length > 0, "standard input was closed before the line to start at");
    Ok(())
}

/// Returns when standard input is closed, also because who held its other end has died.
pub(crate) fn until_stdin_closes() {
    let mut chunk = [0; 64];
    while io::stdin().read(&mut chunk).is_ok_and(|length| length > 0) {}
}

fn say(line: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .with_context(|| format!("writing {line}"))
}
