//! A file through two windows, of which one is gone through while the next one is looked into.

use std::{
    fs::File,
    hint, io,
    sync::atomic::{AtomicU64, Ordering, fence},
};

use prefetch_index::prefetch_index;

use super::memory::{FileMemory, LARGEST_PAGE, MOST_SHOWN, WINDOW};

/// Bytes of a line of the processor's cache.
pub(super) const LINE: usize = 64;
/// Bytes of a word.
pub(super) const WORD: usize = size_of::<u64>();

/// What is shown of a file: of three windows that follow each other, never the first one and the last one.
pub(super) struct Windows {
    /// Those of an even number, and those of an odd one.
    shown: [Window; 2],
    /// How long the file was.
    length: u64,
}

struct Window {
    memory: Box<dyn FileMemory>,
    /// Where it is in the file.
    offset: u64,
    is_shown: bool,
}

/// What is shown from the beginning of a window on. Places are those in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    words: &'a [AtomicU64],
    offset: u64,
    /// How long the file was.
    pub(super) length: u64,
}

impl Windows {
    /// Nothing is shown yet.
    pub(super) fn new(
        file: &File,
        memory: impl Fn(&File) -> io::Result<Box<dyn FileMemory>>,
    ) -> io::Result<Self> {
        let window = |memory| Window { memory, offset: 0, is_shown: false };
        let shown = [window(memory(file)?), window(memory(file)?)];
        Ok(Self { shown, length: file.metadata()?.len() })
    }

    /// How long the file was.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Has the window of a place be shown, unless it is, instead of the one before the one before it. False if it
    /// cannot be shown.
    pub(super) fn show(&mut self, at: u64) -> bool {
        let offset = at - at % WINDOW as u64;
        let length = self.length.saturating_sub(offset);
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(MOST_SHOWN);
        let window = &mut self.shown[Self::number(at)];
        if !window.is_shown || window.offset != offset {
            window.offset = offset;
            window.is_shown = length > 0 && window.memory.show(offset, length).is_ok();
        }
        window.is_shown
    }

    /// Both windows, by [`Self::number`].
    pub(super) fn views(&self) -> [View<'_>; 2] {
        self.shown.each_ref().map(|window| View {
            words: if window.is_shown { window.memory.words() } else { &[] },
            offset: window.offset,
            length: self.length,
        })
    }

    /// Which of the two has a place.
    #[inline]
    pub(super) fn number(at: u64) -> usize {
        usize::from(!(at / WINDOW as u64).is_multiple_of(2))
    }

    /// Whether all from `begin` to `end` was in the file when it was looked at in the window of `begin`.
    ///
    /// What a file does not have any more of its last page looks like zeros. It is known by the page
    /// behind that, which is not there then.
    pub(super) fn had_all(&self, begin: u64, end: u64) -> bool {
        // In this order, so that what is known then was so before.
        fence(Ordering::Acquire);
        let window = &self.shown[Self::number(begin)];
        let behind = end.next_multiple_of(LARGEST_PAGE as u64) - window.offset;
        let behind = usize::try_from(behind).unwrap_or(usize::MAX);
        match window.memory.words().get(behind / WORD) {
            Some(word) => {
                hint::black_box(word.load(Ordering::Relaxed));
            }
            None if window.memory.is_as_long(end) => {}
            None => return false,
        }
        fence(Ordering::Acquire);
        !window.memory.is_lost().load(Ordering::Relaxed)
    }
}

impl View<'_> {
    /// Where a byte is from the beginning of the window on.
    #[inline]
    fn within(&self, at: u64) -> usize {
        usize::try_from(at.wrapping_sub(self.offset)).unwrap_or(usize::MAX)
    }

    /// As many words, from that on in which a byte is.
    #[inline]
    pub(super) fn words<const COUNT: usize>(&self, at: u64) -> Option<&[AtomicU64; COUNT]> {
        self.words.get(self.within(at) / WORD..)?.first_chunk()
    }

    /// Has a byte be fetched from memory, with the line that it is on.
    #[inline]
    pub(super) fn fetch(&self, at: u64) {
        prefetch_index(self.words, self.within(at) / WORD);
    }
}

/// The word that begins `behind` bytes behind a byte, of whose word and those behind it these are the first ones,
/// as its bytes are in the file. `behind` is a multiple of a word's length.
#[inline]
pub(super) fn word_in<const COUNT: usize>(
    words: &[AtomicU64; COUNT],
    at: u64,
    behind: usize,
) -> [u8; WORD] {
    let word = |number: usize| {
        words.get(number).map_or(0, |word| u64::from_le(word.load(Ordering::Relaxed)))
    };
    between(word(behind / WORD), word(behind / WORD + 1), at % WORD as u64)
}

/// The word that begins so many bytes behind the beginning of the first one of two, fewer than a word has.
#[inline]
pub(super) fn between(first: u64, second: u64, bytes: u64) -> [u8; WORD] {
    let shift = bytes * 8;
    // In two steps, as there may be nothing to shift.
    (first >> shift | second << 1 << (63 - shift)).to_le_bytes()
}

/// The highest bit of each byte of a word that is zero, and no other bit.
#[inline]
pub(super) fn zero_bytes(word: u64) -> u64 {
    const LOWER: u64 = u64::from_ne_bytes([0x7f; WORD]);
    !(((word & LOWER) + LOWER) | word | LOWER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_that_are_zero_are_told(bytes in prop::array::uniform8(0_u8..3), any: [u8; WORD]) {
            for bytes in [bytes, any, bytes.map(|byte| byte << 7)] {
                let told = bytes.map(|byte| if byte == 0 { 0x80 } else { 0 });
                prop_assert_eq!(zero_bytes(u64::from_le_bytes(bytes)), u64::from_le_bytes(told));
            }
        }
    }
}
