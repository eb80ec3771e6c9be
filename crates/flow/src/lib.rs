//! Flows: packets put together into conversations.
//!
//! Both directions of a conversation are one flow. The clock is that of the packets: a file is put
//! together as it would have been when it was captured. Nothing here asks the kernel.

mod flow;
mod flows;
mod fragments;
mod icmp;
mod index;
mod key;
mod keying;
mod lingering;
mod record;
mod settings;
mod table;
mod tcp;
mod wheel;

pub use flows::FlowRoom;
pub use keying::{KeyedPacket, KeyedPackets, Keying, Sighting};
pub use record::{EndedFlow, Recorder};
pub use settings::Settings;
pub use table::{FlowTable, Sums, Usage};
