//! Everything that Netglass asks the kernel: sockets over netlink and from procfs, the processes
//! that hold them, network namespaces and the kernel programs that see what those do not tell.

mod address;
mod error;
mod namespace;
pub mod netlink;
mod owner;
mod privileges;
pub mod process;
#[cfg(feature = "ebpf")]
mod program;
mod scan;
pub mod socket;

pub use error::Error;
pub use owner::OwnerSource;
pub use privileges::{Needs, drop_to};
pub use scan::{Collector, Limits, ScanOptions, Scanner, Sightings, SocketSource};
