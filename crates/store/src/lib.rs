//! The dependency database: what every probe saw, by host and time, and the joining of the two
//! ends of a connection into one edge when it is read. And flow logs: [`flow_log`].

mod authorities;
mod columns;
mod database;
mod delivery;
mod dependencies;
mod error;
pub mod flow_log;
mod maintenance;
mod postgres;
mod resolution;
mod selection;
mod spool;
mod sqlite;
mod url;

pub use database::{Access, Claim, Database, Settings, Snapshot, Window, open};
pub use delivery::{Delivery, Interrupt, Open};
pub use dependencies::{Dependencies, Interest, dependencies, dependencies_around};
pub use error::Error;
pub use maintenance::Maintenance;
pub use selection::{Family, Place, Selection, Server, Service};
pub use spool::{Loss, Losses, Record, Spool, SpoolError};
pub use url::{DatabaseUrl, Password, PostgresUrl, TlsMode};
