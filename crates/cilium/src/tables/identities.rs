//! Identities that mean the same everywhere.

/// The name of a reserved identity.
pub(crate) const fn identity(number: u32) -> Option<&'static str> {
    Some(match number {
        0 => "unknown",
        1 => "host",
        2 => "world",
        3 => "unmanaged",
        4 => "health",
        5 => "init",
        6 => "remote-node",
        7 => "kube-apiserver",
        8 => "ingress",
        9 => "world-ipv4",
        10 => "world-ipv6",
        _ => return None,
    })
}
