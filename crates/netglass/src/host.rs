//! Which host this is.

use std::fs;

use netglass_model::{HostId, text_from_bytes};

const MACHINE_ID_FILES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// Stands for the machine-id of a host that has none, as in many containers: such hosts are told
/// apart by name only.
pub(crate) const NO_MACHINE_ID: &str = "no-machine-id";

/// This host: machine-id(5) and the node name of uname(2).
pub(crate) fn this_host_id() -> HostId {
    let machine_id = MACHINE_ID_FILES
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| machine_id(&text))
        .unwrap_or_else(|| NO_MACHINE_ID.to_owned());
    let hostname = text_from_bytes(rustix::system::uname().nodename().to_bytes());
    HostId { machine_id, hostname }
}

/// Since when this host runs (random(4)); empty where that cannot be read.
pub(crate) fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// The id in the file's text, unless it is empty or `uninitialized`.
fn machine_id(text: &str) -> Option<String> {
    let text = text.trim();
    let valid = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_id_is_32_hexadecimal_digits() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(machine_id(&format!("{id}\n")).as_deref(), Some(id));
        assert_eq!(machine_id("uninitialized\n"), None);
        assert_eq!(machine_id(""), None);
    }

    #[test]
    fn this_host_has_a_name() {
        assert!(!this_host_id().hostname.is_empty());
    }
}
