//! Addresses with ports.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

/// The port of an endpoint of a flow.
///
/// A flow stands for any number of connections; where their ephemeral ports differ, they collapse
/// into [`Port::Many`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Port {
    /// One port number, of a service.
    Number(u16),
    /// Any number of ephemeral ports.
    Many,
}

impl Port {
    /// The port number, unless it stands for many.
    #[must_use]
    pub const fn number(self) -> Option<u16> {
        match self {
            Self::Number(number) => Some(number),
            Self::Many => None,
        }
    }
}

impl From<Option<u16>> for Port {
    fn from(number: Option<u16>) -> Self {
        number.map_or(Self::Many, Self::Number)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Many => f.write_str("many"),
        }
    }
}

/// One end of a flow. IPv4-mapped IPv6 addresses are held as IPv4 (RFC 4291, section 2.5.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The address, in its canonical family.
    pub address: IpAddr,
    /// The port, or many.
    pub port: Port,
}

impl Endpoint {
    /// An endpoint of one port, or of many where `port` is [`Port::Many`].
    #[must_use]
    pub fn new(address: IpAddr, port: Port) -> Self {
        Self { address: address.to_canonical(), port }
    }

    /// An endpoint with one port number.
    #[must_use]
    pub fn numbered(address: IpAddr, port: u16) -> Self {
        Self::new(address, Port::Number(port))
    }

    /// An endpoint that stands for any number of ephemeral ports of `address`.
    #[must_use]
    pub fn many(address: IpAddr) -> Self {
        Self::new(address, Port::Many)
    }
}

/// `10.0.0.1:80`, `10.0.0.1:many`, `[fe80::1]:80`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}:{}", self.port),
            IpAddr::V6(address) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_prints_its_address_and_port() {
        let show = |address: &str, port| Endpoint::new(address.parse().unwrap(), port).to_string();
        assert_eq!(show("10.0.0.1", Port::Number(80)), "10.0.0.1:80");
        assert_eq!(show("10.0.0.1", Port::Many), "10.0.0.1:many");
        assert_eq!(show("fe80::1", Port::Number(80)), "[fe80::1]:80");
        assert_eq!(show("::ffff:10.0.0.1", Port::Number(80)), "10.0.0.1:80");
    }
}
