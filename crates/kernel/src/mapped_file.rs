//! A file in memory, whatever others do to it.
//!
//! Who touches a page of a mapped file that the file does not have any more, or that cannot be read,
//! gets `SIGBUS`, which would end the program. Here there are zeros instead, and it is told that they
//! are not the file's.
#![expect(unsafe_code, reason = "there is no other way to map a file and to be told of such pages")]

mod bus_error;

use std::{
    ffi::c_void,
    fs::File,
    io::{self, IoSliceMut},
    num::NonZeroU64,
    os::unix::fs::FileExt as _,
    ptr, slice,
    sync::atomic::{AtomicBool, AtomicU64},
};

use netglass_packet::file::{FileMemory, MOST_SHOWN, WINDOW};
use rustix::{
    fs::{Advice, fadvise},
    io::{Errno, ReadWriteFlags, preadv2},
    mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap},
};

use self::bus_error::Guard;

/// How far apart the places are at which is asked whether a file is in memory, and how much is read where
/// it is not.
const ASKED: usize = 256 << 10;
const NOWAIT: ReadWriteFlags = ReadWriteFlags::NOWAIT;
/// How far behind the beginning of a window that is shown it is looked whether the file comes from a disk.
/// What is before that is under way then while the window is gone through.
const AHEAD: u64 = 32 << 20;
/// How much is asked for with each window: two of them take turns, and each asks for itself.
const AT_ONCE: u64 = 2 * WINDOW as u64;

/// A file that is mapped, one window of it after another.
#[derive(Debug)]
pub struct MappedFile {
    file: File,
    place: Place,
    /// How many bytes are shown.
    shown: usize,
    /// For what is read only to be in memory.
    room: Vec<u8>,
}

/// Memory for a window, where nothing else is.
#[derive(Debug)]
struct Place {
    /// All of it.
    memory: *mut c_void,
    /// Where the window begins in it: where pages that the system has put together can be.
    address: *mut c_void,
    guard: Guard,
}

/// Most systems put pages together to such of this size, where the file's and the memory's places allow for
/// it.
const LARGE_PAGE: usize = 2 << 20;
/// How much is taken for a window, wherever that is.
const TAKEN: usize = MOST_SHOWN + LARGE_PAGE;

// SAFETY: the memory is not of a thread. It is read through a shared borrow as atomic words, and
// changed through an exclusive one.
unsafe impl Send for Place {}

impl Place {
    /// As long as the longest window.
    fn new() -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: where it is, is left to the kernel, which chooses a place where nothing is.
        let memory = unsafe { mmap_anonymous(ptr::null_mut(), TAKEN, ProtFlags::READ, flags)? };
        let address = memory.map_addr(|address| address.next_multiple_of(LARGE_PAGE));
        match Guard::new(address.expose_provenance(), MOST_SHOWN) {
            Ok(guard) => Ok(Self { memory, address, guard }),
            Err(error) => {
                // SAFETY: it was mapped just now, and nobody knows of it.
                let _ = unsafe { munmap(memory, TAKEN) };
                Err(error)
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guard.end();
        // SAFETY: it was mapped with this length, and nobody borrows what is dropped.
        let _ = unsafe { munmap(self.memory, TAKEN) };
    }
}

impl MappedFile {
    /// Nothing is shown of the file yet.
    pub fn new(file: &File) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, place: Place::new()?, shown: 0, room: Vec::new() })
    }

    /// Has the system get to memory what of a part of the file it seems not to have there. What it gets
    /// because a mapping is looked at comes in small pieces, which takes longer to get and to map.
    fn fetch(&mut self, offset: u64, length: usize) -> io::Result<()> {
        self.ask_ahead(offset + AHEAD);
        for place in (0..length).step_by(ASKED) {
            let (offset, length) = (offset + place as u64, ASKED.min(length - place));
            if !self.is_at_hand(offset) {
                self.read(offset, length)?;
            }
        }
        Ok(())
    }

    /// Has the system get what comes before a place, while something else is done, if it seems not to have it.
    fn ask_ahead(&self, end: u64) {
        if self.is_at_hand(end - 1) {
            return;
        }
        // Most systems get no more than they read ahead, whatever they are asked for.
        for place in (end - AT_ONCE..end).step_by(ASKED) {
            // If one does not do so, it gets it once it is read.
            let _ = fadvise(&self.file, place, NonZeroU64::new(ASKED as u64), Advice::WillNeed);
        }
    }

    /// Whether the system has a place of the file in memory, if the file has it.
    fn is_at_hand(&self, offset: u64) -> bool {
        let mut byte = [0];
        preadv2(&self.file, &mut [IoSliceMut::new(&mut byte)], offset, NOWAIT).is_ok()
    }

    fn read(&mut self, offset: u64, length: usize) -> io::Result<()> {
        self.room.resize(ASKED, 0);
        let mut place = 0;
        while place < length {
            let room = self.room.get_mut(place..length).unwrap_or_default();
            match self.file.read_at(room, offset + place as u64) {
                // It ends sooner than it was thought to.
                Ok(0) => break,
                Ok(count) => place += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl FileMemory for MappedFile {
    fn show(&mut self, offset: u64, length: usize) -> io::Result<()> {
        if length > MOST_SHOWN {
            return Err(Errno::INVAL.into());
        }
        self.shown = 0;
        self.fetch(offset, length)?;
        let flags = MapFlags::SHARED | MapFlags::FIXED | MapFlags::POPULATE;
        // SAFETY: what is replaced is in the place, which is ours and is not shorter than this; nobody
        // has borrowed it, as this borrows all of it.
        unsafe { mmap(self.place.address, length, ProtFlags::READ, flags, &self.file, offset)? };
        self.place.guard.begin_anew();
        self.shown = length;
        Ok(())
    }

    fn words(&self) -> &[AtomicU64] {
        let count = self.shown.div_ceil(size_of::<AtomicU64>());
        // SAFETY: as many bytes are mapped for reading, as all of the last page is; where the file has none,
        // there are zeros, by the kernel or by the guard. The address is that of a page. Whatever is there
        // is a number. Others may write to the file, and the guard may map something else there:
        // words that are atomic may change, and loads of no more than a pointer's size may be of
        // memory that cannot be written to. It stays mapped for as long as this is borrowed.
        unsafe { slice::from_raw_parts(self.place.address.cast(), count) }
    }

    fn is_lost(&self) -> &AtomicBool {
        self.place.guard.has_met()
    }

    fn is_as_long(&self, length: u64) -> bool {
        self.file.metadata().is_ok_and(|it| it.len() >= length)
    }
}

#[cfg(test)]
mod tests {
    use std::{env, io::Write as _, path::Path, process::Command, sync::atomic::Ordering};

    use netglass_packet::{
        Packet,
        file::{FileError, PIECE, Reader, TakeHeads},
    };
    use netglass_testing::{require, requirement::STRICT, run, wait_for};

    use super::*;

    const PAGE: usize = 4096;

    fn file(length: usize) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..length).map(|place| (place / PAGE + 1).to_le_bytes()[0]).collect();
        file.write_all(&bytes).unwrap();
        file
    }

    fn bytes(mapped: &MappedFile, place: usize) -> [u8; 8] {
        mapped.words()[place / 8].load(Ordering::Relaxed).to_ne_bytes()
    }

    fn is_lost(mapped: &MappedFile) -> bool {
        mapped.is_lost().load(Ordering::Relaxed)
    }

    #[test]
    fn a_file_is_shown_by_windows() {
        let file = file(40 * PAGE + 3);
        let mut mapped = MappedFile::new(&file).unwrap();
        assert!(mapped.words().is_empty());
        mapped.show(0, 16 * PAGE).unwrap();
        assert_eq!(mapped.words().len(), 16 * PAGE / 8);
        assert_eq!((bytes(&mapped, 0), bytes(&mapped, 15 * PAGE)), ([1; 8], [16; 8]));
        mapped.show(16 * PAGE as u64, 24 * PAGE + 3).unwrap();
        assert_eq!(mapped.words().len(), 24 * PAGE / 8 + 1);
        assert_eq!(bytes(&mapped, 0), [17; 8]);
        assert_eq!(bytes(&mapped, 24 * PAGE), [41, 41, 41, 0, 0, 0, 0, 0]);
        assert!(!is_lost(&mapped));
        mapped.show(0, MOST_SHOWN + 1).unwrap_err();
        mapped.show(1, PAGE).unwrap_err();
    }

    #[test]
    fn what_the_file_has_no_more_is_zeros_and_not_intact() {
        let file = file(40 * PAGE);
        let mut mapped = MappedFile::new(&file).unwrap();
        let mut other = MappedFile::new(&file).unwrap();
        mapped.show(0, 32 * PAGE).unwrap();
        other.show(0, PAGE).unwrap();
        file.set_len(2 * PAGE as u64).unwrap();
        assert!(mapped.is_as_long(2 * PAGE as u64) && !mapped.is_as_long(32 * PAGE as u64));
        // What is still there is not met by it.
        assert_eq!(bytes(&mapped, PAGE), [2; 8]);
        assert!(!is_lost(&mapped));
        assert_eq!(bytes(&mapped, 20 * PAGE), [0; 8]);
        // Nor does it count that it has become longer again.
        file.set_len(40 * PAGE as u64).unwrap();
        assert!(is_lost(&mapped) && mapped.is_as_long(32 * PAGE as u64));
        assert!(!is_lost(&other));
        // What is shown next is the file's again.
        mapped.show(0, 32 * PAGE).unwrap();
        assert_eq!(bytes(&mapped, PAGE), [2; 8]);
        assert!(!is_lost(&mapped));
    }

    /// How many bytes of a file are in memory. To ask the file itself would have the system read ahead.
    fn in_memory(path: &Path) -> u64 {
        let mut fincore = Command::new("fincore");
        let said = run(fincore.args(["--bytes", "--noheadings", "--output", "RES"]).arg(path));
        said.trim().parse().unwrap()
    }

    #[test]
    fn what_comes_from_a_disk_is_asked_for_ahead() {
        require!(command("fincore"));
        // Where temporary files are there may be no disk.
        let program = env::current_exe().unwrap();
        let folder = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![1; usize::try_from(2 * AHEAD).unwrap()]).unwrap();
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        if in_memory(&path) > 0 {
            assert!(env::var_os(STRICT).is_none(), "what is built is on no disk");
            eprintln!("skipped: what is built is on no disk");
            return;
        }
        MappedFile::new(&file).unwrap().show(0, WINDOW).unwrap();
        wait_for(|| (in_memory(&path) >= WINDOW as u64 + AT_ONCE).then_some(()));
    }

    #[test]
    fn one_may_be_shown_after_another() {
        let file = file(PAGE);
        for _ in 0..200 {
            let mut mapped = MappedFile::new(&file).unwrap();
            mapped.show(0, PAGE).unwrap();
            assert_eq!(bytes(&mapped, 0), [1; 8]);
        }
    }

    const PACKETS: usize = 40_000;
    const LENGTH: usize = 16 + 500;

    /// Counts packets that are as they were written, and cuts the file when it has seen some.
    struct Cutting {
        file: File,
        seen: usize,
        after: usize,
        length: u64,
    }

    impl TakeHeads for Cutting {
        fn take_head(&mut self, packet: &Packet<'_>) -> bool {
            assert_eq!(
                packet.at.as_nanoseconds(),
                i64::try_from(self.seen).unwrap() * 1_000_000_000
            );
            assert_eq!((packet.wire_length, packet.bytes[0]), (500, self.seen.to_le_bytes()[0]));
            self.seen += 1;
            if self.seen == self.after {
                self.file.set_len(self.length).unwrap();
            }
            true
        }

        fn take_whole(&mut self, packet: &Packet<'_>) {
            self.take_head(packet);
        }
    }

    /// How many packets are seen of a file that becomes shorter meanwhile, and what is told then.
    fn cut(after: usize, length: u64) -> (usize, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cut.pcap");
        let mut bytes =
            vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        bytes.extend([1, 0, 0, 0]);
        for number in 0..PACKETS {
            bytes.extend(u32::try_from(number).unwrap().to_le_bytes());
            bytes.extend([0, 0, 0, 0, 0xf4, 1, 0, 0, 0xf4, 1, 0, 0]);
            bytes.extend([number.to_le_bytes()[0]; 500]);
        }
        std::fs::write(&path, &bytes).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let mut cutting = Cutting { file, seen: 0, after, length };
        let map = |file: &File| Ok(Box::new(MappedFile::new(file)?) as Box<dyn FileMemory>);
        let mut reader = Reader::open_heads(&path, map).unwrap();
        let mut read = || {
            while reader.give_heads(1000, &mut cutting)? {}
            loop {
                let batch = reader.next_batch()?;
                if batch.is_empty() {
                    return Ok(());
                }
                batch.packets().for_each(|packet| cutting.take_whole(&packet));
            }
        };
        let end: Result<(), FileError> = read();
        let told = end.err().map_or(String::new(), |error| error.to_string());
        (cutting.seen, told.replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn a_file_that_becomes_shorter_while_it_is_read_ends_as_one_that_is_cut() {
        assert_eq!(cut(0, 0), (PACKETS, String::new()));
        // Within a header, within a packet, and between two, in this window and the next ones.
        for (packet, within) in [(5_000, 7), (5_000, 200), (20_000, 0), (20_000, 300), (39_999, 9)]
        {
            let length = 24 + packet * LENGTH + within;
            let (seen, told) = cut(1_000, length as u64);
            assert_eq!(seen, packet, "{told}");
            let begin = 24 + packet * LENGTH;
            let expected = if within == 0 {
                String::new()
            } else {
                format!(
                    "FILE is cut off: it ends at byte {length}, inside of what begins at byte \
                     {begin}; the packets before it were read"
                )
            };
            assert_eq!(told, expected);
        }
        // Before the place where it is read: what was looked at already counts.
        for after in [1, 1_000, 17_000, 39_000] {
            let (seen, told) = cut(after, 100);
            let looked_at = after..=after + PIECE / LENGTH;
            assert!(looked_at.contains(&seen), "{seen} after {after}");
            assert!(told.starts_with("FILE is cut off: it ends at byte 100, inside of"), "{told}");
        }
    }
}
