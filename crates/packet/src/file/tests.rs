//! Files put together by hand, and what is read of them.

pub(super) mod heads;
mod properties;
mod samples;

use std::io::{Cursor, Write as _};

use self::samples::{Owned, Pcap, ng, read, read_whole};
use super::*;
use crate::LinkType;

fn refusal(bytes: &[u8]) -> String {
    match Reader::new("x.pcap", Cursor::new(bytes.to_vec())) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn both_byte_orders_and_all_kinds_of_pcap_are_read() {
    for big in [false, true] {
        for (magic, nanoseconds) in [(0xa1b2_c3d4, 7_000), (0xa1b2_3c4d, 7), (0xa1b2_cd34, 7_000)] {
            let file = Pcap { big, magic, ..Pcap::default() }.file(&[(5, 7, b"abc", 60)]);
            let expected =
                Owned::new(5_000_000_000 + nanoseconds, LinkType::ETHERNET, 0, 60, b"abc");
            assert_eq!(read_whole(&file), [expected], "{magic:#x}");
        }
    }
}

#[test]
fn old_versions_of_pcap_have_the_lengths_the_other_way_round() {
    let file = |version| Pcap { version, ..Pcap::default() }.file(&[(0, 0, b"abc", 60)]);
    let swapped = |version| {
        let mut file = file(version);
        let (first, second) = file[32..40].split_at_mut(4);
        first.swap_with_slice(second);
        file
    };
    let lengths = |file: &[u8]| read_whole(file).iter().map(|p| p.wire_length).collect::<Vec<_>>();
    assert_eq!(lengths(&swapped((2, 2))), [60]);
    assert_eq!(lengths(&swapped((2, 3))), [60]);
    assert_eq!(lengths(&file((2, 3))), [60]);
    assert_eq!(lengths(&swapped((543, 0))), [60]);
}

#[test]
fn a_packet_may_be_said_to_be_shorter_than_what_was_captured_of_it() {
    let file = Pcap::default().file(&[(0, 0, b"abcdef", 2)]);
    let [packet] = &read_whole(&file)[..] else { panic!("one packet") };
    assert_eq!((packet.wire_length, &packet.bytes[..]), (2, &b"abcdef"[..]));
}

#[test]
fn interfaces_of_all_sections_are_told_apart() {
    let mut file = ng::section(false);
    file.extend(ng::interface(false, 1, 0, &[(2, b"eth0"), (9, &[9])]));
    file.extend(ng::interface(false, 113, 0, &[(9, &[3]), (14, &10_u64.to_le_bytes())]));
    file.extend(ng::packet(false, 1, 5, b"one", 3, &[]));
    file.extend(ng::packet(false, 0, 6, b"two", 3, &[(1, b"a comment")]));
    file.extend(ng::section(true));
    file.extend(ng::interface(true, 101, 0, &[(9, &[0x81])]));
    file.extend(ng::packet(true, 0, 3, b"three", 9, &[]));
    assert_eq!(
        read_whole(&file),
        [
            Owned::new(10_005_000_000, LinkType::LINUX_SLL, 1, 3, b"one"),
            Owned::new(6, LinkType::ETHERNET, 0, 3, b"two"),
            Owned::new(1_500_000_000, LinkType::RAW, 2, 9, b"three"),
        ]
    );
    let (interfaces, _) = samples::interfaces(&file);
    assert_eq!(interfaces[0].name, "eth0");
    assert_eq!(interfaces.len(), 3);
}

#[test]
fn simple_and_obsolete_packets_are_read() {
    for big in [false, true] {
        let mut file = ng::section(big);
        file.extend(ng::interface(big, 1, 4, &[]));
        file.extend(ng::obsolete_packet(big, 0, 7, b"obsolete", 8));
        file.extend(ng::simple_packet(big, b"simp", 60));
        assert_eq!(
            read_whole(&file),
            [
                Owned::new(7_000, LinkType::ETHERNET, 0, 8, b"obsolete"),
                // It has the time of the one before.
                Owned::new(7_000, LinkType::ETHERNET, 0, 60, b"simp"),
            ]
        );
    }
}

#[test]
fn what_an_interface_has_dropped_is_what_was_told_last() {
    let mut file = ng::section(true);
    file.extend(ng::interface(true, 1, 0, &[]));
    for dropped in [3_u64, 5] {
        let options: [(u16, &[u8]); 2] = [(4, &90_u64.to_be_bytes()), (5, &dropped.to_be_bytes())];
        file.extend(ng::statistics(true, 0, &options));
    }
    file.extend(ng::statistics(true, 0, &[(7, &1_u64.to_be_bytes())]));
    let (interfaces, end) = samples::interfaces(&file);
    assert!(end.is_none());
    let expected =
        InterfaceStatistics { received: Some(90), dropped: Some(5), dropped_by_system: Some(1) };
    assert_eq!(interfaces[0].statistics, expected);
}

#[test]
fn blocks_that_are_not_looked_into_may_be_longer_than_anything_that_is_held() {
    let mut file = ng::section(false);
    file.extend(ng::interface(false, 1, 0, &[]));
    file.extend(ng::block(false, 0x0000_0bad, &vec![7; MAX_RECORD + 4]));
    file.extend(ng::packet(false, 0, 1, b"behind", 6, &[]));
    assert_eq!(read_whole(&file).len(), 1);
    let cut = &file[..file.len() / 2];
    let (packets, end) = read(cut);
    assert!(packets.is_empty());
    assert!(end.unwrap().is_cut());
}

#[test]
fn compressed_files_are_unpacked_also_where_they_are_of_several_parts() {
    let file = Pcap::default().file(&[(1, 2, b"abc", 60), (3, 4, b"defg", 4)]);
    let expected = read_whole(&file);
    let (first, second) = file.split_at(30);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 0).unwrap();
    // What `pzstd` puts before each part.
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 9, 9, 9, 9];
    for compressed in [
        [gzip(first), gzip(second)].concat(),
        [zstd(first), zstd(second)].concat(),
        [&skippable[..], &zstd(first), &skippable, &zstd(second)].concat(),
    ] {
        assert_eq!(read_whole(&compressed), expected);
        let (packets, end) = read(&compressed[..compressed.len() - 6]);
        let end = end.unwrap();
        assert!(end.is_cut(), "{end}");
        assert!(end.to_string().contains("of what it unpacks to"), "{end}");
        assert!(expected.starts_with(&packets));
    }
}

#[test]
fn damage_inside_compressed_data_is_told_after_the_packets_before_it() {
    let mut compressed =
        zstd::encode_all(&Pcap::default().file(&[(1, 2, b"abc", 60)])[..], 0).unwrap();
    compressed.extend(*b"garbage");
    let (packets, end) = read(&compressed);
    assert_eq!(packets.len(), 1);
    assert!(matches!(end, Some(FileError::Read { .. })), "{end:?}");
}

#[test]
fn a_file_that_ends_inside_of_a_packet_says_where() {
    let file = Pcap::default().file(&[(1, 2, b"abc", 60), (3, 4, b"defg", 4)]);
    let (packets, end) = read(&file[..file.len() - 1]);
    assert_eq!(packets.len(), 1);
    let end = end.unwrap();
    assert!(end.is_cut());
    assert_eq!(
        end.to_string(),
        "x.pcap is cut off: it ends at byte 62, inside of what begins at byte 43; the packets before \
         it were read"
    );
}

#[test]
fn what_is_no_capture_is_refused_by_its_first_bytes() {
    assert_eq!(
        refusal(b""),
        "cannot read x.pcap: it is empty, without even the header of a capture"
    );
    assert_eq!(
        refusal(b"{\"a\": 1}"),
        "cannot read x.pcap: it is no capture in pcap or pcapng format, it begins with \
         7b 22 61 22 3a 20 31 7d (\"{\\\"a\\\": 1}\"); convert it with editcap of Wireshark, if that \
         knows its format"
    );
    assert!(refusal(b"\xfd7zXZ\0").ends_with("; it is compressed with xz: unpack it first"));
    assert!(refusal(b"x").contains("begins with 78"));
}

#[test]
fn a_header_that_is_cut_off_is_told_as_such() {
    let file = Pcap::default().file(&[]);
    assert!(refusal(&file[..20]).contains("cut off: it ends at byte 20"));
}

#[test]
fn absurd_lengths_end_a_file_with_what_is_wrong() {
    let mut file = Pcap::default().file(&[(1, 2, b"abc", 60)]);
    let offset = file.len();
    file.extend([0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let (packets, end) = read(&file);
    assert_eq!(packets.len(), 1);
    assert_eq!(
        end.unwrap().to_string(),
        format!(
            "cannot read x.pcap beyond byte {offset}: a packet of 4294967295 bytes follows, and none \
             has more than 16777216; the packets before it were read"
        )
    );
}

#[test]
fn damage_in_pcapng_is_told_by_what_it_is() {
    let start = [ng::section(false), ng::interface(false, 1, 0, &[])].concat();
    let damage = |block: Vec<u8>| match read(&[start.clone(), block].concat()) {
        (_, Some(FileError::Damaged { damage, offset, .. })) => {
            assert_eq!(offset.bytes, start.len() as u64);
            damage
        }
        (_, end) => panic!("{end:?}"),
    };
    let mut long = ng::packet(false, 0, 0, b"abcd", 4, &[]);
    long[20] = 200;
    assert_eq!(damage(long), Damage::PacketBeyondBlock { captured: 200, block: 36 });
    let mut unequal = ng::packet(false, 0, 0, b"abcd", 4, &[]);
    *unequal.last_mut().unwrap() = 1;
    assert!(matches!(damage(unequal), Damage::BlockLengths { first: 36, .. }));
    assert_eq!(
        damage(ng::packet(false, 7, 0, b"", 0, &[])),
        Damage::Interface { number: 7, described: 1 }
    );
    let mut unknown = ng::block(false, 0x4711, &[1, 2, 3, 4]);
    *unknown.last_mut().unwrap() = 1;
    assert!(matches!(damage(unknown), Damage::BlockLengths { first: 16, .. }));
    assert_eq!(damage(vec![6, 0, 0, 0, 13, 0, 0, 0]), Damage::BlockLength(13));
    assert_eq!(damage(ng::block(false, 6, &[])), Damage::BlockLength(12));
    let mut section = ng::section(false);
    section[8] = 0;
    assert_eq!(damage(section), Damage::ByteOrder(0x1a2b_3c00));
}

#[test]
fn after_an_error_there_is_nothing_more() {
    let file = Pcap::default().file(&[(1, 2, b"abc", 60)]);
    let mut reader = Reader::new("x.pcap", Cursor::new(file[..file.len() - 1].to_vec())).unwrap();
    assert!(reader.next_batch().is_err());
    assert!(reader.next_batch().unwrap().is_empty());
}

#[test]
fn a_missing_file_is_named() {
    let Err(error) = Reader::open("/does/not/exist.pcap".as_ref()) else { panic!("it was opened") };
    assert!(
        error.to_string().starts_with("cannot open /does/not/exist.pcap: No such file"),
        "{error}"
    );
}
