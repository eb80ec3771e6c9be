//! How much the streaming kernel programs may remember.

/// How large the kernel programs' tables are. Their memory is taken at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Flows between two collections; there are two such tables, of 256 bytes for each flow.
    pub flows: u32,
    /// Places for TCP connections that live at the same time, 128 bytes for each, rounded up to a
    /// power of two; what is known of others hangs on their sockets, which takes longer.
    pub connections: u32,
    /// Conversations of unconnected UDP sockets that are told apart.
    pub conversations: u32,
    /// Bytes for the details of processes between two collections, 1,088 and a few for each. The
    /// kernel wants a power of two of at least a page: this is rounded up.
    pub process_buffer: u32,
}

impl Sizes {
    /// Processes that are not told of again.
    pub(super) const PROCESSES: u32 = 32_768;

    /// For a program that is only to be tried.
    pub(super) const SMALLEST: Self =
        Self { flows: 1, connections: 1, conversations: 1, process_buffer: 1 };

    /// Sizes that suit this host: more where there is more memory, within bounds.
    #[must_use]
    pub fn of_host() -> Self {
        let system = rustix::system::sysinfo();
        let unit = u64::from(system.mem_unit.max(1));
        Self::of_memory(system.totalram.saturating_mul(unit))
    }

    fn of_memory(bytes: u64) -> Self {
        let share = |divisor: u64, least: u32, most: u32| {
            u32::try_from(bytes / divisor).unwrap_or(u32::MAX).clamp(least, most)
        };
        Self {
            // At most a thousandth of the memory.
            flows: share(512 * 1024, 4096, 65_536),
            connections: share(1024 * 1024, 8192, 131_072),
            conversations: share(256 * 1024, 8192, 131_072),
            process_buffer: share(4096, 512 * 1024, 4 * 1024 * 1024).next_power_of_two(),
        }
    }

    pub(super) fn connection_places(self) -> u32 {
        const MOST: u32 = 1 << 24;
        self.connections.clamp(1, MOST).next_power_of_two()
    }

    pub(super) fn process_buffer(self) -> u32 {
        const PAGE: u32 = 4096;
        const MOST: u32 = 1 << 30;
        let page = u32::try_from(rustix::param::page_size()).unwrap_or(PAGE);
        self.process_buffer.clamp(page, MOST).next_power_of_two()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_host_has_larger_tables_within_bounds() {
        let gibibytes = |count: u64| Sizes::of_memory(count << 30);
        assert_eq!(gibibytes(0).flows, 4096);
        assert_eq!(gibibytes(16).flows, 32_768);
        assert_eq!(gibibytes(1024).flows, 65_536);
        assert_eq!(gibibytes(0).process_buffer, 512 * 1024);
        assert_eq!(gibibytes(1024).process_buffer, 4 * 1024 * 1024);
    }

    #[test]
    fn the_buffer_is_what_the_kernel_takes() {
        let of = |process_buffer| Sizes { process_buffer, ..Sizes::SMALLEST }.process_buffer();
        assert!(of(1).is_power_of_two() && of(1) >= 4096);
        assert_eq!(of(100_000), 131_072);
        assert_eq!(of(u32::MAX), 1 << 30);
    }
}
