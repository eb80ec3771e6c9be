//! Where packets begin in a part of a file.
//!
//! The header of each packet tells where the next one is, so to find them means to wait for one header
//! after another to come from memory. Therefore the part is divided, and it is guessed of each piece
//! where in it a packet begins. The pieces are gone through together: while the header of one comes,
//! those of the others are looked at. A guess counts only if whoever comes from the piece before
//! arrives exactly there.

use std::sync::atomic::{AtomicU64, Ordering};

use prefetch_index::prefetch_index;

use super::{MAX_RECORD, pcap::Pcap};

/// How many pieces there are at most: about as many as a processor fetches from memory at the same time.
pub(super) const PIECES: usize = 16;
/// How long they are at least.
const SHORTEST_PIECE: usize = 64 << 10;
/// How many packets that follow each other have to be plausible for a guess.
const FOLLOWING: usize = 4;
/// How far behind the beginning of a piece a packet is looked for.
const SEARCHED: usize = 16 << 10;

/// How much of that is fetched from memory before: most often it is there.
const FETCHED: usize = 512;

/// Bytes of a line of the processor's cache.
pub(super) const LINE: usize = 64;

/// Bytes of a word.
pub(super) const WORD: usize = size_of::<u64>();

/// The word that begins at any byte, as its bytes are in the file.
#[inline]
pub(super) fn word_at(words: &[AtomicU64], byte: usize) -> Option<[u8; WORD]> {
    let [low, high] = words.get(byte / WORD..)?.first_chunk()?;
    let [low, high] = [low, high].map(|it| u128::from(u64::from_le(it.load(Ordering::Relaxed))));
    let shifted = (high << u64::BITS | low) >> (byte % WORD * 8);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
    Some((shifted as u64).to_le_bytes())
}

/// Finds where packets begin, one by one, so that nobody waits for them to come from memory: meanwhile,
/// something else can be done. What it needs for that it keeps from one part to the next.
#[derive(Debug, Default)]
pub(super) struct Chains {
    pieces: Vec<Piece>,
    /// How many of them are used.
    count: usize,
}

/// Packets that follow each other.
#[derive(Debug, Default)]
struct Piece {
    /// Where the first one begins.
    begin: usize,
    /// Where somebody else goes on.
    end: usize,
    /// Where the next one begins that was not gone past yet.
    at: usize,
    /// Whether that one is not whole, or odd.
    stopped: bool,
    starts: Vec<u32>,
}

/// What is gone through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) words: &'a [AtomicU64],
    pub(super) pcap: &'a Pcap,
    /// How many bytes of packets there are in the words.
    pub(super) length: usize,
    /// How many bytes there must be from the beginning of a packet on, of whatever.
    pub(super) room: usize,
}

impl Part<'_> {
    /// Where the packet after the one at `at` begins, if that one is whole and usual.
    #[inline]
    fn after(&self, at: usize) -> Option<usize> {
        let (captured, wire) = self.pcap.lengths(word_at(self.words, at + WORD)?);
        let length = self.pcap.header_length() + captured as usize;
        let next = at + length;
        let is_usual = length <= MAX_RECORD && captured <= wire;
        let is_whole = next <= self.length && at + self.room <= size_of_val(self.words);
        (is_usual && is_whole).then_some(next)
    }

    /// Has the length of the packet at `at` be fetched from memory.
    #[inline]
    fn fetch(&self, at: usize) {
        // It may be at the end of a line.
        for word in [1, 2] {
            prefetch_index(self.words, at / WORD + word);
        }
    }

    /// Where it seems that a packet begins, at `from` or not long after it.
    fn guess(&self, from: usize, seconds: u32) -> Option<usize> {
        (from..(from + SEARCHED).min(self.length)).find(|&at| self.is_plausible(at, seconds))
    }

    fn is_plausible(&self, mut at: usize, seconds: u32) -> bool {
        (0..FOLLOWING).all(|_| {
            let halves = [word_at(self.words, at), word_at(self.words, at + WORD)];
            let [Some(first), Some(second)] = halves else { return false };
            let is_plausible = self.pcap.is_plausible(first, second, seconds);
            let Some(next) = self.after(at).filter(|_| is_plausible) else { return false };
            at = next;
            true
        })
    }
}

impl Piece {
    fn set(&mut self, begin: usize, end: usize) {
        (self.begin, self.end, self.at, self.stopped) = (begin, end, begin, false);
        self.starts.clear();
    }

    /// Goes past one packet. False at the end.
    #[inline]
    fn step(&mut self, part: Part<'_>) -> bool {
        if self.at >= self.end || self.stopped {
            return false;
        }
        let (Some(next), Ok(start)) = (part.after(self.at), u32::try_from(self.at)) else {
            self.stopped = true;
            return false;
        };
        self.starts.push(start);
        self.at = next;
        true
    }
}

impl Chains {
    /// Has what [`Self::begin`] looks at be fetched from memory.
    pub(super) fn fetch(part: Part<'_>, from: usize) {
        for begin in places(part, from) {
            for line in (0..FETCHED).step_by(LINE) {
                part.fetch(begin + line);
            }
        }
    }

    /// Begins with a part whose first packet begins at `from`.
    pub(super) fn begin(&mut self, part: Part<'_>, from: usize) {
        self.pieces.resize_with(PIECES, Piece::default);
        let seconds = word_at(part.words, from).map_or(0, |first| part.pcap.seconds(first));
        let mut begins = [from; PIECES];
        let mut count = 1;
        for place in places(part, from).skip(1) {
            if let Some(begin) = part.guess(place, seconds)
                && begin > begins[count - 1]
            {
                begins[count] = begin;
                count += 1;
            }
        }
        for (index, piece) in self.pieces.iter_mut().take(count).enumerate() {
            let end = if index + 1 < count { begins[index + 1] } else { part.length };
            piece.set(begins[index], end);
            part.fetch(begins[index]);
        }
        self.count = count;
    }

    /// Goes past one packet of each piece of the part with which it has begun. False at the end.
    ///
    /// All at once: what is not there yet is waited for together.
    #[inline]
    pub(super) fn step(&mut self, part: Part<'_>) -> bool {
        let mut goes_on = false;
        for piece in self.pieces.iter_mut().take(self.count) {
            goes_on |= piece.step(part);
        }
        goes_on
    }

    /// Has what a piece, one of [`PIECES`], is looked at for next be fetched from memory.
    #[inline]
    pub(super) fn fetch_for(&self, piece: usize, part: Part<'_>) {
        if let Some(piece) = self.pieces.get(piece) {
            part.fetch(piece.at);
        }
    }

    /// Appends to `starts` where the packets of the part begin: all that are whole, up to one that is
    /// not or that is odd. Returns where that one begins.
    pub(super) fn finish(&mut self, part: Part<'_>, from: usize, starts: &mut Vec<u32>) -> usize {
        while self.step(part) {
            (0..self.count).for_each(|piece| self.fetch_for(piece, part));
        }
        let mut at = from;
        for piece in self.pieces.iter_mut().take(self.count) {
            if piece.begin != at {
                let end = piece.end;
                piece.set(at, end);
                while piece.step(part) {}
            }
            starts.extend_from_slice(&piece.starts);
            at = piece.at;
            if piece.stopped {
                break;
            }
        }
        self.count = 0;
        at
    }
}

/// From where on packets are looked for.
fn places(part: Part<'_>, from: usize) -> impl Iterator<Item = usize> {
    let length = part.length.saturating_sub(from);
    let count = (length / SHORTEST_PIECE).clamp(1, PIECES);
    (0..count).map(move |piece| from + length / count * piece)
}
