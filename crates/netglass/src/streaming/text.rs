//! Numbers, addresses and names as digits and letters, which is most of what a call costs us.

use std::{fmt, io::Write as _, net::SocketAddr};

use netglass_model::{CommandName, digits::append_integer, text_from_bytes};

/// Writes what knows how to write itself.
pub(super) fn push_display(out: &mut Vec<u8>, value: impl fmt::Display) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value}");
}

/// Writes `127.0.0.1:80` or `[::1]:80`.
pub(super) fn push_endpoint(out: &mut Vec<u8>, endpoint: SocketAddr) {
    let SocketAddr::V4(endpoint) = endpoint else {
        return push_display(out, endpoint);
    };
    for (index, octet) in endpoint.ip().octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        append_integer(octet, out);
    }
    out.push(b':');
    append_integer(endpoint.port(), out);
}

/// Whether a name needs no escaping anywhere.
fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|&byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b','))
}

/// A name that needs no escaping anywhere, or else what it is as text.
pub(super) fn plain_or_text(name: &CommandName) -> Result<&[u8], String> {
    let bytes = name.as_bytes();
    if is_plain(bytes) { Ok(bytes) } else { Err(text_from_bytes(bytes)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_endpoint_is_written_as_the_library_does(address: std::net::IpAddr, port: u16) {
            let endpoint = SocketAddr::new(address, port);
            let mut out = Vec::new();
            push_endpoint(&mut out, endpoint);
            prop_assert_eq!(String::from_utf8(out).unwrap(), endpoint.to_string());
        }

        #[test]
        fn a_plain_name_is_its_own_json(name in any::<[u8; 16]>()) {
            let name = CommandName::new(&name);
            if let Ok(plain) = plain_or_text(&name) {
                let text = std::str::from_utf8(plain).unwrap();
                prop_assert_eq!(serde_json::to_string(text).unwrap(), format!("\"{text}\""));
            }
        }
    }
}
