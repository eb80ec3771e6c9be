//! A capture file of any bytes, compressed or not, is read or refused; one that is cut off has the
//! packets that come before.
#![no_main]

use std::{io::Cursor, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use netglass_fuzz::{prefixes, splice};
use netglass_model::Timestamp;
use netglass_packet::{
    LinkType, Packet,
    file::{FileError, Interface, InterfaceStatistics, Notes, Reader, Section, Writer},
};

fuzz_target!(|data: &[u8]| {
    let [which, data @ ..] = data else { return };
    let samples = samples();
    let file = match samples.get(usize::from(*which) % (samples.len() + 1)) {
        Some(sample) => splice(sample, data),
        None => data.to_vec(),
    };
    let (whole, _) = read(&file);
    // What is compressed, or is no capture at all, is cut into something else.
    if !(file.starts_with(&PCAP) || file.starts_with(&PCAPNG)) {
        return;
    }
    for prefix in prefixes(&file) {
        let (packets, _) = read(prefix);
        assert!(whole.starts_with(&packets));
    }
});

const PCAP: [u8; 4] = [0xd4, 0xc3, 0xb2, 0xa1];
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// A packet of 8 bytes.
const RECORD: [u8; 24] = [1, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

/// What is read of a file, as far as it can be.
fn read(file: &[u8]) -> (Vec<(i64, Vec<u8>)>, Option<FileError>) {
    let mut packets = Vec::new();
    let mut reader = match Reader::new("input", Cursor::new(file.to_vec())) {
        Ok(reader) => reader,
        Err(error) => return (packets, Some(error)),
    };
    loop {
        match reader.next_batch() {
            Ok(batch) if batch.is_empty() => return (packets, None),
            Ok(batch) => packets.extend(
                batch.packets().map(|packet| (packet.at.as_nanoseconds(), packet.bytes.to_vec())),
            ),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return (packets, Some(error));
            }
        }
    }
}

/// Files without fault: one of each format.
fn samples() -> &'static [Vec<u8>; 2] {
    static SAMPLES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let mut header = [0; 24];
        header[..4].copy_from_slice(&PCAP);
        header[4..8].copy_from_slice(&[2, 0, 4, 0]);
        header[20] = 1;
        let samples = [[&header[..], &RECORD, &RECORD].concat(), pcapng()];
        for sample in &samples {
            let (packets, error) = read(sample);
            assert!(packets.len() == 2 && error.is_none(), "{error:?}");
        }
        samples
    })
}

fn pcapng() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sample");
    let mut writer = Writer::create(&path, &Section::default()).expect("a file");
    let interface = writer.add_interface(&Interface {
        name: "eth0".to_owned(),
        link_type: LinkType::ETHERNET,
        snapshot_length: 9,
        filter: "tcp".to_owned(),
        statistics: InterfaceStatistics { dropped: Some(3), ..InterfaceStatistics::default() },
    });
    for at in [5, 6] {
        let packet = Packet {
            at: Timestamp::from_nanoseconds(at),
            link_type: LinkType::ETHERNET,
            interface,
            wire_length: 60,
            bytes: &RECORD,
        };
        writer.write(&packet, Notes { comment: "pid=1", sender: Some(1) }).expect("it is written");
    }
    writer.finish().expect("it is written");
    std::fs::read(&path).expect("it is there")
}
