//! A server whose listening socket was made by another program, as with systemd's sockets.

use std::{
    env,
    ffi::OsString,
    io,
    net::SocketAddr,
    os::fd::AsFd,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{churn_server, hold, server};

/// Listens, starts another process of the name `comm` that serves there, and holds both.
pub(crate) fn activate(address: SocketAddr, comm: OsString) -> Result<()> {
    let listener = server::listen_on(address)?;
    let program = env::current_exe().context("finding this program")?;
    let mut child = Command::new(program)
        .args(["named", "--comm"])
        .arg(comm)
        .args(["--", "serve-activated"])
        .stdin(Stdio::from(listener.try_clone()?))
        .spawn()
        .context("starting the process that serves")?;
    hold::until_stdin_closes();
    child.kill().context("ending the process that serves")?;
    child.wait().context("waiting for the process that serves")?;
    Ok(())
}

/// Serves with the listening socket that is the standard input.
pub(crate) fn serve() -> Result<()> {
    let listener = io::stdin().as_fd().try_clone_to_owned().context("taking standard input")?;
    hold::ready()?;
    match churn_server::serve(&listener)? {}
}
