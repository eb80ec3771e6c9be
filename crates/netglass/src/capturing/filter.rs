//! Which packets of files are taken.

#[cfg(feature = "capture")]
use netglass_packet::LinkType;
use netglass_packet::Packet;

#[cfg(feature = "capture")]
pub(super) use with_libpcap::Filters;
#[cfg(not(feature = "capture"))]
pub(super) use without_libpcap::Filters;

#[cfg(feature = "capture")]
mod with_libpcap {
    use netglass_kernel::capture::Filter;

    use super::{LinkType, Packet};

    /// One filter, as it is for each of the link types that there are.
    pub(in super::super) struct Filters {
        expression: String,
        compiled: Vec<(LinkType, Filter)>,
    }

    impl Filters {
        /// Fails if the expression means nothing.
        pub(in super::super) fn new(expression: String) -> anyhow::Result<Self> {
            let mut filters = Self { expression, compiled: Vec::new() };
            if !filters.expression.is_empty() {
                filters.compile(LinkType::ETHERNET)?;
            }
            Ok(filters)
        }

        /// Whether all packets are wanted, without being asked.
        pub(in super::super) fn want_all(&self) -> bool {
            self.expression.is_empty()
        }

        /// Whether a packet is wanted. An error if there cannot be such a filter for its link type.
        pub(in super::super) fn wants(&mut self, packet: &Packet<'_>) -> anyhow::Result<bool> {
            if self.expression.is_empty() {
                return Ok(true);
            }
            let known = self.compiled.iter().position(|(of, _)| *of == packet.link_type);
            let index = match known {
                Some(index) => index,
                None => self.compile(packet.link_type)?,
            };
            Ok(self.compiled.get(index).is_some_and(|(_, filter)| filter.matches(packet)))
        }

        fn compile(&mut self, link_type: LinkType) -> anyhow::Result<usize> {
            let filter = Filter::compile(&self.expression, link_type)?;
            self.compiled.push((link_type, filter));
            Ok(self.compiled.len() - 1)
        }
    }
}

#[cfg(not(feature = "capture"))]
mod without_libpcap {
    use super::Packet;
    use crate::usage::UsageError;

    /// None, as there is nothing that understands them.
    pub(in super::super) struct Filters;

    impl Filters {
        /// Fails if there is an expression.
        pub(in super::super) fn new(expression: String) -> anyhow::Result<Self> {
            if expression.is_empty() {
                return Ok(Self);
            }
            Err(UsageError(format!(
                "this program was built without libpcap, which understands filters like \
                 '{expression}': build it with --features capture"
            ))
            .into())
        }

        /// They always are.
        pub(in super::super) fn want_all(&self) -> bool {
            true
        }

        /// All are.
        pub(in super::super) fn wants(&mut self, _: &Packet<'_>) -> anyhow::Result<bool> {
            Ok(true)
        }
    }
}
