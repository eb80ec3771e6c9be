//! Bytes to notifications.
//!
//! Integers are in the byte order of the node that made them, which is taken for little-endian.

pub(crate) mod bytes;
mod capture;
mod debug;
mod drop;
mod recorder;
mod trace;
mod trace_sock;
mod verdict;

use thiserror::Error;

use crate::{
    agent::AgentNotify, event::MessageType, gob::GobError, kernel_facts::KernelFacts,
    log_record::LogRecord, notification::Notification, release::Release,
};

/// Which layouts notifications have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layouts {
    /// Those that Cilium 1.5 takes them for.
    V1_5,
    /// Those that Cilium 1.20 takes them for. It takes the drops of releases before 1.13 for newer ones.
    V1_20,
    /// Those of a release.
    Of(Release),
    /// Told from the data where that can be told, else those of the newest release.
    Told,
}

impl Layouts {
    /// The release, if that is known.
    pub(crate) const fn release(self) -> Option<Release> {
        match self {
            Self::V1_5 => Some(Release::OLDEST),
            Self::V1_20 => Some(Release::NEWEST),
            Self::Of(release) => Some(release),
            Self::Told => None,
        }
    }

    /// Whether there may be what our own datapath adds: to Cilium's own programs that is a part of the
    /// packet.
    const fn has_kernel_facts(self) -> bool {
        matches!(self, Self::Told | Self::Of(_))
    }

    fn is_before(self, minor: u8) -> bool {
        self.release().is_some_and(|release| release < Release::one(minor))
    }
}

/// Why something is no notification.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// There is not even a type.
    #[error("there is no data")]
    Empty,
    /// The type is none that is known.
    #[error("type {0} is not known")]
    UnknownType(u8),
    /// It ends too early.
    #[error("unexpected {} data length, expected{} {expected} but got {length}",
        name(*.kind), if *.at_least { " at least" } else { "" })]
    Short {
        /// What it is.
        kind: MessageType,
        /// How many bytes there should be.
        expected: usize,
        /// Whether more are allowed.
        at_least: bool,
        /// How many there are.
        length: usize,
    },
    /// It ends too early for its version.
    #[error("unexpected {} data length (version {version}), expected at least {expected} but got {length}",
        name(*.kind))]
    ShortVersion {
        /// What it is.
        kind: MessageType,
        /// The version of its layout.
        version: u16,
        /// How many bytes there should be.
        expected: usize,
        /// How many there are.
        length: usize,
    },
    /// The version of its layout is not known.
    #[error("Unrecognized {} event (version {version})", .kind.name())]
    Version {
        /// What it is.
        kind: MessageType,
        /// The version of its layout.
        version: u16,
    },
    /// It says that there is what our own datapath knows, but that is not there.
    #[error("what the kernel told with the {} is cut", .kind.name())]
    Extension {
        /// What it is.
        kind: MessageType,
    },
    /// What the agent or a proxy wrote is not understood.
    #[error("{0}")]
    Gob(GobError),
}

/// The name of a kind in Cilium's source.
const fn name(kind: MessageType) -> &'static str {
    match kind {
        MessageType::Drop => "DropNotify",
        MessageType::Debug => "DebugMsg",
        MessageType::Capture => "DebugCapture",
        MessageType::Trace => "TraceNotify",
        MessageType::PolicyVerdict => "PolicyVerdictNotify",
        MessageType::Recorder => "RecorderCapture",
        MessageType::TraceSock => "TraceSockNotify",
        MessageType::L7 => "LogRecordNotify",
        MessageType::Agent => "AgentNotify",
    }
}

/// What our own datapath adds behind a header of the newest version, and where the packet begins.
fn kernel_facts(
    data: &[u8],
    layouts: Layouts,
    kind: MessageType,
    is_newest: bool,
    header: usize,
) -> Result<(Option<KernelFacts<'_>>, usize), DecodeError> {
    if !is_newest || !layouts.has_kernel_facts() || !KernelFacts::are_said(data) {
        return Ok((None, header));
    }
    let (facts, length) =
        KernelFacts::decode(data, header).ok_or(DecodeError::Extension { kind })?;
    Ok((Some(facts), header + length))
}

/// Decodes a notification.
pub fn decode(data: &[u8], layouts: Layouts) -> Result<Notification<'_>, DecodeError> {
    let (&first, rest) = data.split_first().ok_or(DecodeError::Empty)?;
    let kind = MessageType::from_byte(first).ok_or(DecodeError::UnknownType(first))?;
    Ok(match kind {
        MessageType::Drop => Notification::Drop(drop::decode(data, layouts)?),
        MessageType::Debug => Notification::Debug(debug::decode(data)?),
        MessageType::Capture => Notification::Capture(capture::decode(data, layouts)?),
        MessageType::Trace => Notification::Trace(trace::decode(data, layouts)?),
        MessageType::PolicyVerdict => Notification::PolicyVerdict(verdict::decode(data, layouts)?),
        MessageType::Recorder => Notification::Recorder(recorder::decode(data)?),
        MessageType::TraceSock => Notification::TraceSock(trace_sock::decode(data, layouts)?),
        MessageType::L7 => {
            let record = LogRecord::decode(rest).map_err(DecodeError::Gob)?;
            Notification::L7(Box::new(record))
        }
        MessageType::Agent => {
            Notification::Agent(AgentNotify::decode(rest).map_err(DecodeError::Gob)?)
        }
    })
}
