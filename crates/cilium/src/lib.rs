//! Cilium's notifications: what the eBPF datapath of Cilium and its agent tell `cilium monitor`.
//!
//! An [`Event`] comes from a stream ([`stream`]) or a ring; [`decode`] makes a [`Notification`] of it,
//! whatever release it is of; a [`Filter`] says whether it is wanted; a [`Renderer`] writes it as a line,
//! as Cilium 1.5 or 1.20 does or as we do. Nothing here asks the kernel, and nothing panics on whatever
//! bytes it is given.

mod agent;
mod decode;
mod dissect;
mod event;
mod filter;
mod gob;
mod kernel_facts;
mod log_record;
mod notification;
mod release;
mod render;
pub mod stream;
mod style;
mod tables;
mod text;

pub use agent::AgentNotify;
pub use decode::{DecodeError, Layouts, decode};
pub use event::{Event, LOST, MessageType, SAMPLE};
pub use filter::{AddressPrefix, Criteria, Filter, Protocol};
pub use gob::{GobError, limits};
pub use kernel_facts::{
    KERNEL_FACTS_LENGTH, KernelFacts, KernelNames, PacketProcess, SocketEnd, put_kernel_names,
};
pub use log_record::{Dns, Endpoint, Generic, Headers, Http, Kafka, LogRecord, Url};
pub use notification::{
    Captured, DebugCapture, DebugMessage, DropNotify, Notification, PacketFlags,
    PolicyVerdictNotify, RecorderCapture, TraceNotify, TraceSockNotify,
};
pub use release::Release;
pub use render::{
    InterfaceNames, Level, Options, Outcome, PacketEnds, Renderer, Summarizer, connection_summary,
};
pub use style::{Style, drop_reasons};
