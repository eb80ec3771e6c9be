//! What every database backend can do.

use std::{sync::Arc, time::Duration};

use netglass_model::{
    Flush, Host, HostFlow, HostId, Listener, NamespaceInode, NetworkNamespace, ProbeStatus,
    Process, Timestamp, Translation,
};

use crate::{
    DatabaseUrl, Error, Family, Selection, flow_log::FlowBatch, postgres::Postgres, sqlite::Sqlite,
};

/// What a database is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read what is there. A database that is missing, or of an older schema, is an error.
    Read,
    /// To write. A missing database is created, an older schema migrated.
    Write,
}

/// How observations are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The length of a time bucket: observations of one flow within it become one row.
    pub bucket: Duration,
    /// How old observations are of which nothing finer than the hour is kept.
    pub hourly_after: Duration,
    /// How old those are of which nothing finer than the day is kept.
    pub daily_after: Duration,
    /// How long observations are kept, and flow records after they were logged.
    pub retention: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            bucket: Duration::from_secs(60),
            hourly_after: DAY,
            daily_after: 7 * DAY,
            retention: 30 * DAY,
        }
    }
}

/// A span of time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its start.
    pub since: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

/// What a probe sees, and therefore has to be the only one to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The sockets of one network namespace of this host.
    Namespace(NamespaceInode),
    /// The sockets of all its namespaces.
    AllNamespaces,
}

/// A database backend.
///
/// Counts up to `i64::MAX` are kept exactly; larger ones are kept as that.
pub trait Database: Send {
    /// Claims what a probe on `host` sees, until the database is dropped: were two probes to
    /// write the same sockets, each connection would count twice. [`Error::Claimed`] where another
    /// one has claimed any of it.
    fn claim(&mut self, host: &HostId, claim: Claim) -> Result<(), Error>;

    /// Adds what a probe saw: all of it, or, on an error, nothing; and once: a flush that is there
    /// already, since its number is none that follows the last one of its probe, adds nothing.
    /// Observations of the same flow in the same bucket become one, as [`FlowCounters::append`]
    /// says, when the database is maintained at the latest.
    ///
    /// The bucket is that of `last_seen`. The host's addresses count as seen for as long as
    /// anything else that was, or when the flush was made if nothing else was.
    ///
    /// [`FlowCounters::append`]: netglass_model::FlowCounters::append
    fn write(&mut self, flush: &Flush) -> Result<(), Error>;

    /// Adds what a capture on `host` logs: all of the batch, or, on an error, nothing; and once: a
    /// batch that is there already, since its number is none that follows the last one of its run,
    /// adds nothing. This needs no claim.
    fn log_flows(&mut self, host: &HostId, batch: &FlowBatch) -> Result<(), Error>;

    /// Puts together what has arrived of buckets that are over, removes what is kept by hour or by
    /// day alone from now on, as it was written or by hour, what ended before the retention
    /// began, and flow records that were logged before it did. Returns of how many days of flows and listeners
    /// nothing is left.
    ///
    /// This goes in small steps between which others can write; an error leaves the steps before
    /// it done. Nothing is read any more of what remains to be removed.
    fn maintain(&mut self, now: Timestamp) -> Result<u64, Error>;

    /// Removes flow records that were logged before the retention began, as [`Database::maintain`]
    /// does, and leaves alone what probes wrote: who captures need not know how long that is kept.
    fn maintain_flow_log(&mut self, now: Timestamp) -> Result<(), Error>;

    /// Every run of a probe that is known, by host, the newest one first. Those that ended are
    /// forgotten with what they have seen.
    fn probes(&mut self) -> Result<Vec<ProbeStatus>, Error>;

    /// What was seen within `window`, as it is known now, whatever others write meanwhile.
    fn snapshot(&mut self, window: Window) -> Result<Box<dyn Snapshot + '_>, Error>;
}

/// What was seen within a window, as one moment of a database has it.
///
/// Where a call fails, what was visited before that was a part of the answer, and nothing more can
/// be read.
pub trait Snapshot {
    /// Every host whose probe ever reported, with its addresses within the window, in a stable order.
    fn hosts(&mut self) -> Result<Vec<Host>, Error>;

    /// The network namespaces of these hosts, with their last known names, in no order. None of a
    /// host that is not known.
    fn namespaces(
        &mut self,
        hosts: &[HostId],
        visit: &mut dyn FnMut(&HostId, NetworkNamespace),
    ) -> Result<(), Error>;

    /// Every observation of a flow that touches the window, of all or of those that are `wanted` and
    /// of whatever anybody else saw of the same services ([`Service`](crate::Service)), in order of
    /// time for each flow; several of one flow may come put together. What is kept by hour or by
    /// day alone is one observation.
    fn flows(
        &mut self,
        wanted: Option<&Selection>,
        visit: &mut dyn FnMut(&HostId, HostFlow),
    ) -> Result<(), Error>;

    /// Every observation of a listener that touches the window, of those that are `wanted` or of
    /// all; several of one listener may come put together.
    fn listeners(
        &mut self,
        wanted: Option<&Selection>,
        visit: &mut dyn FnMut(&HostId, Listener),
    ) -> Result<(), Error>;

    /// The processes of these families that have a flow or a listener within the window, and what
    /// else the same processes were then: a process that executes another program is of another
    /// family.
    fn members(
        &mut self,
        families: &[Family],
        visit: &mut dyn FnMut(&HostId, Arc<Process>),
    ) -> Result<(), Error>;

    /// Every observation of a translation that touches the window, in order of time for each
    /// translation; several of one may come put together.
    fn translations(&mut self, visit: &mut dyn FnMut(&HostId, Translation)) -> Result<(), Error>;
}

/// Opens the database at `url`.
///
/// For [`Access::Write`] a missing file is made, with the directories that lead to it, all for
/// their owner alone. For [`Access::Read`] nothing is made. A file that is removed or replaced
/// while it is open is noticed with the next call, which opens the path anew.
pub fn open(
    url: &DatabaseUrl,
    access: Access,
    settings: Settings,
) -> Result<Box<dyn Database>, Error> {
    match url {
        DatabaseUrl::Sqlite(path) => Ok(Box::new(Sqlite::open(path, access, settings)?)),
        DatabaseUrl::Postgres(url) => Ok(Box::new(Postgres::open(url, access, settings)?)),
    }
}
