//! Where packets begin in a file, and their first bytes.
//!
//! The header of each packet tells where the next one is, so to find them means to wait for one header
//! after another to come from memory. Therefore the file is divided into pieces, and it is guessed of
//! each one where in it a packet begins. Several pieces are gone through together: while the header of
//! one comes, those of the others are looked at. A guess counts only if whoever comes from the piece
//! before arrives exactly there.
//!
//! What is wanted of a packet is copied when its header is looked at, as both come from memory together.

use std::{mem, sync::atomic::Ordering};

use super::{
    MAX_RECORD,
    memory::{PIECE, WINDOW},
    pcap::Pcap,
    windows::{LINE, View, WORD, Windows, between, word_in, zero_bytes},
};

/// How long pieces are.
const LENGTH: u64 = PIECE as u64;
// As there are two windows, those that are gone through and the one that is given are in no more.
const _: () = assert!(WINDOW.is_multiple_of(PIECE) && (TOGETHER + 1) * PIECE <= WINDOW);
/// How many are gone through together: about as many as a processor fetches from memory at the same time.
const TOGETHER: usize = 16;
/// How many packets that follow each other have to be plausible for a guess.
const FOLLOWING: usize = 4;
/// How far behind the beginning of a piece a packet is looked for.
const SEARCHED: u64 = 16 << 10;
/// How much of that is fetched from memory before: most often it is there.
const FETCHED: u64 = 512;
/// For so many packets of a piece there is room. If there are more, they have hardly anything but headers.
const HEADS: usize = PIECE / 32;

/// The first bytes of a packet with its header in the file, from the word on in which that begins.
pub(super) type Head = [[u8; WORD]; HEAD];
const HEAD: usize = 12;

/// Packets that follow each other.
#[derive(Debug)]
pub(super) struct Piece {
    /// Where the first one begins, if that was guessed.
    begin: Option<u64>,
    /// What begins there or behind it is another piece's.
    end: u64,
    /// Where the next one begins that was not gone past yet.
    at: u64,
    /// Whether that one is not whole, or odd, or there is no room for it.
    stopped: bool,
    /// The heads of its packets, and room for more.
    room: Box<[Head]>,
    count: usize,
}

/// Finds packets one by one, so that nobody waits for them to come from memory: meanwhile, something
/// else can be done.
#[derive(Debug)]
pub(super) struct Chains {
    pcap: Pcap,
    /// Those that are gone through, in the order of the file from `first` on, and around.
    pieces: [Piece; TOGETHER],
    first: usize,
    /// Which one is gone on with next.
    turn: usize,
    /// Where the first piece begins that is not among them.
    upcoming: u64,
    /// The seconds of some packet's time.
    seconds: u32,
}

impl Piece {
    /// One without packets before a place.
    pub(super) fn before(at: u64) -> Self {
        let room = vec![Head::default(); HEADS].into_boxed_slice();
        Self { begin: None, end: at, at, stopped: false, room, count: 0 }
    }

    /// Forgets all its packets, of which the first one begins at `at`, and that there may be more.
    pub(super) fn stop_at(&mut self, at: u64) {
        (self.at, self.stopped, self.count) = (at, true, 0);
    }

    fn begin_at(&mut self, begin: Option<u64>) {
        self.begin = begin;
        (self.at, self.stopped, self.count) = (begin.unwrap_or(self.end), false, 0);
    }

    /// Whether there may be more packets in it.
    #[inline]
    fn goes_on(&self) -> bool {
        self.at < self.end && !self.stopped
    }

    /// Goes past one packet, if there is one.
    #[inline]
    fn step(&mut self, view: View<'_>, pcap: &Pcap) {
        if !self.goes_on() {
            return;
        }
        let Some(next) = self.copy(view, pcap) else {
            self.stopped = true;
            return;
        };
        self.count += 1;
        self.at = next;
        for byte in [0, LINE, size_of::<Head>() - 1] {
            view.fetch(next + byte as u64);
        }
    }

    /// Copies the head of a packet, if there is room for it and it is whole and usual. Returns where the next one
    /// begins.
    #[inline]
    fn copy(&mut self, view: View<'_>, pcap: &Pcap) -> Option<u64> {
        let words = view.words::<HEAD>(self.at)?;
        let next = after(view, pcap, self.at, word_in(words, self.at, WORD))?;
        let head = self.room.get_mut(self.count)?;
        for (copy, word) in head.iter_mut().zip(words) {
            *copy = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        Some(next)
    }

    /// Some place in the window in which its packets begin.
    #[inline]
    pub(super) fn place(&self) -> u64 {
        self.end - 1
    }

    /// Where the first packet begins that is not among its own.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Whether that one is not whole, or odd, or there is no room for it.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The heads of its packets, which are without a gap between them.
    pub(super) fn heads(&self) -> &[Head] {
        self.room.get(..self.count).unwrap_or_default()
    }
}

impl Chains {
    /// Begins with the packet at `begin`.
    pub(super) fn new(pcap: Pcap, begin: u64, windows: &mut Windows) -> Self {
        let pieces = std::array::from_fn(|_| Piece::before(1));
        let mut chains = Self { pcap, pieces, first: 0, turn: 0, upcoming: begin, seconds: 0 };
        if windows.show(begin) {
            chains.see_time(windows.views()[Windows::number(begin)], begin);
        }
        for _ in 0..TOGETHER {
            chains.open(windows);
        }
        chains
    }

    /// Goes past one packet. Each time it is one of another piece, so that its head has had time to come.
    #[inline]
    pub(super) fn step(&mut self, views: &[View<'_>; 2], pcap: &Pcap) {
        self.turn = (self.turn + 1) % TOGETHER;
        let piece = &mut self.pieces[self.turn];
        piece.step(views[Windows::number(piece.place())], pcap);
    }

    /// Goes past all packets that belong to the first piece, of which the first one begins at `begin`, and
    /// gives it away. In exchange it takes one that is not needed any more.
    pub(super) fn take(&mut self, begin: u64, windows: &mut Windows, taken: &mut Piece) {
        let piece = &mut self.pieces[self.first];
        if piece.begin != Some(begin) {
            piece.begin_at(Some(begin));
        }
        let views = windows.views();
        // The others are gone on with meanwhile: nobody waits for one packet after another.
        let pcap = self.pcap;
        while self.pieces[self.first].goes_on() {
            self.step(&views, &pcap);
        }
        let piece = &mut self.pieces[self.first];
        let view = views[Windows::number(piece.place())];
        mem::swap(piece, taken);
        self.see_time(view, begin);
        self.open(windows);
    }

    /// Keeps the time of a packet.
    fn see_time(&mut self, view: View<'_>, at: u64) {
        if let Some(words) = view.words(at) {
            self.seconds = self.pcap.seconds(word_in::<2>(words, at, 0));
        }
    }

    /// Puts the next piece in the place of the first one, and guesses where in it a packet begins.
    fn open(&mut self, windows: &mut Windows) {
        let from = self.upcoming;
        self.upcoming = (from / LENGTH + 1) * LENGTH;
        let is_shown = windows.show(from);
        let views = windows.views();
        let view = views[Windows::number(from)];
        let begin = is_shown.then(|| guess(view, &self.pcap, from, self.seconds)).flatten();
        let piece = &mut self.pieces[self.first];
        self.first = (self.first + 1) % TOGETHER;
        piece.end = self.upcoming;
        piece.begin_at(begin);
        view.fetch(piece.at);
        for byte in (0..FETCHED).step_by(LINE) {
            views[Windows::number(self.upcoming)].fetch(self.upcoming + byte);
        }
    }
}

/// Where the packet after the one at `at` begins, if that one is whole and usual, by the second half of its
/// header.
#[inline]
fn after(view: View<'_>, pcap: &Pcap, at: u64, half: [u8; WORD]) -> Option<u64> {
    let (captured, wire) = pcap.lengths(half);
    let length = pcap.header_length() + captured as usize;
    let next = at + length as u64;
    let is_usual = length <= MAX_RECORD && captured <= wire;
    (is_usual && next <= view.length).then_some(next)
}

/// Where it seems that a packet begins, at `from` or not long after it.
fn guess(view: View<'_>, pcap: &Pcap, from: u64, seconds: u32) -> Option<u64> {
    let end = (from + SEARCHED).min(view.length);
    let zero = pcap.zero_byte_of_usual_lengths();
    (from - from % WORD as u64..end).step_by(WORD).find_map(|word| {
        // All places in a word have the same ones behind them.
        let words = view.words::<3>(word)?.each_ref();
        let [first, second, third] = words.map(|it| u64::from_le(it.load(Ordering::Relaxed)));
        // What tells most other places from the beginnings of packets comes first, for all of them at once.
        let [of_second, of_third] = [second, third].map(zero_bytes);
        let zeros = |place| u64::from_le_bytes(between(of_second, of_third, place));
        let possible = zeros(zero) & zeros(zero + 4);
        if possible == 0 {
            return None;
        }
        let is_like_one = |place: u64| {
            possible >> (8 * place) & 0x80 != 0
                && pcap.has_usual_lengths(between(second, third, place))
                && pcap.has_usual_time(between(first, second, place), seconds)
        };
        let places = (0..WORD as u64).filter(|&place| is_like_one(place));
        let mut places = places.map(|place| word + place);
        places.find(|&at| (from..end).contains(&at) && is_plausible(view, pcap, at, seconds))
    })
}

fn is_plausible(view: View<'_>, pcap: &Pcap, mut at: u64, seconds: u32) -> bool {
    (0..FOLLOWING).all(|_| {
        let Some(words) = view.words::<3>(at) else { return false };
        let second = word_in(words, at, WORD);
        let is_plausible =
            pcap.has_usual_lengths(second) && pcap.has_usual_time(word_in(words, at, 0), seconds);
        let next = if is_plausible { after(view, pcap, at, second) } else { None };
        at = next.unwrap_or(at);
        next.is_some()
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use super::{super::tests::heads::copied, *};

    const SECONDS: u32 = 1_700_000_000;

    #[test]
    fn in_each_piece_it_is_guessed_where_its_first_packet_begins() {
        for is_big in [false, true] {
            let bytes = |word: u32| if is_big { word.to_be_bytes() } else { word.to_le_bytes() };
            let mut header = [0xa1b2_c3d4, 0, 0, 0, 0, 1].map(bytes).as_flattened().to_vec();
            header[4..8].copy_from_slice(if is_big { &[0, 2, 0, 4] } else { &[2, 0, 4, 0] });
            let (mut file, mut begins) = (header.clone(), Vec::new());
            let mut random = 1_u64;
            while file.len() < 4 * PIECE {
                let mut next = || {
                    random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    (random >> 33) as u32
                };
                let length = next() % 1500;
                begins.push(file.len() as u64);
                let at = [SECONDS + next() % 1000, next() % 1_000_000];
                file.extend(at.into_iter().chain([length, length]).flat_map(bytes));
                let is_empty = next().is_multiple_of(2);
                file.extend(
                    (0..length).map(|_| if is_empty { 0 } else { next().to_le_bytes()[0] }),
                );
            }
            let mut out = tempfile::tempfile().unwrap();
            out.write_all(&file).unwrap();
            let order = Pcap::detect(header[..4].try_into().unwrap()).unwrap();
            let (pcap, _) = Pcap::new(order, header.as_slice().try_into().unwrap()).unwrap();
            let memory = |it: &File| copied(it, u64::MAX);
            let mut windows = Windows::new(&out, memory).unwrap();
            assert!(windows.show(0));
            let [view, _] = windows.views();
            for from in [LENGTH, 2 * LENGTH, 3 * LENGTH, LENGTH + 1, LENGTH + 7] {
                let first = begins.iter().copied().find(|&begin| begin >= from);
                assert_eq!(guess(view, &pcap, from, SECONDS), first, "{from}, big: {is_big}");
            }
        }
    }
}
