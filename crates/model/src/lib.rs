//! The vocabulary that every part of Netglass speaks.
//!
//! Plain data: no input or output, no threads. A record names its connection (network namespace,
//! protocol, endpoints) and, where it can be known, its process, so that any record can be joined
//! to any other of the same connection or process, whatever made it.

mod call;
mod call_sum;
mod degradation;
pub mod digits;
mod edge;
mod endpoint;
mod failures;
mod flow;
mod flow_record;
mod flush;
mod host;
mod ledger;
mod namespace;
mod process;
mod protocol;
mod scope;
mod text;
mod timestamp;
mod translation;

pub use call::{
    Call, CallConnection, CallName, CallPhase, Caller, CommandName, SocketPath, Transfer,
    unmapped_address,
};
pub use call_sum::{CallSum, CallingProcess, Latencies};
pub use degradation::Degradation;
pub use edge::{Edge, Node};
pub use endpoint::{Endpoint, Port};
pub use failures::Failures;
pub use flow::{
    Attribution, Direction, FlowCounters, HostFlow, Listener, Observations, RttSamples,
};
pub use flow_record::{
    ConnectionState, EndReason, FlowRecord, FlowStatus, IpProtocol, Owner, TcpConnection,
};
pub use flush::{Flush, Probe, ProbeId, ProbeStatus, SpoolUsage};
pub use host::{Host, HostAddress, HostId};
pub use ledger::{Lack, Ledger, Skip};
pub use namespace::{NamespaceInode, NetworkNamespace};
pub use process::{Process, ProcessName};
pub use protocol::Protocol;
pub use scope::{AddressScope, is_private};
pub use text::{printable, text_from_bytes};
pub use timestamp::Timestamp;
pub use translation::{Route, Translation};
