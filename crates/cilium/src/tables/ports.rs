//! Names of ports.

use std::sync::LazyLock;

/// Whose table of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registry {
    /// That of Cilium 1.5.
    V1_5,
    /// That of Cilium 1.20.
    V1_20,
}

/// Protocols that have ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortProtocol {
    Tcp,
    Udp,
    Sctp,
}

const NAMES: &str = include_str!("ports.tsv");

/// The names of one protocol's ports. A port has a place in `places`, which is one above that of its
/// name in `names`.
struct Table {
    places: Box<[u16]>,
    names: Vec<&'static str>,
}

static TABLES: LazyLock<[[Table; 3]; 2]> =
    LazyLock::new(|| [Registry::V1_5, Registry::V1_20].map(read));

/// The name of a port, if it has one.
pub(crate) fn port_name(
    registry: Registry,
    protocol: PortProtocol,
    port: u16,
) -> Option<&'static str> {
    let of_registry = match registry {
        Registry::V1_5 => &TABLES[0],
        Registry::V1_20 => &TABLES[1],
    };
    let table = match protocol {
        PortProtocol::Tcp => &of_registry[0],
        PortProtocol::Udp => &of_registry[1],
        PortProtocol::Sctp => &of_registry[2],
    };
    let place = table.places.get(usize::from(port))?;
    table.names.get(usize::from(place.checked_sub(1)?)).copied()
}

fn read(registry: Registry) -> [Table; 3] {
    ["tcp", "udp", "sctp"].map(|protocol| {
        let mut table = Table { places: vec![0; 1 << 16].into(), names: Vec::new() };
        for line in NAMES.lines() {
            let mut fields = line.split('\t');
            if fields.next() != Some(protocol) {
                continue;
            }
            let port = fields.next().and_then(|port| port.parse().ok());
            let newer = fields.next().unwrap_or_default();
            let name = match registry {
                Registry::V1_5 => fields.next().unwrap_or(newer),
                Registry::V1_20 => newer,
            };
            let place = port.and_then(|port: usize| table.places.get_mut(port));
            if let Some(place) = place.filter(|_| !name.is_empty()) {
                table.names.push(name);
                *place = u16::try_from(table.names.len()).unwrap_or(0);
            }
        }
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_release() {
        let tcp = |registry, port| port_name(registry, PortProtocol::Tcp, port);
        assert_eq!(tcp(Registry::V1_5, 80), Some("http"));
        assert_eq!(tcp(Registry::V1_20, 80), Some("http"));
        assert_eq!(tcp(Registry::V1_5, 2114), Some("newheights"));
        assert_eq!(tcp(Registry::V1_20, 2114), Some("ariascribe"));
        assert_eq!(tcp(Registry::V1_5, 4317), None);
        assert_eq!(tcp(Registry::V1_20, 4317), Some("opentelemetry"));
        assert_eq!(tcp(Registry::V1_5, 2200), Some("ici"));
        assert_eq!(tcp(Registry::V1_20, 2200), None);
        assert_eq!(tcp(Registry::V1_20, 0), None);
        assert_eq!(port_name(Registry::V1_20, PortProtocol::Sctp, 9), Some("discard"));
        assert_eq!(port_name(Registry::V1_20, PortProtocol::Udp, 4789), Some("vxlan"));
    }
}
