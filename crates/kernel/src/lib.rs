//! Everything that Netglass asks the kernel: sockets over netlink and from procfs, the processes
//! that hold them, network namespaces and the kernel programs that see what those do not tell.

mod address;
#[cfg(all(feature = "capture", feature = "ebpf"))]
pub mod aggregate;
#[cfg(feature = "ebpf")]
pub mod calls;
#[cfg(feature = "capture")]
pub mod capture;
mod cgroup_root;
mod collector;
pub mod conntrack;
#[cfg(all(feature = "capture", feature = "ebpf"))]
pub mod datapath;
mod degradations;
pub mod doctor;
mod error;
mod flow_owners;
mod inventory;
mod mapped_file;
mod namespace;
pub mod netlink;
mod owner;
#[cfg(feature = "ebpf")]
mod perf_events;
mod privileges;
pub mod process;
#[cfg(feature = "ebpf")]
mod program;
mod route;
mod scan;
mod scheduling;
mod selection;
pub mod socket;
#[cfg(feature = "ebpf")]
mod stream;

pub use collector::{Collector, Limits};
pub use conntrack::{Happening, Lookups, Tracked, TrackedNews, Translations};
pub use error::Error;
pub use flow_owners::{FlowEnds, FlowOwnerOptions, FlowOwners, PacketSocket};
pub use inventory::{HeldSocket, Inventory, InventoryOptions, SocketHolder};
pub use mapped_file::MappedFile;
pub use owner::OwnerSource;
#[cfg(feature = "ebpf")]
pub use perf_events::{PerfEvent, PerfEvents};
pub use privileges::{Needs, drop_to};
pub use scan::{ScanOptions, Scanner, Sightings, SocketSource};
pub use scheduling::wait_for_turns;
pub use selection::Selection;
#[cfg(feature = "ebpf")]
pub use stream::{Sizes, StreamOptions, Streamer};
