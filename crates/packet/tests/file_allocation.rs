//! Reading and writing captures allocates for files, and not for packets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use allocation_counter::measure;
use netglass_model::Timestamp;
use netglass_packet::{
    LinkType, Packet,
    file::{Interface, InterfaceStatistics, Notes, Reader, Section, Writer},
};

const FEW: u32 = 10_000;
const MANY: u32 = 50_000;

fn write(path: &Path, packets: u32) {
    let mut writer = Writer::create(path, &Section::default()).unwrap();
    writer.add_interface(&Interface {
        name: "eth0".to_owned(),
        link_type: LinkType::ETHERNET,
        snapshot_length: 0,
        filter: String::new(),
        statistics: InterfaceStatistics::default(),
    });
    for number in 0..packets {
        let packet = Packet {
            at: Timestamp::from_nanoseconds(number.into()),
            link_type: LinkType::ETHERNET,
            interface: 0,
            wire_length: 60,
            bytes: &[7; 60],
        };
        writer.write(&packet, Notes { comment: "pid=1 comm=init", sender: Some(1) }).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), 0);
}

fn read(path: &Path) -> usize {
    let mut reader = Reader::open(path).unwrap();
    let mut packets = 0;
    loop {
        let batch = reader.next_batch().unwrap();
        if batch.is_empty() {
            return packets;
        }
        packets += batch.packets().filter(|packet| packet.bytes == [7; 60]).count();
    }
}

#[test]
fn many_packets_take_as_many_allocations_as_few() {
    let directory = tempfile::tempdir().unwrap();
    let (few, many) = (directory.path().join("few"), directory.path().join("many"));
    let written = [measure(|| write(&few, FEW)), measure(|| write(&many, MANY))];
    assert_eq!(written[0].count_total, written[1].count_total);
    let taken = [
        measure(|| assert_eq!(read(&few), FEW as usize)),
        measure(|| assert_eq!(read(&many), MANY as usize)),
    ];
    assert_eq!(taken[0].count_total, taken[1].count_total);
    assert!(taken[1].bytes_max < 2 << 20, "{taken:?}");
}
