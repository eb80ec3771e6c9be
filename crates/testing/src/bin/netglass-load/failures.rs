//! Attempts to connect that fail, each for the reason that is asked for.

use std::{net::SocketAddr, thread};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    io::{self, Errno},
    net::{RecvFlags, SocketFlags, SocketType, connect, recv, socket_with, sockopt},
};

use crate::{FailureKind, hold, server::family_of};

/// Milliseconds after which the first look at an unanswered attempt, a second from its start, ends
/// it: by itself the kernel would try for two minutes.
const USER_TIMEOUT: u32 = 500;
/// Some failures take seconds, which many attempts need not take one after the other.
const AT_ONCE: usize = 64;

/// Tries to connect `count` times; it is an error when an attempt ends in another way.
pub(crate) fn attempt(kind: FailureKind, to: SocketAddr, count: usize) -> Result<()> {
    hold::ready()?;
    hold::until_told()?;
    let mut rest = count;
    while rest > 0 {
        let batch = rest.min(AT_ONCE);
        thread::scope(|scope| {
            let attempts: Vec<_> =
                (0..batch).map(|_| scope.spawn(|| attempt_once(kind, to))).collect();
            attempts.into_iter().try_for_each(|attempt| {
                attempt.join().unwrap_or_else(|_| bail!("an attempt panicked"))
            })
        })
        .with_context(|| format!("connecting to {to}"))?;
        rest -= batch;
    }
    hold::done(count)?;
    hold::until_stdin_closes();
    Ok(())
}

fn attempt_once(kind: FailureKind, to: SocketAddr) -> Result<()> {
    let flags = match kind {
        FailureKind::Abandoned => SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        _ => SocketFlags::CLOEXEC,
    };
    let socket = socket_with(family_of(to), SocketType::STREAM, flags, None)?;
    if kind == FailureKind::TimedOut {
        sockopt::set_tcp_user_timeout(&socket, USER_TIMEOUT)?;
    }
    let connected = connect(&socket, &to);
    match kind {
        FailureKind::Refused => expect(connected, Errno::CONNREFUSED),
        FailureKind::TimedOut => expect(connected, Errno::TIMEDOUT),
        FailureKind::Unreachable => expect(connected, Errno::HOSTUNREACH),
        FailureKind::NoRoute => expect(connected, Errno::NETUNREACH),
        FailureKind::Abandoned => expect(connected, Errno::INPROGRESS),
        // The reset may come while connect() is still on its way back.
        FailureKind::Reset if connected.is_err() => expect(connected, Errno::CONNRESET),
        FailureKind::Reset => {
            let mut byte = [0];
            let read = recv(&socket, &mut byte, RecvFlags::empty());
            expect(read.map(drop), Errno::CONNRESET)
        }
    }
}

fn expect(result: io::Result<()>, expected: Errno) -> Result<()> {
    let Err(error) = result else { bail!("it succeeded instead of failing with: {expected}") };
    ensure!(error == expected, "it failed with: {error}; expected was: {expected}");
    Ok(())
}
