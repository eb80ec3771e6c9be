//! What is asked for: an address, or a connection.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use netglass_cilium::PacketEnds;

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    address: IpAddr,
    port: Option<u16>,
}

/// What is asked for: an address, or both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    first: End,
    second: Option<End>,
}

impl End {
    fn is(&self, end: SocketAddr) -> bool {
        self.address == end.ip().to_canonical() && self.port.is_none_or(|port| port == end.port())
    }
}

impl Target {
    /// Whether a packet with these ends is asked for, in either direction.
    pub(super) fn is(&self, ends: &PacketEnds) -> bool {
        let PacketEnds { source, destination, .. } = *ends;
        match &self.second {
            None => self.first.is(source) || self.first.is(destination),
            Some(second) => {
                self.first.is(source) && second.is(destination)
                    || self.first.is(destination) && second.is(source)
            }
        }
    }
}

impl FromStr for End {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { address: address.to_canonical(), port: None });
        }
        let end: SocketAddr = text.parse().map_err(|_| ())?;
        Ok(Self { address: end.ip().to_canonical(), port: Some(end.port()) })
    }
}

impl FromStr for Target {
    type Err = String;

    /// `10.0.0.1`, `[fd00::1]:443`, `10.0.0.2:40000-10.0.0.1:443`, also with `->` as lines have it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |()| {
            "neither an address like 10.0.0.7, 10.0.0.7:443 or [fd00::7]:443, nor two of them with - \
             between"
                .to_owned()
        };
        let ends = text.split_once("->").or_else(|| text.split_once('-'));
        let (first, second) = ends.map_or((text, None), |(first, second)| (first, Some(second)));
        Ok(Self {
            first: first.parse().map_err(wrong)?,
            second: second.map(|second| second.parse().map_err(wrong)).transpose()?,
        })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        match &self.second {
            Some(second) => write!(f, "-{second}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_end_or_two() {
        let ends = PacketEnds {
            protocol: 6,
            source: "10.0.0.2:40000".parse().unwrap(),
            destination: "10.0.0.1:443".parse().unwrap(),
        };
        let is = |text: &str| text.parse::<Target>().unwrap().is(&ends);
        for of_it in [
            "10.0.0.1",
            "10.0.0.2:40000",
            "10.0.0.1:443",
            "::ffff:10.0.0.1",
            "10.0.0.1:443-10.0.0.2",
            "10.0.0.2:40000 -> 10.0.0.1:443",
        ] {
            assert!(is(of_it), "{of_it}");
            let target: Target = of_it.parse().unwrap();
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        for of_another in ["10.0.0.3", "10.0.0.1:40000", "10.0.0.1:443-10.0.0.1", "[::1]:443"] {
            assert!(!is(of_another), "{of_another}");
        }
        for wrong in ["", "host", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1-", "-10.0.0.1"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
