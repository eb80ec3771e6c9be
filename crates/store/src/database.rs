//! What every database backend can do.

use std::time::Duration;

use netglass_model::{Host, HostFlow, HostId, Listener, NetworkNamespace, Observations, Timestamp};

use crate::{DatabaseUrl, Error};

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
    /// How long observations are kept.
    pub retention: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { bucket: Duration::from_secs(60), retention: Duration::from_secs(7 * 24 * 60 * 60) }
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

/// A database backend. Errors leave the database as it was before the call.
pub trait Database: Send {
    /// Adds what a probe saw. Observations of the same flow in the same bucket become one.
    fn write(&mut self, observations: &Observations) -> Result<(), Error>;

    /// Removes what is older than the retention, and says how many observations that were.
    fn prune(&mut self, now: Timestamp) -> Result<u64, Error>;

    /// Every host that ever reported, with its addresses within the window.
    fn hosts(&mut self, window: Window) -> Result<Vec<Host>, Error>;

    /// The network namespaces of a host, with their last known names.
    fn namespaces(&mut self, host: &HostId) -> Result<Vec<NetworkNamespace>, Error>;

    /// Every observation of a flow that touches the window, in order of time for each flow.
    fn flows(
        &mut self,
        window: Window,
        visit: &mut dyn FnMut(&HostId, HostFlow),
    ) -> Result<(), Error>;

    /// Every observation of a listener that touches the window.
    fn listeners(
        &mut self,
        window: Window,
        visit: &mut dyn FnMut(&HostId, Listener),
    ) -> Result<(), Error>;
}

/// Opens the database at `url`.
pub fn open(
    _url: &DatabaseUrl,
    _access: Access,
    _settings: Settings,
) -> Result<Box<dyn Database>, Error> {
    Err(Error::Skeleton)
}
