//! Who depends on whom, from what both ends of each connection saw.

use netglass_model::{Edge, Host, Node, Protocol};

use crate::{Database, Error, Window};

/// Who depended on whom within a window of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// The hosts that reported, sorted by name and machine-id.
    pub hosts: Vec<Host>,
    /// Each dependency once, in a stable order.
    pub edges: Vec<Edge>,
    /// The processes that waited for peers, with the endpoints they listened on, whether or not
    /// anyone came; in a stable order.
    pub listeners: Vec<(Protocol, Node)>,
}

/// Reads and joins what was seen within `window`.
pub fn dependencies(_database: &mut dyn Database, _window: Window) -> Result<Dependencies, Error> {
    Err(Error::Skeleton)
}
