//! The kernel's drop reasons (`include/net/dropreason-core.h`, `dropreason.h`), named by its types.

use std::{collections::HashMap, fs, path::Path};

use super::btf::{Btf, Value};
use crate::{Error, program::TYPES};

/// Where the kernel and its modules tell their types.
const DIRECTORY: &str = "/sys/kernel/btf";
const CORE: &str = "skb_drop_reason";
const SUBSYSTEMS: &str = "skb_drop_reason_subsys";
const CORE_PREFIX: &str = "SKB_DROP_REASON_";
const SUBSYSTEM_PREFIX: &str = "SKB_DROP_REASON_SUBSYS_";
/// In the upper half of a reason is its subsystem.
const SUBSYSTEM_SHIFT: u32 = 16;
/// Those that stand for no drop.
const BENIGN: [&str; 2] = ["SKB_NOT_DROPPED_YET", "SKB_CONSUMED"];
/// What only marks an end, or bits.
const NO_REASONS: [&str; 2] = ["SKB_DROP_REASON_MAX", "SKB_DROP_REASON_SUBSYS_MASK"];

/// The names of drop reasons.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    names: HashMap<u32, String>,
    benign: u32,
}

impl Reasons {
    /// Reads those of the running kernel.
    pub(super) fn read() -> Result<Self, Error> {
        let file = fs::read(TYPES).map_err(|source| Error::read(TYPES, source))?;
        let malformed = || Error::Format { path: TYPES.into(), detail: "no BTF".to_owned() };
        let kernel = Btf::new(&file, None).ok_or_else(malformed)?;
        let core = kernel.enumerations(|name| name == CORE);
        if core.is_empty() {
            return Err(Error::Format {
                path: TYPES.into(),
                detail: "this kernel tells no reasons for drops, as Linux does since 5.17"
                    .to_owned(),
            });
        }
        let subsystems = kernel.enumerations(|name| name == SUBSYSTEMS);
        let mut others = kernel.enumerations(is_of_subsystem);
        // A module that goes, or that has nothing, has no reasons.
        for entry in fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
            if entry.path() != Path::new(TYPES)
                && let Ok(file) = fs::read(entry.path())
                && let Some(module) = Btf::new(&file, Some(&kernel))
            {
                others.extend(module.enumerations(is_of_subsystem));
            }
        }
        Ok(Self::of(core, &subsystems, others))
    }

    fn of(core: Vec<Value>, subsystems: &[Value], others: Vec<Value>) -> Self {
        let is_benign = |it: &&Value| BENIGN.contains(&it.name.as_str());
        let benign = core.iter().filter(is_benign).map(|it| it.value).max().unwrap_or_default();
        let mut names = HashMap::new();
        for Value { name, value } in core {
            if !NO_REASONS.contains(&name.as_str()) {
                let short = name.strip_prefix(CORE_PREFIX).unwrap_or(&name).to_owned();
                names.insert(value, short);
            }
        }
        for Value { name, value } in others {
            if value >> SUBSYSTEM_SHIFT > 0 {
                names.insert(value, name);
            }
        }
        // What is of a subsystem that tells no names of its own is at least known to be of it.
        for Value { name, value } in subsystems {
            if let Some(name) = name.strip_prefix(SUBSYSTEM_PREFIX)
                && *value > 0
                && let Some(value) = value.checked_shl(SUBSYSTEM_SHIFT)
            {
                names.entry(value).or_insert_with(|| name.to_owned());
            }
        }
        Self { names, benign }
    }

    /// The highest reason that stands for no drop.
    pub(super) fn benign(&self) -> u32 {
        self.benign
    }

    pub(super) fn name(&self, reason: u32) -> Option<&str> {
        let of_subsystem = || self.names.get(&(reason >> SUBSYSTEM_SHIFT << SUBSYSTEM_SHIFT));
        let is_core = reason >> SUBSYSTEM_SHIFT == 0;
        let name = self.names.get(&reason).or_else(|| of_subsystem().filter(|_| !is_core));
        name.map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.values().any(|own| own == name)
    }
}

/// Whether an enumeration may be of a subsystem's reasons: `ovs_drop_reason`, `mac80211_drop_reason`.
fn is_of_subsystem(name: &str) -> bool {
    name.contains("drop_reason") && name != CORE && name != SUBSYSTEMS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, value: u32) -> Value {
        Value { name: name.to_owned(), value }
    }

    #[test]
    fn reasons_are_those_of_the_core_and_of_subsystems() {
        let core = vec![
            value("SKB_NOT_DROPPED_YET", 0),
            value("SKB_CONSUMED", 1),
            value("SKB_DROP_REASON_NO_SOCKET", 3),
            value("SKB_DROP_REASON_MAX", 4),
        ];
        let subsystems = [
            value("SKB_DROP_REASON_SUBSYS_CORE", 0),
            value("SKB_DROP_REASON_SUBSYS_OPENVSWITCH", 2),
            value("SKB_DROP_REASON_SUBSYS_OTHER", 3),
        ];
        let others = vec![value("OVS_DROP_FIRST", 0x2_0000), value("OVS_DROP_EXPLICIT", 0x2_0003)];
        let reasons = Reasons::of(core, &subsystems, others);
        assert_eq!(reasons.benign(), 1);
        assert_eq!(reasons.name(3), Some("NO_SOCKET"));
        assert_eq!((reasons.name(4), reasons.name(99)), (None, None));
        assert_eq!(reasons.name(0x2_0003), Some("OVS_DROP_EXPLICIT"));
        assert_eq!(reasons.name(0x3_0001), Some("OTHER"));
        assert!(reasons.has("NO_SOCKET") && !reasons.has("MAX"));
    }

    #[test]
    fn the_running_kernel_has_reasons() {
        netglass_testing::require!(ebpf);
        let reasons = Reasons::read().unwrap();
        assert!(reasons.has("NO_SOCKET") && reasons.has("NETFILTER_DROP"), "{reasons:?}");
        assert!(reasons.benign() < 3);
    }
}
