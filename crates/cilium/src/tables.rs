//! What numbers mean, by release where they changed.

pub(crate) mod agent_events;
pub(crate) mod dns_types;
pub(crate) mod drop_reasons;
pub(crate) mod errors;
pub(crate) mod ethernet_types;
pub(crate) mod icmpv4;
pub(crate) mod icmpv6;
pub(crate) mod identities;
pub(crate) mod ip_protocols;
pub(crate) mod ports;
pub(crate) mod source_files;
