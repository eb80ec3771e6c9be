//! The names of this host's interfaces.

use std::{
    fs,
    time::{Duration, Instant},
};

use netglass_cilium::InterfaceNames;
use netglass_model::text_from_bytes;

/// How often they are read.
const OFTEN: Duration = Duration::from_secs(15);

/// The names of this host's interfaces, read again after a while.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    next: Option<Instant>,
}

impl Interfaces {
    /// The names, if it is time to read them.
    pub(super) fn read(&mut self, now: Instant) -> Option<InterfaceNames> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + OFTEN);
        let entries = fs::read_dir("/sys/class/net").ok()?;
        let names = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let index = fs::read_to_string(entry.path().join("ifindex")).ok()?;
            let name = text_from_bytes(entry.file_name().as_encoded_bytes());
            Some((index.trim().parse().ok()?, name))
        });
        Some(names.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_name() {
        let now = Instant::now();
        let mut interfaces = Interfaces::default();
        let names = interfaces.read(now).unwrap();
        assert_eq!(names.get(&1).map(String::as_str), Some("lo"));
        assert!(interfaces.read(now).is_none());
        assert!(interfaces.read(now + OFTEN).is_some());
    }
}
