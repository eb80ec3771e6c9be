//! Clients whose connections come and go.

use std::{
    collections::VecDeque,
    ffi::OsString,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    io::Errno,
    net::{RecvFlags, Shutdown, recv, shutdown},
};

use crate::{Churn, clients, family, hold};

/// Most connections that one process has open, so that many short lives take little time.
const OPEN_AT_ONCE: usize = 256;

/// Opens and closes connections, one after the other unless they are to live for a while.
pub(crate) fn churn(churn: &Churn) -> Result<()> {
    clients::check(&churn.clients)?;
    if churn.clients.processes > 1 {
        let arguments = |process| arguments(churn, process);
        return family::run(
            (0..churn.clients.processes).map(arguments).collect::<Result<Vec<_>>>()?,
        );
    }
    hold::ready()?;
    hold::until_told()?;
    open_and_close(churn)?;
    hold::done(churn.clients.connections)?;
    hold::until_stdin_closes();
    Ok(())
}

fn arguments(churn: &Churn, process: u16) -> Result<Vec<OsString>> {
    let mut arguments = clients::arguments("churn-clients", &churn.clients, process)?;
    arguments.push(format!("--life={}", churn.life).into());
    if churn.await_end {
        arguments.push("--await-end".into());
    }
    Ok(arguments)
}

fn open_and_close(churn: &Churn) -> Result<()> {
    let life = Duration::from_millis(churn.life);
    let mut open: VecDeque<(Instant, OwnedFd)> = VecDeque::new();
    for index in 0..churn.clients.connections {
        let connection = clients::open(&churn.clients, index)?;
        open.push_back((Instant::now() + life, connection));
        while let Some((end, _)) = open.front()
            && (open.len() == OPEN_AT_ONCE || *end <= Instant::now())
        {
            close_oldest(churn, &mut open)?;
        }
    }
    while !open.is_empty() {
        close_oldest(churn, &mut open)?;
    }
    Ok(())
}

/// Closes the oldest connection, once it has lived for long enough.
fn close_oldest(churn: &Churn, open: &mut VecDeque<(Instant, OwnedFd)>) -> Result<()> {
    let Some((end, connection)) = open.pop_front() else { return Ok(()) };
    thread::sleep(end.saturating_duration_since(Instant::now()));
    if churn.await_end {
        shutdown(&connection, Shutdown::Write).context("closing one direction")?;
        let mut chunk = [0; 4096];
        loop {
            match recv(&connection, &mut chunk, RecvFlags::empty()) {
                Ok((0, _)) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("waiting for the server to close"),
            }
        }
    }
    Ok(())
}
