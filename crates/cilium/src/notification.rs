//! Notifications: one struct for each kind, whatever release it is of. What a release does not tell is
//! `None`.

use crate::{agent::AgentNotify, kernel_facts::KernelFacts, log_record::LogRecord};

/// A decoded notification.
#[derive(Debug, Clone, PartialEq)]
pub enum Notification<'a> {
    /// A packet was dropped.
    Drop(DropNotify<'a>),
    /// The datapath tells what it does.
    Debug(DebugMessage),
    /// A packet, for debugging.
    Capture(DebugCapture<'a>),
    /// A packet was seen.
    Trace(TraceNotify<'a>),
    /// What a policy says of a packet.
    PolicyVerdict(PolicyVerdictNotify<'a>),
    /// A packet for the recorder.
    Recorder(RecorderCapture<'a>),
    /// A socket's address was translated.
    TraceSock(TraceSockNotify),
    /// A proxy saw a request or an answer.
    L7(Box<LogRecord>),
    /// The agent tells of itself.
    Agent(AgentNotify),
}

/// What the flags of a packet say of how it begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of a header")]
pub struct PacketFlags {
    /// It is IPv6.
    pub ipv6: bool,
    /// It was seen on a device without link layer, and begins with IP.
    pub layer3_device: bool,
    /// It is a tunnel of VXLAN.
    pub vxlan: bool,
    /// It is a tunnel of Geneve.
    pub geneve: bool,
}

/// A packet as far as it was captured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Captured<'a> {
    /// How many bytes it had.
    pub original_length: u32,
    /// How many of them the datapath says to have captured.
    pub captured_length: u32,
    /// Everything behind the header, which may be more: the kernel rounds the length of a sample.
    pub rest: &'a [u8],
    /// How it begins.
    pub flags: PacketFlags,
}

impl<'a> Captured<'a> {
    /// What is the packet's own.
    #[must_use]
    pub fn packet(&self) -> &'a [u8] {
        let length = usize::try_from(self.captured_length).unwrap_or(usize::MAX);
        self.rest.get(..length).unwrap_or(self.rest)
    }
}

/// A packet was dropped (`DropNotify`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DropNotify<'a> {
    /// The drop reason.
    pub reason: u8,
    /// The endpoint whose program tells; 0 if that is not known.
    pub source: u16,
    /// The hash of the flow.
    pub hash: u32,
    /// The version of its layout.
    pub version: u16,
    /// The identity of who sent the packet.
    pub source_identity: u32,
    /// The identity of whom it was for.
    pub destination_identity: u32,
    /// The endpoint that it was for; 0 if there is none.
    pub destination: u32,
    /// The line of the datapath's source; since 1.12.
    pub line: Option<u16>,
    /// The file of the datapath's source; since 1.12.
    pub file: Option<u8>,
    /// What a helper returned; since 1.12.
    pub extended_error: Option<i8>,
    /// The interface; since 1.13.
    pub interface: Option<u32>,
    /// What the packet is followed by through the datapath; since 1.19, 0 if there is none.
    pub trace_id: Option<u64>,
    /// What our own datapath tells besides; the reason is there.
    pub kernel: Option<KernelFacts<'a>>,
    /// The packet.
    pub captured: Captured<'a>,
}

/// The datapath tells what it does (`DebugMsg`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DebugMessage {
    /// What it is about.
    pub sub_type: u8,
    /// The endpoint whose program tells; 0 if that is not known.
    pub source: u16,
    /// The hash of the flow.
    pub hash: u32,
    /// What they mean depends on what it is about.
    pub arguments: [u32; 3],
}

/// A packet, for debugging (`DebugCapture`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DebugCapture<'a> {
    /// Where it was captured.
    pub sub_type: u8,
    /// The endpoint whose program tells; 0 if that is not known.
    pub source: u16,
    /// The hash of the flow.
    pub hash: u32,
    /// The first argument: an interface or a port.
    pub argument: u32,
    /// The packet.
    pub captured: Captured<'a>,
}

/// A packet was seen (`TraceNotify`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceNotify<'a> {
    /// Where it was seen.
    pub observation_point: u8,
    /// The endpoint whose program tells; 0 if that is not known.
    pub source: u16,
    /// The hash of the flow.
    pub hash: u32,
    /// The version of its layout.
    pub version: u16,
    /// The identity of who sent the packet.
    pub source_identity: u32,
    /// The identity of whom it is for.
    pub destination_identity: u32,
    /// The endpoint that it is for, or the proxy's port; 0 if there is none.
    pub destination: u16,
    /// The state of the connection; bit 7 says that the packet is encrypted.
    pub reason: u8,
    /// The interface; 0 if that is not known.
    pub interface: u32,
    /// The source address before it was translated back; since 1.7. All zero if it was not.
    pub original_address: Option<[u8; 16]>,
    /// What the packet is followed by through the datapath; since 1.19, 0 if there is none.
    pub trace_id: Option<u64>,
    /// What our own datapath tells besides.
    pub kernel: Option<KernelFacts<'a>>,
    /// The packet.
    pub captured: Captured<'a>,
}

/// What a policy says of a packet (`PolicyVerdictNotify`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PolicyVerdictNotify<'a> {
    /// The endpoint whose program tells.
    pub source: u16,
    /// The hash of the flow.
    pub hash: u32,
    /// The version of its layout.
    pub version: u16,
    /// The identity of the other end.
    pub remote_identity: u32,
    /// Below 0 the negative drop reason, 0 allowed, above 0 the proxy's port.
    pub verdict: i32,
    /// The port that it is for.
    pub destination_port: u16,
    /// The IP protocol.
    pub protocol: u8,
    /// Direction, how it matched, whether it is only audited.
    pub verdict_flags: u8,
    /// How it is authenticated; since 1.14.
    pub authentication: Option<u8>,
    /// What the policy says of itself; since 1.19.
    pub cookie: Option<u32>,
    /// The packet.
    pub captured: Captured<'a>,
}

impl PolicyVerdictNotify<'_> {
    /// Whether the packet comes in.
    #[must_use]
    pub const fn is_ingress(&self) -> bool {
        self.verdict_flags & 0x03 == 1
    }

    /// Whether the policy only would have said so.
    #[must_use]
    pub const fn is_audited(&self) -> bool {
        self.verdict_flags & 0x40 != 0
    }

    /// By what it matched.
    #[must_use]
    pub const fn match_type(&self) -> u8 {
        self.verdict_flags >> 3 & 0x07
    }
}

/// A packet for the recorder (`RecorderCapture`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecorderCapture<'a> {
    /// 1 if it came in.
    pub sub_type: u8,
    /// The rule that asked for it.
    pub rule: u16,
    /// Nanoseconds since the start of the system.
    pub time: u64,
    /// The packet.
    pub captured: Captured<'a>,
}

/// A socket's address was translated (`TraceSockNotify`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceSockNotify {
    /// Before or after which translation.
    pub translation_point: u8,
    /// 1 TCP, 2 UDP.
    pub protocol: u8,
    /// Whether the address is one of IPv6.
    pub ipv6: bool,
    /// The port.
    pub port: u16,
    /// The socket.
    pub socket_cookie: u64,
    /// The cgroup.
    pub cgroup: u64,
    /// The address; one of IPv4 is in the first four bytes.
    pub address: [u8; 16],
}
