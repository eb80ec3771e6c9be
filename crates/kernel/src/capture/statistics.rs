//! What became of the packets of each interface.

use std::sync::Arc;

use netglass_packet::LinkType;

/// An interface of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: Arc<str>,
    /// What its packets begin with.
    pub link_type: LinkType,
    /// What became of them.
    pub statistics: InterfaceStatistics,
}

/// What became of the packets of an interface, since the capture began and however often the interface
/// went away meanwhile.
///
/// `received = delivered + dropped + passed_over + waiting`; what waits is 0 once the capture has been
/// stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InterfaceStatistics {
    /// Packets that the kernel had for us and that the filter matched.
    pub received: u64,
    /// Packets that were handed out.
    pub delivered: u64,
    /// Packets for which the kernel had no room in our buffer.
    pub dropped: u64,
    /// Packets that the interface or its driver lost. The kernel had none of them.
    pub dropped_by_interface: u64,
    /// Packets that the kernel had for us, but libpcap did not hand out: on the loopback interface
    /// those that are sent, each of which is received too; and what does not match a filter that is
    /// too long for the kernel. Known once the interface is not captured on any more.
    pub passed_over: u64,
    /// How often it went down or away while it was captured on.
    pub interruptions: u64,
}

impl InterfaceStatistics {
    /// Packets that the kernel keeps for us.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.received
            .saturating_sub(self.delivered)
            .saturating_sub(self.dropped)
            .saturating_sub(self.passed_over)
    }
}

impl std::ops::AddAssign for InterfaceStatistics {
    fn add_assign(&mut self, other: Self) {
        let Self { received, delivered, dropped, dropped_by_interface, passed_over, interruptions } =
            other;
        self.received += received;
        self.delivered += delivered;
        self.dropped += dropped;
        self.dropped_by_interface += dropped_by_interface;
        self.passed_over += passed_over;
        self.interruptions += interruptions;
    }
}
