//! The first bytes of packets, taken out of a file that is shown as memory.
//!
//! Who only wants to know whose packets are needs less than a hundred bytes of each. What is behind
//! those is not even fetched from memory, and the others are fetched while something else is done:
//! with the head of each packet, a packet further on is asked for, and one is looked for in the next
//! window.

use std::{
    fs::File,
    hint, io,
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

use prefetch_index::prefetch_index;

use super::{
    Record,
    chains::{Chains, LINE, PIECES, Part, WORD, word_at},
    memory::{FileMemory, WINDOW, WINDOW_ALIGNMENT},
    pcap::Pcap,
};
use crate::Packet;

/// How much is taken of each, with its header in the file, in words.
const HEAD_WORDS: usize = 12;
const HEAD: usize = HEAD_WORDS * WORD;
/// How many packets ahead of the one that is taken others are fetched from memory.
const AHEAD: usize = 24;

/// If packets have no more bytes than this on average, to have the kernel copy all of them takes less
/// than to pick out their heads.
const SHORT: usize = 256;
/// How many heads are copied before they are given: to read what was written just before takes long.
const TOGETHER: usize = PIECES;
/// If the heads of more than one in so many packets do not tell enough, to read all packets takes less
/// than to read each of these.
const READ: usize = 8;
/// How many packets do so in a row at most, times that.
const PATIENCE: usize = 4096;

/// Takes packets by their heads.
pub trait TakeHeads {
    /// Takes a packet that may have more bytes than these, but not more than there were on the wire. False
    /// if these are not enough of it, which is then given as a whole.
    fn take_head(&mut self, packet: &Packet<'_>) -> bool;

    /// Takes a packet.
    fn take_whole(&mut self, packet: &Packet<'_>);
}

/// What came of giving heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// Packets were given.
    Packets,
    /// What follows is to be read in another way: there is nothing more, it is odd, it cannot be shown, it
    /// was changed, heads do not tell enough, or packets are short.
    End,
}

/// The packets of a file whose first bytes are taken.
pub(super) struct Heads {
    file: File,
    pcap: Pcap,
    /// How long the file was.
    length: u64,
    /// The window whose packets are given.
    window: Window,
    /// How many of them were given.
    given: usize,
    /// The one after it.
    upcoming: Window,
    chains: Chains,
    state: State,
    whole: Vec<u8>,
    /// How many packets more may be read as a whole before that is too many.
    patience: usize,
}

/// How far the next window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is none.
    None,
    /// It is shown.
    Shown,
    /// Packets are looked for in it.
    Begun,
}

struct Window {
    memory: Box<dyn FileMemory>,
    /// Where it is in the file.
    offset: u64,
    length: usize,
    /// Where its first packet begins.
    from: usize,
    /// Where packets begin.
    starts: Vec<u32>,
    /// Where the first one begins that is not among them.
    end: usize,
}

impl Window {
    fn new(memory: Box<dyn FileMemory>) -> Self {
        Self { memory, offset: 0, length: 0, from: 0, starts: Vec::new(), end: 0 }
    }

    fn part<'a>(&'a self, pcap: &'a Pcap) -> Part<'a> {
        // A head is taken in whole words.
        Part { words: self.memory.words(), pcap, length: self.length, room: HEAD + WORD }
    }

    /// Where a packet begins in the file; behind the last one, where the next window does.
    fn place(&self, number: usize) -> u64 {
        self.offset + self.starts.get(number).map_or(self.end as u64, |&start| start.into())
    }
}

impl Heads {
    /// Those of the packets from `begin` on. Two windows are shown at the same time.
    pub(super) fn new(
        file: File,
        memory: impl Fn(&File) -> io::Result<Box<dyn FileMemory>>,
        pcap: Pcap,
        begin: u64,
    ) -> io::Result<Self> {
        let [mut window, upcoming] = [Window::new(memory(&file)?), Window::new(memory(&file)?)];
        window.offset = begin;
        let mut heads = Self {
            length: file.metadata()?.len(),
            file,
            pcap,
            window,
            given: 0,
            upcoming,
            chains: Chains::default(),
            state: State::None,
            whole: Vec::new(),
            patience: PATIENCE,
        };
        heads.show();
        Ok(heads)
    }

    /// Where the first packet begins that was not given.
    pub(super) fn offset(&self) -> u64 {
        self.window.place(self.given)
    }

    /// The file.
    pub(super) fn into_file(self) -> File {
        self.file
    }

    /// Shows the window after this one, if there is any.
    fn show(&mut self) {
        let upcoming = &mut self.upcoming;
        let next = self.window.place(usize::MAX);
        upcoming.offset = next - next % WINDOW_ALIGNMENT as u64;
        upcoming.from = usize::try_from(next - upcoming.offset).unwrap_or(usize::MAX);
        let left = self.length.saturating_sub(upcoming.offset);
        upcoming.length = usize::try_from(left).unwrap_or(usize::MAX).min(WINDOW);
        upcoming.starts.clear();
        self.state = State::None;
        if left > 0 && upcoming.memory.show(upcoming.offset, upcoming.length).is_ok() {
            Chains::fetch(upcoming.part(&self.pcap), upcoming.from);
            self.state = State::Shown;
        }
    }

    /// Begins to look for packets in the next window, unless it has.
    fn begin(&mut self) {
        if self.state == State::Shown {
            self.chains.begin(self.upcoming.part(&self.pcap), self.upcoming.from);
            self.state = State::Begun;
        }
    }

    /// Goes on to the next window. False if there is none with packets that are worth it.
    fn turn(&mut self) -> bool {
        self.begin();
        if self.state == State::None {
            return false;
        }
        let mut starts = std::mem::take(&mut self.upcoming.starts);
        let part = self.upcoming.part(&self.pcap);
        self.upcoming.end = self.chains.finish(part, self.upcoming.from, &mut starts);
        self.upcoming.starts = starts;
        let length = self.upcoming.end.saturating_sub(self.upcoming.from);
        if length <= self.upcoming.starts.len() * SHORT {
            self.state = State::None;
            return false;
        }
        std::mem::swap(&mut self.window, &mut self.upcoming);
        self.given = 0;
        self.show();
        true
    }

    /// Gives `limit` packets at most.
    #[inline]
    pub(super) fn give(&mut self, limit: usize, to: &mut impl TakeHeads) -> io::Result<Given> {
        let is_worth_it = self.patience > 0;
        if !is_worth_it || self.given == self.window.starts.len() && !self.turn() {
            return Ok(Given::End);
        }
        self.begin();
        let Self { file, pcap, window, given, upcoming, chains, whole, patience, .. } = self;
        let pages = Pages::of(window);
        let part = upcoming.part(pcap);
        let starts = window.starts.get(*given..).unwrap_or_default();
        let starts = starts.get(..limit).unwrap_or(starts);
        let shown = HEAD - (WORD - 1) - pcap.header_length();
        let mut heads = [[0; HEAD]; TOGETHER];
        let mut records = [Record::NONE; TOGETHER];
        let before = *given;
        for starts in starts.chunks(TOGETHER) {
            chains.step(part);
            let nexts = window.starts.get(*given + 1..).unwrap_or_default().iter();
            let ends = nexts.map(|&next| next as usize).chain([window.end]);
            let (mut count, mut end) = (0, 0);
            let room = heads.iter_mut().zip(&mut records);
            for ((&start, next), (head, record)) in starts.iter().zip(ends).zip(room) {
                let Some(found) = pages.copy(start as usize, pcap, head) else { break };
                // Whoever changes the file may change lengths.
                if start as usize + pcap.header_length() + found.captured as usize != next
                    || found.captured > found.wire_length
                {
                    break;
                }
                *record = found;
                count += 1;
                end = next;
            }
            // In this order, so that what is known then was so before.
            fence(Ordering::Acquire);
            if count == 0 || !pages.have_all_up_to(end) {
                break;
            }
            let all = heads.iter().zip(&records).zip(starts).take(count);
            for (number, ((head, record), start)) in all.enumerate() {
                // One by one, while there is something else to do.
                chains.fetch_for(number, part);
                pages.fetch(window.starts.get(*given + AHEAD).copied());
                *given += 1;
                let captured = record.captured as usize;
                let end = record.start + captured.min(shown);
                let packet = record.packet(head.get(record.start..end).unwrap_or_default());
                if to.take_head(&packet) {
                    continue;
                }
                if captured <= shown {
                    to.take_whole(&packet);
                    continue;
                }
                *patience = patience.saturating_sub(READ);
                whole.resize(captured, 0);
                let place = window.offset + u64::from(*start) + pcap.header_length() as u64;
                file.read_exact_at(whole, place)?;
                to.take_whole(&record.packet(whole));
            }
            if count < starts.len() {
                break;
            }
        }
        let count = *given - before;
        *patience = (*patience + count).min(PATIENCE);
        Ok(if count == 0 { Given::End } else { Given::Packets })
    }
}

/// The pages of a window.
struct Pages<'a> {
    memory: &'a dyn FileMemory,
    words: &'a [AtomicU64],
    is_lost: &'a AtomicBool,
}

impl<'a> Pages<'a> {
    fn of(window: &'a Window) -> Self {
        let memory = &*window.memory;
        let (words, is_lost) = (memory.words(), memory.is_lost());
        Self { memory, words, is_lost }
    }

    /// Has the head of a packet be fetched from memory.
    #[inline]
    fn fetch(&self, start: Option<u32>) {
        let Some(start) = start else { return };
        for line in [0, LINE, HEAD - 1] {
            prefetch_index(self.words, (start as usize + line) / WORD);
        }
    }

    /// Copies the head of a packet, and says what it is and where in the head.
    #[inline]
    fn copy(&self, start: usize, pcap: &Pcap, head: &mut [u8; HEAD]) -> Option<Record> {
        let source: &[_; HEAD_WORDS] = self.words.get(start / WORD..)?.first_chunk()?;
        let (bytes, _) = head.as_chunks_mut::<WORD>();
        for (bytes, word) in bytes.iter_mut().zip(source) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        // Not from what was copied: that would have to be written before it is read.
        let first = word_at(source, start % WORD)?;
        let record = pcap.packet(first, word_at(source, start % WORD + WORD)?);
        Some(Record { start: record.start + start % WORD, ..record })
    }

    /// Whether all up to `end` was in the file when it was looked at.
    ///
    /// What a file does not have any more of its last page looks like zeros. It is known by the page
    /// behind that, which is not there then.
    #[inline]
    fn have_all_up_to(&self, end: usize) -> bool {
        let behind = end.next_multiple_of(WINDOW_ALIGNMENT);
        match self.words.get(behind / WORD) {
            Some(word) => {
                hint::black_box(word.load(Ordering::Relaxed));
            }
            None if self.memory.is_as_long() => {}
            None => return false,
        }
        fence(Ordering::Acquire);
        !self.is_lost.load(Ordering::Relaxed)
    }
}
