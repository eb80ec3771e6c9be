//! A transaction that reads.

use std::sync::Arc;

use netglass_model::{Host, HostFlow, HostId, Listener, NetworkNamespace, Process, Translation};
use rusqlite::Transaction;

use super::{fault::Fault, read};
use crate::{DatabaseUrl, Error, Family, Selection, Snapshot, Window};

/// What was seen within a window.
pub(super) struct SqliteSnapshot<'d> {
    pub(super) transaction: Transaction<'d>,
    pub(super) window: Window,
    pub(super) url: &'d DatabaseUrl,
}

impl SqliteSnapshot<'_> {
    fn with<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Transaction<'_>, Window) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        work(&self.transaction, self.window).map_err(|fault| fault.into_error(action, self.url))
    }
}

impl Snapshot for SqliteSnapshot<'_> {
    fn hosts(&mut self) -> Result<Vec<Host>, Error> {
        self.with("read hosts from the database", read::hosts)
    }

    fn namespaces(
        &mut self,
        hosts: &[HostId],
        visit: &mut dyn FnMut(&HostId, NetworkNamespace),
    ) -> Result<(), Error> {
        self.with("read namespaces from the database", |transaction, _| {
            read::namespaces(transaction, hosts, visit)
        })
    }

    fn flows(
        &mut self,
        wanted: Option<&Selection>,
        visit: &mut dyn FnMut(&HostId, HostFlow),
    ) -> Result<(), Error> {
        self.with("read flows from the database", |transaction, window| {
            read::flows(transaction, window, wanted, visit)
        })
    }

    fn listeners(
        &mut self,
        wanted: Option<&Selection>,
        visit: &mut dyn FnMut(&HostId, Listener),
    ) -> Result<(), Error> {
        self.with("read listeners from the database", |transaction, window| {
            read::listeners(transaction, window, wanted, visit)
        })
    }

    fn members(
        &mut self,
        families: &[Family],
        visit: &mut dyn FnMut(&HostId, Arc<Process>),
    ) -> Result<(), Error> {
        self.with("read processes from the database", |transaction, window| {
            read::members(transaction, window, families, visit)
        })
    }

    fn translations(&mut self, visit: &mut dyn FnMut(&HostId, Translation)) -> Result<(), Error> {
        self.with("read translations from the database", |transaction, window| {
            read::translations(transaction, window, visit)
        })
    }
}
