//! Everything that Netglass asks the kernel: sockets over netlink and from procfs, the processes
//! that hold them, network namespaces and the kernel programs that see what those do not tell.

mod address;
mod collector;
mod degradations;
mod error;
mod namespace;
pub mod netlink;
mod owner;
pub mod process;
#[cfg(feature = "ebpf")]
mod program;
mod scan;
mod selection;
pub mod socket;

pub use collector::{Collector, Limits};
pub use error::Error;
pub use owner::OwnerSource;
pub use scan::{ScanOptions, Scanner, Sightings, SocketSource};
pub use selection::Selection;
