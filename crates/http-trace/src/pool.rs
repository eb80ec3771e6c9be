//! Connections that are kept for the next request, and requests that wait for one.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::sync::{Semaphore, oneshot};

use crate::{clock::Clock, connection::Connection, proxy::Proxy, settings::Limits};

/// What connections are for; those for the same can stand in for one another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) secure: bool,
    pub(crate) host: Arc<str>,
    pub(crate) port: Arc<str>,
    pub(crate) proxy: Option<Proxy>,
}

impl Target {
    /// Host and port.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    limits: Limits,
    keep: bool,
    idle_timeout: Option<Duration>,
    clock: Clock,
    /// For the tasks that end connections that were idle for too long.
    this: Weak<Self>,
}

#[derive(Debug, Default)]
struct State {
    hosts: HashMap<Target, Host, RandomState>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Host {
    /// The one that was used last is the last.
    idle: Vec<Connection>,
    /// Takes all requests: one of HTTP/2 or HTTP/3.
    shared: Option<Connection>,
    waiters: VecDeque<oneshot::Sender<Connection>>,
    turns: Option<Arc<Semaphore>>,
}

/// A connection, or the turn to wait for one.
pub(crate) enum Checkout {
    Ready(Connection),
    Wait(oneshot::Receiver<Connection>),
}

impl Pool {
    pub(crate) fn new(
        limits: Limits,
        keep: bool,
        idle_timeout: Option<Duration>,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            state: Mutex::default(),
            limits,
            keep,
            idle_timeout,
            clock,
            this: Weak::clone(this),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that can be used at once; else one waits for what comes back.
    pub(crate) fn check_out(&self, target: &Target) -> Checkout {
        let mut state = self.state();
        let host = state.hosts.entry(target.clone()).or_default();
        host.shared.take_if(|connection| !connection.is_usable());
        if let Some(connection) = &host.shared
            && let Some(connection) = connection.share()
        {
            return Checkout::Ready(connection);
        }
        while let Some(connection) = host.idle.pop() {
            if connection.is_usable() {
                return Checkout::Ready(connection);
            }
        }
        host.waiters.retain(|waiter| !waiter.is_closed());
        let (waiter, wait) = oneshot::channel();
        host.waiters.push_back(waiter);
        Checkout::Wait(wait)
    }

    /// The turns of those who open connections to a host, where they are limited.
    pub(crate) fn turns(&self, target: &Target) -> Option<Arc<Semaphore>> {
        let limit = self.limits.connections_per_host?;
        let mut state = self.state();
        let host = state.hosts.entry(target.clone()).or_default();
        let turns = host.turns.get_or_insert_with(|| Arc::new(Semaphore::new(limit.get())));
        Some(Arc::clone(turns))
    }

    /// A new connection that takes several requests at once, for all who wait. Where there is one already, that is used, and
    /// the new one is closed.
    pub(crate) fn put_shared(&self, target: &Target, connection: Connection) -> Option<Connection> {
        if !self.keep {
            return Some(connection);
        }
        let mut state = self.state();
        if state.closed {
            return Some(connection);
        }
        let host = state.hosts.entry(target.clone()).or_default();
        host.shared.take_if(|connection| !connection.is_usable());
        let connection = host.shared.get_or_insert(connection);
        for waiter in host.waiters.drain(..) {
            if let Some(connection) = connection.share() {
                // Whoever does not wait any more needs none.
                let _ = waiter.send(connection);
            }
        }
        connection.share()
    }

    /// A connection that nobody uses: for who waits, or the next request.
    pub(crate) fn put(&self, target: &Target, mut connection: Connection) {
        if connection.sender.is_shared() || !connection.is_usable() || !self.keep {
            return;
        }
        connection.let_go();
        let mut state = self.state();
        if state.closed {
            return;
        }
        let host = state.hosts.entry(target.clone()).or_default();
        while let Some(waiter) = host.waiters.pop_front() {
            match waiter.send(connection) {
                Ok(()) => return,
                Err(returned) => connection = returned,
            }
        }
        host.idle.retain(Connection::is_usable);
        if host.idle.len() >= self.limits.idle_connections_per_host.get() {
            // The new one goes, as the old ones are as good.
            return;
        }
        connection.shared.became_idle(self.clock.now());
        let number = connection.shared.connection;
        host.idle.push(connection);
        self.remove_surplus(&mut state);
        drop(state);
        if let (Some(timeout), Some(pool)) = (self.idle_timeout, self.this.upgrade()) {
            let target = target.clone();
            let idle_since = self.clock.now();
            tokio::spawn(async move {
                tokio::time::sleep(timeout).await;
                pool.state().hosts.entry(target).or_default().idle.retain(|connection| {
                    connection.shared.connection != number
                        || connection.shared.idle_since().is_some_and(|since| since > idle_since)
                });
            });
        }
    }

    fn remove_surplus(&self, state: &mut State) {
        let Some(limit) = self.limits.idle_connections.map(NonZeroUsize::get) else { return };
        while state.hosts.values().map(|host| host.idle.len()).sum::<usize>() > limit {
            let oldest = state
                .hosts
                .values_mut()
                .filter(|host| !host.idle.is_empty())
                .min_by_key(|host| host.idle.first().and_then(|idle| idle.shared.idle_since()));
            match oldest {
                Some(host) => drop(host.idle.remove(0)),
                None => return,
            }
        }
    }

    /// Closes connections that nobody uses.
    pub(crate) fn close_idle(&self) {
        let mut state = self.state();
        for host in state.hosts.values_mut() {
            host.idle.clear();
            // Those who use it keep it open.
            host.shared = None;
        }
        state.hosts.retain(|_, host| !host.waiters.is_empty() || host.turns.is_some());
    }

    /// Keeps nothing any more.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.hosts.clear();
    }
}
