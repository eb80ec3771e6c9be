//! Integers at offsets of a header whose length was checked.

/// The `N` bytes at `offset`; zeros where the header is shorter, which a check before rules out.
fn at<const N: usize>(data: &[u8], offset: usize) -> [u8; N] {
    data.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

pub(crate) fn u8(data: &[u8], offset: usize) -> u8 {
    let [byte] = at(data, offset);
    byte
}

pub(crate) fn u16(data: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(at(data, offset))
}

pub(crate) fn u32(data: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(at(data, offset))
}

pub(crate) fn i32(data: &[u8], offset: usize) -> i32 {
    i32::from_le_bytes(at(data, offset))
}

pub(crate) fn u64(data: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(at(data, offset))
}

pub(crate) fn address(data: &[u8], offset: usize) -> [u8; 16] {
    at(data, offset)
}

/// What is behind a header.
pub(crate) fn behind(data: &[u8], length: usize) -> &[u8] {
    data.get(length..).unwrap_or_default()
}
