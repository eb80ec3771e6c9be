//! The verbs of the command line: one file each, with its arguments and what it does.

pub(crate) mod capture;
pub(crate) mod completions;
pub(crate) mod create_scheme;
pub(crate) mod diff;
pub(crate) mod doctor;
#[cfg(all(feature = "capture", feature = "ebpf"))]
pub(crate) mod explain;
pub(crate) mod look;
pub(crate) mod man;
pub(crate) mod monitor;
pub(crate) mod probe;
pub(crate) mod status;
#[cfg(feature = "ebpf")]
pub(crate) mod stream;
#[cfg(feature = "trace")]
pub(crate) mod trace;
pub(crate) mod up;
