//! Captures written, and read by others; and a disk that is really full.

use std::{env, fs, path::Path, process::Command, time::Duration};

use netglass_model::Timestamp;
use netglass_packet::{
    LinkType, Packet,
    file::{
        FileError, Interface, InterfaceStatistics, Notes, Rotation, RotationSettings, Section,
        Writer, Written,
    },
};
use netglass_testing::require;

use crate::support::{fields, read_all, run};

/// An Ethernet header, and nothing that is of any protocol.
const FRAME: [u8; 61] = {
    let mut frame = [0; 61];
    frame[12] = 0x88;
    frame[13] = 0xb5;
    frame
};
/// Where the inner half of a test that fills a disk finds it.
const DIRECTORY: &str = "NETGLASS_TEST_SMALL_DISK";

fn interface(name: &str, link_type: LinkType) -> Interface {
    Interface {
        name: name.to_owned(),
        link_type,
        snapshot_length: 262_144,
        filter: "tcp port 80".to_owned(),
        statistics: InterfaceStatistics::default(),
    }
}

fn section() -> Section {
    Section {
        hardware: "x86_64".to_owned(),
        system: "Linux 6.1".to_owned(),
        application: "Netglass 0.1.0".to_owned(),
    }
}

fn frame(seconds: i64) -> Packet<'static> {
    Packet {
        at: Timestamp::from_nanoseconds(seconds * 1_000_000_000 + 123_456_789),
        link_type: LinkType::ETHERNET,
        interface: 0,
        wire_length: 1_500,
        bytes: &FRAME,
    }
}

#[test]
fn tshark_shows_what_is_written() {
    require!(command("tshark"), command("capinfos"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.pcapng");
    let mut writer = Writer::create(&path, &section()).unwrap();
    writer.add_interface(&interface("eth0", LinkType::ETHERNET));
    let comment = "pid=4711 comm=curl container=büro";
    writer.write(&frame(1_700_000_000), Notes { comment, sender: Some(4711) }).unwrap();
    // An interface that comes later.
    writer.add_interface(&interface("tun0", LinkType::RAW));
    let bytes = &[0x45; 20];
    let raw = Packet { interface: 1, link_type: LinkType::RAW, wire_length: 20, bytes, ..frame(1) };
    writer.write(&raw, Notes::default()).unwrap();
    let statistics = InterfaceStatistics { received: Some(9), dropped: Some(7), ..<_>::default() };
    writer.set_statistics(0, statistics);
    assert_eq!(writer.finish().unwrap(), 0);

    let shown = fields(
        &path,
        &[
            "frame.time_epoch",
            "frame.len",
            "frame.cap_len",
            "frame.interface_name",
            "frame.comment",
            "frame.encap_type",
        ],
    );
    let expected = [
        ["1700000000.123456789", "1500", "61", "eth0", comment, "1"],
        ["1.123456789", "20", "20", "tun0", "", "7"],
    ];
    assert_eq!(shown, expected);
    let output = run("capinfos", &["-M"], &[&path]);
    let text = String::from_utf8_lossy(&output.stdout);
    for shown in [
        "Capture hardware:    x86_64",
        "Capture oper-sys:    Linux 6.1",
        "Capture application: Netglass 0.1.0",
        "Name = eth0",
        "Filter string = tcp port 80",
        "Time precision = nanoseconds (9)",
        "Number of stat entries = 1",
    ] {
        assert!(text.contains(shown), "{shown} is not in {text}");
    }
}

/// The option is younger than the `tshark` of most systems, which then says nothing of it; so it is
/// looked for by its number (draft-ietf-opsawg-pcapng, 4.3).
#[test]
fn the_sender_stands_in_the_option_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.pcapng");
    let mut writer = Writer::create(&path, &section()).unwrap();
    writer.add_interface(&interface("eth0", LinkType::ETHERNET));
    writer.write(&frame(1), Notes { comment: "", sender: Some(0x1234) }).unwrap();
    writer.finish().unwrap();
    let file = fs::read(&path).unwrap();
    let option = [8, 0, 8, 0, 0x34, 0x12, 0, 0, 0, 0, 0, 0];
    assert!(file.windows(option.len()).any(|bytes| bytes == option));
}

/// The files of a directory, and how many packets each has.
fn files(directory: &Path) -> Vec<(String, usize)> {
    let mut files = Vec::new();
    for entry in directory.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let mut packets = 0;
        let interfaces = read_all(&path, |_| packets += 1).unwrap();
        assert_eq!(interfaces.len(), 1, "each file describes its interfaces");
        files.push((path.file_name().unwrap().to_str().unwrap().to_owned(), packets));
    }
    files.sort();
    files
}

/// The files that are left of packets that come every second.
fn rotated(name: &str, settings: RotationSettings, packets: i64) -> Vec<(String, usize)> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    let begin = Timestamp::from_nanoseconds(123_456_789);
    let mut rotation = Rotation::create(&path, settings, section(), begin).unwrap();
    assert_eq!(rotation.add_interface(&interface("eth0", LinkType::ETHERNET)), 0);
    for second in 0..packets {
        if rotation.write(&frame(second), Notes::default()).unwrap() == Written::Enough {
            break;
        }
    }
    rotation.finish().unwrap();
    assert_eq!(rotation.lost(), 0);
    files(directory.path())
}

/// What fits before the next file begins: the descriptions take 164 bytes, each packet 96, and the
/// one that goes beyond the size is still taken.
const THREE_PACKETS: u64 = 164 + 2 * 96 + 1;

fn named(files: &[(&str, usize)]) -> Vec<(String, usize)> {
    files.iter().map(|(name, packets)| ((*name).to_owned(), *packets)).collect()
}

#[test]
fn without_settings_there_is_one_file() {
    assert_eq!(rotated("x", RotationSettings::default(), 10), named(&[("x", 10)]));
}

#[test]
fn by_size_numbers_follow_the_name_from_the_second_file_on() {
    let settings = RotationSettings { size: Some(THREE_PACKETS), ..<_>::default() };
    assert_eq!(rotated("x", settings, 8), named(&[("x", 3), ("x1", 3), ("x2", 2)]));
}

#[test]
fn a_limited_number_of_files_is_written_over_in_turn() {
    let settings = RotationSettings { size: Some(THREE_PACKETS), files: Some(3), ..<_>::default() };
    assert_eq!(rotated("x", settings, 11), named(&[("x0", 2), ("x1", 3), ("x2", 3)]));
    let wide = RotationSettings { files: Some(11), ..settings };
    assert_eq!(rotated("x", wide, 4), named(&[("x00", 3), ("x01", 1)]));
    let one = RotationSettings { files: Some(1), ..settings };
    assert_eq!(rotated("x", one, 4), named(&[("x", 1)]));
}

#[test]
fn by_time_the_name_is_made_of_it() {
    let settings = RotationSettings { interval: Some(Duration::from_secs(4)), ..<_>::default() };
    assert_eq!(rotated("x-%s", settings, 10), named(&[("x-0", 4), ("x-4", 4), ("x-8", 2)]));
    assert_eq!(rotated("x", settings, 10), named(&[("x", 2)]));
}

#[test]
fn by_time_nothing_is_written_after_the_last_file() {
    let interval = Some(Duration::from_secs(4));
    let settings = RotationSettings { interval, files: Some(2), ..<_>::default() };
    assert_eq!(rotated("x-%s", settings, 100), named(&[("x-0", 4), ("x-4", 4)]));
}

#[test]
fn by_both_the_number_follows_the_time() {
    let interval = Some(Duration::from_secs(4));
    let settings = RotationSettings { interval, size: Some(THREE_PACKETS), files: None };
    assert_eq!(rotated("x-%s.", settings, 5), named(&[("x-0.", 3), ("x-0.1", 1), ("x-4.", 1)]));
}

#[test]
fn packets_that_are_earlier_than_their_file_go_to_it_too() {
    let directory = tempfile::tempdir().unwrap();
    let interval = Some(Duration::from_secs(4));
    let settings = RotationSettings { interval, ..<_>::default() };
    let begin = frame(100).at;
    let mut rotation =
        Rotation::create(&directory.path().join("x-%s"), settings, section(), begin).unwrap();
    rotation.add_interface(&interface("eth0", LinkType::ETHERNET));
    for second in [100, 3, 102] {
        rotation.write(&frame(second), Notes::default()).unwrap();
    }
    rotation.finish().unwrap();
    assert_eq!(files(directory.path()), named(&[("x-100", 3)]));
}

#[test]
fn a_name_that_is_no_time_is_refused_before_anything_is_written() {
    let interval = Some(Duration::from_secs(4));
    let settings = RotationSettings { interval, ..<_>::default() };
    let created = Rotation::create("/tmp/x-%".as_ref(), settings, section(), Timestamp::default());
    let Err(error) = created else { panic!("it was taken") };
    assert!(matches!(error, FileError::Name { .. }), "{error}");
}

#[test]
fn standard_output_is_not_rotated() {
    let settings = RotationSettings { size: Some(1), ..<_>::default() };
    let created = Rotation::create("-".as_ref(), settings, section(), Timestamp::default());
    assert!(matches!(created, Err(FileError::NotRotatable)));
}

#[test]
fn a_directory_that_is_missing_is_told() {
    let created = Writer::create("/does/not/exist.pcapng".as_ref(), &section());
    let Err(error) = created else { panic!("it was made") };
    assert!(error.to_string().starts_with("cannot create /does/not/exist.pcapng: "), "{error}");
}

#[test]
fn a_full_disk_leaves_whole_packets_and_counts_the_others() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        return fill(Path::new(&directory));
    }
    require!(root, command("unshare"), command("mount"));
    let directory = tempfile::tempdir().unwrap();
    // In a mount namespace, so that the disk goes with whoever uses it.
    let script = "mount -t tmpfs -o size=700k,mode=700 tmpfs \"$1\" && exec \"$2\" --exact \
                  writing::a_full_disk_leaves_whole_packets_and_counts_the_others --nocapture";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command.arg(directory.path()).arg(env::current_exe().unwrap());
    let output = command.env(DIRECTORY, directory.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Fills the disk on which `directory` is, and goes on when there is room again.
fn fill(directory: &Path) {
    let path = directory.join("x.pcapng");
    let other = directory.join("other");
    fs::write(&other, vec![0; 150_000]).unwrap();
    let settings = RotationSettings::default();
    let mut rotation = Rotation::create(&path, settings, section(), Timestamp::default()).unwrap();
    rotation.add_interface(&interface("eth0", LinkType::ETHERNET));
    let mut packets = 0;
    let mut write_until = |rotation: &mut Rotation, interface, enough: u64| loop {
        packets += 1;
        let packet = Packet { interface, ..frame(1) };
        let result = rotation.write(&packet, Notes::default()).err();
        if result.is_some() || packets >= enough {
            return (packets, result);
        }
    };
    let (before, error) = write_until(&mut rotation, 0, u64::MAX);
    let Some(FileError::Write { end, lost, .. }) = &error else { panic!("{error:?}") };
    assert!(*lost > 0 && *lost < before);
    assert_eq!(*lost, rotation.lost());
    assert_eq!(*end, fs::metadata(&path).unwrap().len());
    assert!(error.as_ref().unwrap().to_string().contains("make room, or limit"), "{error:?}");
    assert_eq!(packets_of(&path), before - lost);

    // What is described while there is no room is there for the packets that come when there is.
    assert_eq!(rotation.add_interface(&interface("eth1", LinkType::ETHERNET)), 1);
    let (meanwhile, error) = write_until(&mut rotation, 1, u64::MAX);
    assert!(error.is_some() && meanwhile > before);
    let lost = rotation.lost();
    assert_eq!(packets_of(&path), meanwhile - lost);

    fs::remove_file(&other).unwrap();
    let (after, error) = write_until(&mut rotation, 1, meanwhile + 500);
    assert!(error.is_none(), "{error:?}");
    rotation.finish().unwrap();
    assert_eq!(rotation.lost(), lost);
    assert_eq!(packets_of(&path), after - lost);
}

/// How many packets are in a file without fault.
fn packets_of(path: &Path) -> u64 {
    let mut packets = 0;
    read_all(path, |_| packets += 1).unwrap();
    packets
}
