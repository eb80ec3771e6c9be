//! The records of one kind, the newest of them, by id.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    connection_log::ConnectionLog,
    record::{
        Dial, DnsExchange, HttpRequest, Id, ProxyConnect, TcpConnection, TlsTunnel, UdpConnection,
    },
};

use super::{DnsMessages, Progress};

/// Among how many of the oldest one is looked for that is over, when one has to make way.
const LOOKED_AT: usize = 64;

/// How many of the newest are looked at before all are.
const LAST: usize = 4;

/// Something that ends.
pub(super) trait Live<S> {
    /// Whether nothing of it changes any more.
    fn is_over(&self, state: &S) -> bool;
}

impl Live<()> for Dial {
    fn is_over(&self, (): &()) -> bool {
        self.ended_at.is_some()
    }
}

impl Live<Arc<ConnectionLog>> for TcpConnection {
    fn is_over(&self, log: &Arc<ConnectionLog>) -> bool {
        (self.ended_at.is_some() && !self.connected) || log.closed_at().is_some()
    }
}

impl Live<Arc<ConnectionLog>> for UdpConnection {
    fn is_over(&self, log: &Arc<ConnectionLog>) -> bool {
        log.closed_at().is_some()
    }
}

impl Live<Arc<DnsMessages>> for DnsExchange {
    fn is_over(&self, _: &Arc<DnsMessages>) -> bool {
        self.ended_at.is_some()
    }
}

impl Live<()> for TlsTunnel {
    fn is_over(&self, (): &()) -> bool {
        self.ended_at.is_some()
    }
}

impl Live<()> for ProxyConnect {
    fn is_over(&self, (): &()) -> bool {
        self.ended_at.is_some()
    }
}

impl Live<Arc<Progress>> for HttpRequest {
    fn is_over(&self, _: &Arc<Progress>) -> bool {
        self.phases.ended_at.is_some()
    }
}

#[derive(Debug)]
pub(super) struct Table<T, S> {
    /// In the order of their ids.
    rows: VecDeque<(Id, Arc<T>, S)>,
    limit: usize,
    dropped: u64,
}

impl<T: Live<S> + Clone, S: Clone> Table<T, S> {
    pub(super) fn new(limit: usize) -> Self {
        Self { rows: VecDeque::new(), limit, dropped: 0 }
    }

    pub(super) fn add(&mut self, id: Id, record: T, state: S) {
        if self.limit == 0 {
            return;
        }
        if self.rows.len() >= self.limit {
            let over = self.rows.iter().take(LOOKED_AT);
            let oldest = { over }.position(|(_, record, state)| record.is_over(state)).unwrap_or(0);
            self.rows.remove(oldest);
            self.dropped += 1;
        }
        self.rows.push_back((id, Arc::new(record), state));
    }

    /// Where the record of an id is. What is changed is mostly among the last.
    fn index(&self, id: Id) -> Option<usize> {
        let last = self.rows.len().saturating_sub(LAST);
        let near = self.rows.range(last..).position(|(other, ..)| *other == id);
        match near {
            Some(index) => Some(last + index),
            None => self.rows.binary_search_by_key(&id, |(id, ..)| *id).ok(),
        }
    }

    pub(super) fn change(&mut self, id: Id, change: impl FnOnce(&mut T)) {
        let Some(index) = self.index(id) else { return };
        if let Some((_, record, _)) = self.rows.get_mut(index) {
            change(Arc::make_mut(record));
        }
    }

    pub(super) fn get(&self, id: Id) -> Option<&T> {
        let index = self.index(id)?;
        self.rows.get(index).map(|(_, record, _)| &**record)
    }

    pub(super) fn for_each(&mut self, mut change: impl FnMut(&mut T, &S)) {
        for (_, record, state) in &mut self.rows {
            change(Arc::make_mut(record), state);
        }
    }

    #[cfg(feature = "kernel")]
    pub(super) fn rows(&self) -> impl Iterator<Item = (&T, &S)> {
        self.rows.iter().map(|(_, record, state)| (&**record, state))
    }

    pub(super) fn share(&self) -> Vec<(Arc<T>, S)> {
        self.rows.iter().map(|(_, record, state)| (Arc::clone(record), state.clone())).collect()
    }

    pub(super) fn over(&self) -> usize {
        self.rows.iter().filter(|(_, record, state)| record.is_over(state)).count()
    }

    /// Takes those that are over out of it, or all of them.
    pub(super) fn take(&mut self, all: bool) -> Vec<(Arc<T>, S)> {
        let (taken, kept) = std::mem::take(&mut self.rows)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(_, record, state)| all || record.is_over(state));
        self.rows = kept;
        taken.into_iter().map(|(_, record, state)| (record, state)).collect()
    }

    pub(super) fn forget_over(&mut self) {
        self.rows.retain(|(_, record, state)| !record.is_over(state));
        self.dropped = 0;
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
