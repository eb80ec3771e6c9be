//! Flows: packets put together into conversations.
//!
//! Both directions of a conversation are one flow. The clock is that of the packets: a file is put
//! together as it would have been when it was captured. Nothing here asks the kernel.

mod settings;
mod table;

pub use settings::Settings;
pub use table::{FlowTable, Sighting, Usage};
