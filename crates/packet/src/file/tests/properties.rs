//! What holds of any file.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex},
};

use netglass_model::Timestamp;
use proptest::{collection::vec, prelude::*};

use super::samples::{Owned, Pcap, interfaces, ng, read, read_from, read_whole};
use crate::{
    LinkType,
    file::{FileError, Interface, InterfaceStatistics, Notes, Section, Writer},
};

const ETHERNET: Interface = Interface {
    name: String::new(),
    link_type: LinkType::ETHERNET,
    snapshot_length: 0,
    filter: String::new(),
    statistics: InterfaceStatistics { received: None, dropped: None, dropped_by_system: None },
};

/// What was written, which can be looked at while it is.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has room for so many bytes.
struct Small {
    written: Written,
    room: usize,
}

impl Write for Small {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.room.min(bytes.len());
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.room -= count;
        self.written.write(&bytes[..count])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives a few bytes at a time, and does not wait for the next ones.
struct Slow(Vec<u8>, usize, bool);

impl Read for Slow {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.2 = !self.2;
        if self.2 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let size = self.1.min(self.0.len()).min(into.len());
        into[..size].copy_from_slice(&self.0[..size]);
        self.0.drain(..size);
        Ok(size)
    }
}

fn interface() -> impl Strategy<Value = Interface> {
    let count = || proptest::option::of(any::<u64>());
    (any::<u16>(), any::<u32>(), "[a-zé0-9]{0,20}", "[a-z 0-9]{0,40}", [count(), count(), count()])
        .prop_map(|(link_type, snapshot_length, name, filter, [received, dropped, system])| {
            Interface {
                name,
                link_type: LinkType(link_type),
                snapshot_length,
                filter,
                statistics: InterfaceStatistics { received, dropped, dropped_by_system: system },
            }
        })
}

type Noted = (Owned, String, Option<u32>);

fn capture() -> impl Strategy<Value = (Vec<Interface>, Vec<Noted>)> {
    vec(interface(), 1..4).prop_flat_map(|interfaces| {
        let last = interfaces.len() - 1;
        let packet = (0..=i64::MAX, 0..=last, any::<u32>(), vec(any::<u8>(), 0..90));
        let packets = vec((packet, "[a-zé= ]{0,30}", proptest::option::of(any::<u32>())), 0..150);
        (Just(interfaces), packets).prop_map(|(interfaces, packets)| {
            let packets =
                packets.into_iter().map(|((at, number, wire, bytes), comment, sender)| {
                    let link_type = interfaces[number].link_type;
                    let number = u32::try_from(number).unwrap();
                    (Owned::new(at, link_type, number, wire, &bytes), comment, sender)
                });
            let packets = packets.collect();
            (interfaces, packets)
        })
    })
}

fn write(interfaces: &[Interface], packets: &[Noted]) -> Vec<u8> {
    let written = Written::default();
    let mut writer = Writer::to("x", written.clone(), &Section::default()).unwrap();
    for interface in interfaces {
        writer.add_interface(interface);
    }
    for (packet, comment, sender) in packets {
        writer.write(&packet.packet(), Notes { comment, sender: *sender }).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), 0);
    let bytes = written.0.lock().unwrap();
    bytes.clone()
}

fn pcap() -> impl Strategy<Value = Vec<u8>> {
    let magic = prop_oneof![Just(0xa1b2_c3d4), Just(0xa1b2_3c4d), Just(0xa1b2_cd34)];
    let packet = (any::<u32>(), any::<u32>(), vec(any::<u8>(), 0..90), any::<u32>());
    (any::<bool>(), magic, vec(packet, 0..100)).prop_map(|(big, magic, packets)| {
        let packets: Vec<_> =
            packets.iter().map(|(a, b, bytes, wire)| (*a, *b, &bytes[..], *wire)).collect();
        Pcap { big, magic, ..Pcap::default() }.file(&packets)
    })
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![pcap(), capture().prop_map(|(interfaces, packets)| write(&interfaces, &packets))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read_back((described, packets) in capture()) {
        let file = write(&described, &packets);
        let expected: Vec<_> = packets.into_iter().map(|(packet, ..)| packet).collect();
        prop_assert_eq!(read_whole(&file), expected);
        prop_assert_eq!(interfaces(&file).0, described);
    }

    #[test]
    fn a_file_that_is_cut_off_has_the_packets_before_that(file in file(), at in any::<prop::sample::Index>()) {
        let whole = read_whole(&file);
        let cut = &file[..at.index(file.len())];
        let (packets, end) = read(cut);
        prop_assert!(whole.starts_with(&packets));
        if let Some(end) = end {
            // One that is cut within its first bytes cannot be told from anything else.
            prop_assert!(end.is_cut() || cut.len() < 4, "{}", end);
        }
    }

    #[test]
    fn it_does_not_matter_how_much_comes_at_once(file in file(), size in 1_usize..300) {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&file).unwrap();
        let whole = read_whole(&file);
        for packed in [gzip.finish().unwrap(), zstd::encode_all(&file[..], 1).unwrap(), file] {
            let (packets, _, end) = read_from(Slow(packed, size, false));
            prop_assert!(end.is_none(), "{end:?}");
            prop_assert_eq!(&packets, &whole);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(file in file(), at in any::<prop::sample::Index>(), by in vec(any::<u8>(), 1..12)) {
        let mut file = file;
        let at = at.index(file.len());
        let end = file.len().min(at + by.len());
        file[at..end].copy_from_slice(&by[..end - at]);
        let (packets, _) = read(&file);
        let bytes: usize = packets.iter().map(|packet| packet.bytes.len()).sum();
        prop_assert!(bytes <= file.len());
    }

    #[test]
    fn what_a_pipe_does_not_take_is_counted(room in 200_usize..700_000, every in 1_usize..9_000) {
        const PACKETS: usize = 6_000;
        let written = Written::default();
        let small = Small { written: written.clone(), room };
        let mut writer = Writer::to("x", small, &Section::default()).unwrap();
        writer.add_interface(&ETHERNET);
        let packet = Owned::new(1, LinkType::ETHERNET, 0, 70, &[7; 70]);
        let mut told = 0;
        let mut count = |result| match result {
            Err(FileError::Write { lost, .. }) => told += lost,
            other => assert!(other.is_ok(), "{other:?}"),
        };
        for number in 1..=PACKETS {
            count(writer.write(&packet.packet(), Notes::default()));
            if number % every == 0 {
                count(writer.flush());
            }
        }
        count(writer.flush());
        prop_assert_eq!(told, writer.lost());
        let (packets, end) = read(&written.0.lock().unwrap());
        prop_assert!(end.is_none_or(|end| end.is_cut()));
        prop_assert_eq!(packets.len() as u64 + told, PACKETS as u64);
    }

    #[test]
    fn any_body_of_a_block_is_read_or_refused(kind in 0_u32..12, big in any::<bool>(), body in vec(any::<u8>(), 0..90)) {
        let start = [ng::section(big), ng::interface(big, 1, 96, &[])].concat();
        let (packets, _) = read(&[start, ng::block(big, kind, &body)].concat());
        prop_assert!(packets.iter().all(|packet| packet.bytes.len() <= body.len()));
    }
}

#[test]
fn a_moment_before_1970_is_written_as_1970() {
    let packet = Owned::new(-5, LinkType::ETHERNET, 0, 3, b"abc");
    assert_eq!(packet.packet().at, Timestamp::from_nanoseconds(-5));
    let file = write(&[ETHERNET], &[(packet, String::new(), None)]);
    assert_eq!(read_whole(&file)[0].at, 0);
}
