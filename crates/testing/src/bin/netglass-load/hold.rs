//! What all loads have in common: many files, one `ready`, and an end with standard input.

use std::io::{self, Read, Write};

use anyhow::{Context, Result};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Allows as many open files as may be had without asking.
pub(crate) fn raise_file_limit() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("raising the limit of open files")
}

/// Tells that everything is open.
pub(crate) fn ready() -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "ready").and_then(|()| stdout.flush()).context("writing ready")
}

/// Returns when standard input is closed, also because who held its other end has died.
pub(crate) fn until_stdin_closes() {
    let mut chunk = [0; 64];
    while io::stdin().read(&mut chunk).is_ok_and(|length| length > 0) {}
}
