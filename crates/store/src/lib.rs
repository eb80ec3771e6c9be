//! The dependency database: what every probe saw, by host and time, and the joining of the two
//! ends of a connection into one edge when it is read.

mod database;
mod dependencies;
mod error;
mod selection;
mod sqlite;
mod url;

pub use database::{Access, Claim, Database, Settings, Window, open};
pub use dependencies::{Dependencies, Interest, dependencies};
pub use error::Error;
pub use selection::{Family, Selection, Server, Service};
pub use url::DatabaseUrl;
