//! Heads of packets are those of the packets that are read.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use proptest::{collection::vec, prelude::*};

use super::samples::{Owned, Pcap, read};
use crate::{
    Packet,
    file::{FileError, FileMemory, MOST_SHOWN, Reader, TakeHeads, WINDOW},
};

/// A file that was read to memory, and is cut at `cut`, of which it is known by what is behind that.
struct Copied {
    file: File,
    words: Vec<AtomicU64>,
    is_lost: AtomicBool,
    cut: u64,
}

impl FileMemory for Copied {
    fn show(&mut self, offset: u64, length: usize) -> io::Result<()> {
        assert!(offset.is_multiple_of(WINDOW as u64) && length <= MOST_SHOWN);
        let mut bytes = vec![0; length.next_multiple_of(8)];
        self.file.read_exact_at(&mut bytes[..length], offset)?;
        let left = usize::try_from(self.cut.saturating_sub(offset)).unwrap_or(usize::MAX);
        if left < length {
            bytes[left..].fill(0);
            // Which the kernel would say only of the page behind.
            self.is_lost.store(true, Ordering::Relaxed);
        }
        let (words, _) = bytes.as_chunks();
        self.words = words.iter().map(|word| u64::from_ne_bytes(*word).into()).collect();
        Ok(())
    }

    fn words(&self) -> &[AtomicU64] {
        &self.words
    }

    fn is_lost(&self) -> &AtomicBool {
        &self.is_lost
    }

    fn is_as_long(&self, length: u64) -> bool {
        self.cut >= length
    }
}

/// A file that is cut so.
pub(in crate::file) fn copied(file: &File, cut: u64) -> io::Result<Box<dyn FileMemory>> {
    let (file, words, is_lost) = (file.try_clone()?, Vec::new(), AtomicBool::new(false));
    Ok(Box::new(Copied { file, words, is_lost, cut }))
}

fn open(path: &Path, cut: u64) -> Result<Reader, FileError> {
    Reader::open_heads(path, |file| copied(file, cut))
}

/// Takes packets, of some only as a whole.
#[derive(Default)]
struct Taken {
    packets: Vec<Owned>,
    heads: Vec<usize>,
    fails: usize,
}

fn owned(packet: &Packet<'_>) -> Owned {
    Owned {
        at: packet.at.as_nanoseconds(),
        link_type: packet.link_type,
        interface: packet.interface,
        wire_length: packet.wire_length,
        bytes: packet.bytes.to_vec(),
    }
}

impl TakeHeads for Taken {
    fn take_head(&mut self, packet: &Packet<'_>) -> bool {
        if (self.packets.len() + 1).is_multiple_of(self.fails) {
            return false;
        }
        self.heads.push(self.packets.len());
        self.packets.push(owned(packet));
        true
    }

    fn take_whole(&mut self, packet: &Packet<'_>) {
        self.packets.push(owned(packet));
    }
}

/// What is read of a file.
fn read_heads(path: &Path, cut: u64, fails: usize) -> (Taken, Option<FileError>) {
    let mut taken = Taken { fails, ..Taken::default() };
    let end = read_all(path, cut, &mut taken).err();
    (taken, end)
}

fn read_all(path: &Path, cut: u64, taken: &mut Taken) -> Result<(), FileError> {
    let mut reader = open(path, cut)?;
    while reader.give_heads(100, taken)? {}
    loop {
        let batch = reader.next_batch()?;
        if batch.is_empty() {
            return Ok(());
        }
        batch.packets().for_each(|packet| taken.take_whole(&packet));
    }
}

/// Packets of such lengths, over and over, in so many bytes. Where `hostile`, they are full of what looks
/// like other packets.
fn file(pcap: &Pcap, lengths: &[usize], hostile: bool, size: usize) -> Vec<u8> {
    let inner: Vec<_> = (0..40).map(|number| (1000 + number, 5, &[9; 20][..], 20)).collect();
    let fake = pcap.file(&inner)[24..].repeat(2);
    let mut packets = Vec::new();
    let mut total = 0;
    for (number, &length) in lengths.iter().cycle().enumerate() {
        if total > size {
            break;
        }
        total += length + 16;
        let mut bytes: Vec<u8> =
            (0..length).map(|it| ((it * 7) ^ number).to_le_bytes()[0]).collect();
        if hostile && length > 100 {
            let from = number % 17;
            bytes[from..].copy_from_slice(&fake[..length - from]);
        }
        packets.push((1000 + u32::try_from(number / 100).unwrap(), 7, bytes));
    }
    let longer = u32::from(size.is_multiple_of(2));
    let packets: Vec<_> = packets
        .iter()
        .map(|(at, part, bytes)| {
            (*at, *part, &bytes[..], u32::try_from(bytes.len()).unwrap() + longer)
        })
        .collect();
    pcap.file(&packets)
}

/// The number of heads.
fn assert_alike(path: &Path, bytes: &[u8], cut: u64, fails: usize, context: &str) -> usize {
    fs::write(path, bytes).unwrap();
    let (mut expected, expected_end) = read(bytes);
    let (found, end) = read_heads(path, cut, fails);
    assert_eq!(found.packets.len(), expected.len(), "{context}");
    for &head in &found.heads {
        let (bytes, shown) = (&mut expected[head].bytes, found.packets[head].bytes.len());
        assert!(shown >= bytes.len().min(64), "{context}");
        bytes.truncate(shown);
    }
    assert!(found.packets == expected, "{context}");
    let told = |end: Option<FileError>| {
        end.map(|it| it.to_string().replace(&path.display().to_string(), "x.pcap"))
    };
    assert_eq!(told(end), told(expected_end), "{context}");
    found.heads.len()
}

#[test]
fn heads_are_of_the_packets_that_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.pcap");
    for (big, magic) in [(false, 0xa1b2_c3d4), (true, 0xa1b2_3c4d), (false, 0xa1b2_cd34)] {
        let pcap = Pcap { big, magic, ..Pcap::default() };
        for hostile in [false, true] {
            let lengths = [60, 66, 1514, 0, 90, 333, 72, 73, 74, 1200];
            let bytes = file(&pcap, &lengths, hostile, 3_000_000);
            let heads = assert_alike(&path, &bytes, u64::MAX, 10, &format!("{magic:x} {hostile}"));
            assert!(heads > 6000, "{heads}");
        }
    }
}

#[test]
fn packets_may_be_across_windows_and_longer_than_these() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.pcap");
    let bytes = file(&Pcap::default(), &[1514, 70_000, 60], false, 2 * WINDOW + 12_345);
    let heads = assert_alike(&path, &bytes, u64::MAX, 100, "two windows");
    assert!(heads > 600, "{heads}");
    for long in [WINDOW + 5, 2 * WINDOW - 100] {
        let bytes = file(&Pcap::default(), &[900, 900, long, 900], false, 2 * long);
        let heads = assert_alike(&path, &bytes, u64::MAX, 100, "a long one");
        assert_eq!(heads, 7);
    }
}

#[test]
fn whole_packets_are_read_behind_the_heads_that_were_given() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.pcap");
    let bytes = file(&Pcap::default(), &[60, 1514, 300], false, 3_000_000);
    fs::write(&path, &bytes).unwrap();
    let (expected, _) = read(&bytes);
    for batches in 0..4 {
        let mut reader = open(&path, u64::MAX).unwrap();
        let mut taken = Taken { fails: 100, ..Taken::default() };
        for _ in 0..batches {
            assert!(reader.give_heads(70, &mut taken).unwrap());
        }
        assert_eq!(taken.packets.len(), 70 * batches);
        let offset = expected[..70 * batches].iter().map(|it| it.bytes.len() + 16).sum::<usize>();
        assert_eq!(reader.offset().bytes, offset as u64 + 24);
        let batch = reader.next_batch().unwrap();
        let next = batch.packets().next().unwrap();
        assert_eq!(next.bytes, expected[70 * batches].bytes, "after {batches}");
        assert!(!reader.give_heads(70, &mut taken).unwrap());
    }
}

#[test]
fn where_many_heads_are_not_enough_packets_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.pcap");
    let bytes = file(&Pcap::default(), &[1514, 300], false, 3_000_000);
    let heads = assert_alike(&path, &bytes, u64::MAX, 4, "many");
    assert!((500..2500).contains(&heads), "{heads}");
    // What is there anyway is no reason.
    let bytes = file(&Pcap::default(), &[60, 60, 60, 1514], false, 3_000_000);
    assert!(assert_alike(&path, &bytes, u64::MAX, 4, "short ones") > 4_000);
}

#[test]
fn heads_are_of_short_packets_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.pcap");
    let bytes = file(&Pcap::default(), &[60, 66, 300, 90], false, 3_000_000);
    assert!(assert_alike(&path, &bytes, u64::MAX, 10, "short ones") > 18_000);
    // Of those that are hardly more than their headers, there are too many.
    let bytes = file(&Pcap::default(), &[0, 4], false, 3_000_000);
    assert!(assert_alike(&path, &bytes, u64::MAX, 10, "hardly any") < 9_000);
}

#[test]
fn a_file_that_ends_too_early_is_told_as_it_always_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.pcap");
    let bytes = file(&Pcap::default(), &[60, 1514, 300], false, 1_500_000);
    for cut in [1, 7, 8, 15, 16, 17, 59, 60, 61, 80, 300, 316, 400, 2000] {
        let heads = assert_alike(&path, &bytes[..bytes.len() - cut], u64::MAX, 100, "cut");
        assert!(heads > 2000);
    }
    let mut damaged = bytes.clone();
    let from = damaged.len() / 2;
    damaged[from..].fill(0xff);
    assert!(assert_alike(&path, &damaged, u64::MAX, 9, "damaged") > 1000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_is_in_a_file_and_becomes_of_it_is_read_alike(
        big in any::<bool>(),
        lengths in vec(prop_oneof![0..200_usize, 0..2000_usize, 0..40_000_usize], 1..40),
        hostile in any::<bool>(),
        size in 1_100_000..1_500_000_usize,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in prop_oneof![Just(0), 0..20_000_usize],
        removed in prop_oneof![Just(u64::MAX), 0..1_500_000_u64],
        fails in 2..100_usize,
    ) {
        let lengths = if lengths.iter().sum::<usize>() < 100 { vec![60] } else { lengths };
        let hostile = hostile && lengths.iter().all(|&it| it < 2000);
        let mut bytes = file(&Pcap { big, ..Pcap::default() }, &lengths, hostile, size);
        for (place, byte) in changes {
            let place = place.index(bytes.len() - 24) + 24;
            bytes[place] = byte;
        }
        bytes.truncate(bytes.len() - cut);
        let directory = tempfile::tempdir().unwrap();
        assert_alike(&directory.path().join("x.pcap"), &bytes, removed, fails, "any");
    }
}
