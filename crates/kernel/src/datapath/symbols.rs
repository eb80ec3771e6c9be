//! The kernel's functions by their addresses (`/proc/kallsyms`).

use std::{fs, str};

use crate::Error;

const PATH: &str = "/proc/kallsyms";
/// A place farther behind the begin of a function is in none.
const MOST_OFFSET: u64 = 1 << 20;

/// Functions by their addresses.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    /// Where each begins, and where its name is, in order.
    starts: Vec<(u64, u32, u32)>,
    names: String,
}

impl Symbols {
    /// Reads those of the running kernel; none where it hides addresses.
    pub(super) fn read() -> Result<Self, Error> {
        let file = fs::read(PATH).map_err(|source| Error::read(PATH, source))?;
        Ok(Self::parse(&file))
    }

    fn parse(file: &[u8]) -> Self {
        let mut symbols = Self::default();
        for line in file.split(|byte| *byte == b'\n') {
            let Ok(line) = str::from_utf8(line) else { continue };
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            // Where addresses are hidden, all are zero.
            let address = u64::from_str_radix(address, 16).unwrap_or_default();
            if address == 0 || !matches!(kind, "t" | "T" | "w" | "W") {
                continue;
            }
            let place = (u32::try_from(symbols.names.len()), u32::try_from(name.len()));
            let (Ok(start), Ok(length)) = place else { break };
            symbols.names.push_str(name);
            symbols.starts.push((address, start, length));
        }
        symbols.starts.sort_by_key(|(address, ..)| *address);
        symbols
    }

    /// `tcp_v4_rcv+0x12`, by an address within.
    pub(super) fn name(&self, address: u64) -> Option<String> {
        let behind = self.starts.partition_point(|(start, ..)| *start <= address);
        let (start, at, length) = *self.starts.get(behind.checked_sub(1)?)?;
        let offset = address.checked_sub(start).filter(|offset| *offset < MOST_OFFSET)?;
        let (at, length) = (usize::try_from(at).ok()?, usize::try_from(length).ok()?);
        let name = self.names.get(at..at.checked_add(length)?)?;
        Some(format!("{name}+{offset:#x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_function_that_begins_before_it() {
        let symbols = Symbols::parse(
            b"ffffffff81000100 T second\nffffffff81000000 t first\nffffffff81000080 D data\n\
              ffffffff82000000 t third\t[module]\nbroken\n",
        );
        let name = |address| symbols.name(address);
        assert_eq!(name(0xffff_ffff_8100_00ff).as_deref(), Some("first+0xff"));
        assert_eq!(name(0xffff_ffff_8100_0100).as_deref(), Some("second+0x0"));
        assert_eq!(name(0xffff_ffff_8200_0010).as_deref(), Some("third+0x10"));
        assert_eq!(name(0xffff_ffff_9000_0000), None);
        assert_eq!(name(1), None);
    }

    #[test]
    fn hidden_addresses_are_no_functions() {
        let symbols = Symbols::parse(b"0000000000000000 T one\n0000000000000000 T two\n");
        assert_eq!(symbols.name(0x10), None);
    }
}
