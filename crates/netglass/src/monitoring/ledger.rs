//! What became of all events.

use std::fmt::{self, Write as _};

/// How many events came, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) events: u64,
    pub(super) shown: u64,
    pub(super) filtered: u64,
    pub(super) malformed: u64,
    pub(super) unknown: u64,
    /// How many others tell that were lost before they came.
    pub(super) lost: u64,
    /// How often the socket was closed, and what was sent meanwhile is not known.
    pub(super) gaps: u64,
    /// What became of packets in the kernel, where our own datapath tells of them.
    #[cfg(all(feature = "capture", feature = "ebpf"))]
    pub(super) kernel: Option<netglass_kernel::datapath::DatapathCounts>,
    /// How many bytes of an event came that did not come to its end.
    pub(super) cut: u64,
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, shown, filtered, malformed, unknown, lost, gaps, cut, .. } = *self;
        write!(f, "{events} events = {shown} shown + {filtered} filtered out")?;
        let mut rest = String::new();
        for (count, name) in [(malformed, "malformed"), (unknown, "of unknown types")] {
            if count > 0 {
                write!(rest, " + {count} {name}")?;
            }
        }
        f.write_str(&rest)?;
        write!(f, "; {lost} lost before they came")?;
        if gaps > 0 {
            write!(f, "; the socket was closed {gaps} times")?;
        }
        if cut > 0 {
            write!(f, "; {cut} bytes of an event without its end")?;
        }
        #[cfg(all(feature = "capture", feature = "ebpf"))]
        if let Some(counts) = &self.kernel {
            write!(f, "; {}", super::kernel::account(counts))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_left_out() {
        let mut ledger = Ledger { events: 3, shown: 2, filtered: 1, ..Ledger::default() };
        let expected = "3 events = 2 shown + 1 filtered out; 0 lost before they came";
        assert_eq!(ledger.to_string(), expected);
        ledger = Ledger { malformed: 1, unknown: 2, gaps: 1, cut: 9, lost: 4, ..ledger };
        assert_eq!(
            ledger.to_string(),
            "3 events = 2 shown + 1 filtered out + 1 malformed + 2 of unknown types; 4 lost before \
             they came; the socket was closed 1 times; 9 bytes of an event without its end"
        );
    }
}
