//! Servers of connections that come and go.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::{
    buffer::spare_capacity,
    event::epoll,
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt},
};

use crate::server;

/// What names the listening socket among the events; file descriptors are smaller.
const LISTENER: u64 = u64::MAX;
/// So many are accepted before those that were accepted earlier are looked at: else a queue that
/// never empties would let them pile up.
const ACCEPTED_IN_A_ROW: usize = 64;
const EVENTS: usize = 1024;

/// Accepts connections, reads each until its peer closes it, sends `answer` bytes, and closes it.
pub(crate) fn churn(address: SocketAddr, processes: u16, answer: usize) -> Result<()> {
    let option = format!("--answer={answer}");
    server::in_processes(address, processes, &["churn-server", &option], move |listener| {
        Server { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, answer }.serve(listener)
    })
}

/// The same with a socket that listens already, without an answer.
pub(crate) fn serve(listener: &OwnedFd) -> Result<Infallible> {
    Server { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, answer: 0 }.serve(listener)
}

/// Resets each connection that it accepts, before any byte.
pub(crate) fn reset(address: SocketAddr) -> Result<()> {
    server::in_processes(address, 1, &[], |listener| {
        loop {
            match accept_with(listener, SocketFlags::CLOEXEC) {
                // The end of a socket that may not linger is a reset.
                Ok(connection) => {
                    sockopt::set_socket_linger(&connection, Some(Duration::ZERO))?;
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Err(error).context("accepting"),
            }
        }
    })
}

struct Server {
    epoll: OwnedFd,
    answer: usize,
}

impl Server {
    fn serve(&self, listener: &OwnedFd) -> Result<Infallible> {
        fcntl_setfl(listener, fcntl_getfl(listener)? | OFlags::NONBLOCK)?;
        let wanted = epoll::EventFlags::IN;
        epoll::add(&self.epoll, listener, epoll::EventData::new_u64(LISTENER), wanted)?;
        let mut open = HashMap::new();
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("waiting for connections"),
            }
            for event in &events {
                let number = event.data.u64();
                if number == LISTENER {
                    self.accept(listener, &mut open)?;
                } else if let Some(connection) = open.get(&number)
                    && self.is_over(connection)?
                {
                    open.remove(&number);
                }
            }
        }
    }

    /// Most connections are over when they are accepted, and cost no more than that.
    fn accept(&self, listener: &OwnedFd, open: &mut HashMap<u64, OwnedFd>) -> Result<()> {
        for _ in 0..ACCEPTED_IN_A_ROW {
            match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(connection) if self.is_over(&connection)? => {}
                Ok(connection) => {
                    let number = u64::try_from(connection.as_raw_fd())?;
                    let data = epoll::EventData::new_u64(number);
                    epoll::add(&self.epoll, &connection, data, epoll::EventFlags::IN)?;
                    open.insert(number, connection);
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => {
                    let count = open.len();
                    return Err(error).with_context(|| format!("accepting beside {count} others"));
                }
            }
        }
        Ok(())
    }

    /// Reads what is there; at its end, sends the answer.
    fn is_over(&self, connection: &OwnedFd) -> Result<bool> {
        let mut chunk = [0; 4096];
        loop {
            match recv(connection, &mut chunk, RecvFlags::empty()) {
                Ok((0, _)) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::CONNRESET) => return Ok(true),
                Err(error) => return Err(error).context("reading"),
            }
        }
        let bytes = vec![b'.'; self.answer];
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match send(connection, rest, SendFlags::NOSIGNAL) {
                Ok(length) => rest = &rest[length..],
                // The peer did not wait for it.
                Err(Errno::PIPE | Errno::CONNRESET) => break,
                Err(error) => return Err(error).context("answering"),
            }
        }
        Ok(true)
    }
}
