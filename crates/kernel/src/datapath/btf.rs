//! The enumerations of the kernel and of its modules (BTF, `Documentation/bpf/btf.rst`).

/// The length of the header, and where in it is what is read.
const HEADER_LENGTH: usize = 24;
const MAGIC: u16 = 0xeb9f;
const TYPE_LENGTH: usize = 12;

/// Kinds of types.
const ENUM: u32 = 6;
const ENUM64: u32 = 19;

/// Types and strings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// How many bytes of strings are those of the kernel, before a module's own.
    base: usize,
}

/// A value of an enumeration, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) value: u32,
}

impl<'a> Btf<'a> {
    /// Takes the file apart; that of a module goes on where `base`, that of the kernel, ends.
    pub(super) fn new(file: &'a [u8], base: Option<&Btf<'_>>) -> Option<Self> {
        let header = file.get(..HEADER_LENGTH)?;
        if u16::from_ne_bytes(*header.first_chunk()?) != MAGIC {
            return None;
        }
        let header_length = number(header, 4)?;
        let section = |offset, length| {
            let start = header_length.checked_add(number(header, offset)?)?;
            file.get(start..start.checked_add(number(header, length)?)?)
        };
        Some(Self {
            types: section(8, 12)?,
            strings: section(16, 20)?,
            base: base.map_or(0, |base| base.strings.len()),
        })
    }

    /// The values of the enumerations whose name is `wanted`. Those of a kind that is not known end it.
    pub(super) fn enumerations(&self, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
        let mut values = Vec::new();
        let mut rest = self.types;
        while let Some((start, behind)) = rest.split_at_checked(TYPE_LENGTH) {
            let Some((name, information)) = number(start, 0).zip(number(start, 4)) else { break };
            let kind = u32::try_from(information >> 24 & 0x1f).unwrap_or_default();
            let count = information & 0xffff;
            let Some(length) = length_behind(kind, count) else { break };
            let Some((members, behind)) = behind.split_at_checked(length) else { break };
            rest = behind;
            if matches!(kind, ENUM | ENUM64) && self.string(name).is_some_and(&wanted) {
                let size = if kind == ENUM { 8 } else { 12 };
                values.extend(members.chunks_exact(size).filter_map(|member| self.value(member)));
            }
        }
        values
    }

    fn value(&self, member: &[u8]) -> Option<Value> {
        let name = self.string(number(member, 0)?)?.to_owned();
        Some(Value { name, value: u32::try_from(number(member, 4)?).ok()? })
    }

    fn string(&self, offset: usize) -> Option<&'a str> {
        let rest = self.strings.get(offset.checked_sub(self.base)?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(rest.get(..end)?).ok()
    }
}

/// How many bytes are behind the common part of a type.
const fn length_behind(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Integers, variables and tags of declarations.
        1 | 14 | 17 => 4,
        // Pointers, forward declarations, other names, qualifiers, functions, floats, tags of types.
        2 | 7..=12 | 16 | 18 => 0,
        // Arrays.
        3 => 12,
        // Structures, unions, sections and wide enumerations.
        4 | 5 | 15 | ENUM64 => 12 * count,
        // Enumerations and prototypes.
        ENUM | 13 => 8 * count,
        _ => return None,
    })
}

fn number(bytes: &[u8], offset: usize) -> Option<usize> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    usize::try_from(u32::from_ne_bytes(*bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An enumeration of two values behind an integer.
    fn file(base: u32) -> Vec<u8> {
        let strings = b"\0reason\0A\0B\0";
        let types = [
            [0, 1 << 24, 4, 32].as_slice(),
            &[base + 1, ENUM << 24 | 2, 4, base + 8, 0, base + 10, 0x2_0001],
        ]
        .concat();
        let length = u32::try_from(types.len() * 4).unwrap();
        let words = [u32::from(MAGIC) | 1 << 16, 24, 0, length, length, 12];
        let words = words.iter().chain(&types).flat_map(|word| word.to_ne_bytes());
        words.chain(*strings).collect()
    }

    #[test]
    fn enumerations_of_the_kernel_and_of_modules_are_found() {
        let kernel = file(0);
        let kernel = Btf::new(&kernel, None).unwrap();
        let module = file(12);
        let module = Btf::new(&module, Some(&kernel)).unwrap();
        for btf in [kernel, module] {
            let values = btf.enumerations(|name| name == "reason");
            let values: Vec<_> = values.iter().map(|it| (it.name.as_str(), it.value)).collect();
            assert_eq!(values, [("A", 0), ("B", 0x2_0001)]);
            assert!(btf.enumerations(|name| name == "other").is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
            has_magic in any::<bool>(),
        ) {
            if has_magic {
                let start = file(0);
                let length = start.len().min(bytes.len()).min(20);
                bytes[..length].copy_from_slice(&start[..length]);
            }
            if let Some(btf) = Btf::new(&bytes, None) {
                let _ = btf.enumerations(|_| true);
            }
        }
    }
}
