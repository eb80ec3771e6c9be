//! The first bytes of packets, taken out of a file that is shown as memory.
//!
//! Who only wants to know whose packets are needs less than a hundred bytes of each. What is behind
//! those is not even fetched from memory, and the others are fetched while something else is done:
//! with each packet that is given, one is looked for further on.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use super::{
    Record,
    chains::{Chains, Head, Piece},
    memory::FileMemory,
    pcap::Pcap,
    windows::{WORD, Windows},
};
use crate::Packet;

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

/// The packets of a file whose first bytes are taken.
pub(super) struct Heads {
    file: File,
    pcap: Pcap,
    windows: Windows,
    chains: Chains,
    /// Whose packets are given, and how many were.
    piece: Piece,
    given: usize,
    /// Where the first packet begins that was not given.
    at: u64,
    whole: Vec<u8>,
    /// How many packets more may be read as a whole before that is too many.
    patience: usize,
}

impl Heads {
    /// Those of the packets from `begin` on. Two windows are shown at the same time.
    pub(super) fn new(
        file: File,
        memory: impl Fn(&File) -> io::Result<Box<dyn FileMemory>>,
        pcap: Pcap,
        begin: u64,
    ) -> io::Result<Self> {
        let mut windows = Windows::new(&file, memory)?;
        let chains = Chains::new(pcap, begin, &mut windows);
        let (piece, whole, patience) = (Piece::before(begin), Vec::new(), PATIENCE);
        Ok(Self { file, pcap, windows, chains, piece, given: 0, at: begin, whole, patience })
    }

    /// Where the first packet begins that was not given.
    pub(super) fn offset(&self) -> u64 {
        self.at
    }

    /// The file.
    pub(super) fn into_file(self) -> File {
        self.file
    }

    /// Goes on to the next piece with packets. False if there is none.
    fn turn(&mut self) -> bool {
        while self.given == self.piece.heads().len() {
            if self.piece.is_stopped() || self.at >= self.windows.length() {
                return false;
            }
            self.chains.take(self.at, &mut self.windows, &mut self.piece);
            self.given = 0;
            if !self.windows.had_all(self.piece.place(), self.piece.at()) {
                self.piece.stop_at(self.at);
            }
        }
        true
    }

    /// Gives `limit` packets at most. If it gives none, what follows is to be read in another way: there is nothing
    /// more, it is odd, it cannot be shown, it was changed, or heads do not tell enough.
    #[inline]
    pub(super) fn give(&mut self, limit: usize, to: &mut impl TakeHeads) -> io::Result<usize> {
        let mut count = 0;
        while count < limit && self.patience > 0 && self.turn() {
            count += self.give_of_piece(limit - count, to)?;
        }
        Ok(count)
    }

    /// Gives as many packets of the piece at most.
    #[inline]
    fn give_of_piece(&mut self, limit: usize, to: &mut impl TakeHeads) -> io::Result<usize> {
        let pcap = self.pcap;
        match pcap.if_usual() {
            Some(usual) => self.give_by(&usual, limit, to),
            None => self.give_by(&pcap, limit, to),
        }
    }

    /// The same where it is known how packets stand in the file, as far as the caller knows it.
    #[expect(
        clippy::inline_always,
        reason = "so that what is known need not be asked for each packet"
    )]
    #[inline(always)]
    fn give_by(&mut self, pcap: &Pcap, limit: usize, to: &mut impl TakeHeads) -> io::Result<usize> {
        let Self { file, windows, chains, piece, given, at, whole, patience, .. } = self;
        let views = windows.views();
        let heads = piece.heads().get(*given..).unwrap_or_default();
        let heads = heads.get(..limit).unwrap_or(heads);
        for head in heads {
            chains.step(&views, pcap);
            let record = record(head, *at, pcap);
            let bytes = *at + pcap.header_length() as u64;
            *at = bytes + u64::from(record.captured);
            *given += 1;
            let packet = record.packet(shown(head, &record));
            if to.take_head(&packet) {
                continue;
            }
            if packet.bytes.len() == record.captured as usize {
                to.take_whole(&packet);
                continue;
            }
            *patience = patience.saturating_sub(READ);
            whole.resize(record.captured as usize, 0);
            file.read_exact_at(whole, bytes)?;
            to.take_whole(&record.packet(whole));
        }
        *patience = (*patience + heads.len()).min(PATIENCE);
        Ok(heads.len())
    }
}

/// The packet that begins at `at`, by its header.
#[inline]
fn record(head: &Head, at: u64, pcap: &Pcap) -> Record {
    let place = usize::try_from(at % WORD as u64).unwrap_or(0);
    let header = head.as_flattened().get(place..).and_then(<[u8]>::first_chunk);
    let header: &[u8; 2 * WORD] = header.unwrap_or(&[0; 2 * WORD]);
    let (halves, _) = header.as_chunks();
    let record = pcap.packet(halves[0], halves[1]);
    Record { start: record.start + place, ..record }
}

/// What its head has of a packet.
#[inline]
fn shown<'a>(head: &'a Head, record: &Record) -> &'a [u8] {
    let bytes = head.as_flattened().get(record.start..).unwrap_or_default();
    bytes.get(..record.captured as usize).unwrap_or(bytes)
}
