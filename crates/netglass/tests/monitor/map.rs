//! A real perf event array, filled by a real program, which is read with `--map`.

use std::path::PathBuf;

use libbpf_rs::{MapCore as _, Object, ObjectBuilder, ProgramInput};
use netglass_testing::{BpfFileSystem, Running, Signal, require};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::support::{Ended, Place, drop, shown_drop, trace};

/// Where the kernel programs are; one writes the first 96 bytes of each packet that it is given.
const PROGRAM: &str = concat!(env!("NETGLASS_KERNEL_PROGRAMS"), "/perf_event_test.bpf.o");
const LENGTH: usize = 96;

/// A datapath whose events are pinned.
struct Datapath {
    object: Object,
    path: PathBuf,
    _pins: BpfFileSystem,
}

impl Datapath {
    fn new() -> Self {
        // On one processor, whose ring is then the one that is filled.
        let mut processors = CpuSet::new();
        processors.set(0);
        sched_setaffinity(None, &processors).unwrap();
        let mut object = ObjectBuilder::default().open_file(PROGRAM).unwrap().load().unwrap();
        let pins = BpfFileSystem::new();
        let path = pins.path("events");
        object.maps_mut().find(|map| map.name() == "events").unwrap().pin(&path).unwrap();
        Self { object, path, _pins: pins }
    }

    /// `netglass monitor --map`, as soon as it reads.
    fn monitor(&self, place: &Place, arguments: &[&str]) -> Running {
        let map = self.path.to_str().unwrap();
        let running = Running::spawn(place.netglass(&[&["--map", map], arguments].concat()));
        running.wait_until_it_catches(Signal::INT);
        // Signals are caught before the map is opened.
        netglass_testing::wait_for(|| self.write(&[0xc8]).then_some(()));
        running
    }

    /// Writes a notification; returns whether there was room for it.
    fn write(&self, notification: &[u8]) -> bool {
        let mut packet = notification.to_vec();
        packet.resize(LENGTH, 0);
        let program = self.object.progs_mut().next().unwrap();
        let input = ProgramInput { data_in: Some(&packet), ..ProgramInput::default() };
        program.test_run(input).unwrap().return_value == 0
    }
}

/// The bytes of a notification in hexadecimal.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[track_caller]
fn end(running: Running) -> Ended {
    running.signal(Signal::INT);
    let ended = Ended::of(running.wait());
    assert_eq!(ended.status, 0, "{ended:?}");
    ended
}

#[test]
fn a_map_that_a_program_fills_is_shown() {
    require!(ebpf);
    let (place, datapath) = (Place::new(), Datapath::new());
    let running = datapath.monitor(&place, &["--compat", "1.5"]);
    for event in [drop(133), trace(), drop(181)] {
        assert!(datapath.write(&bytes(&event)));
    }
    running.wait_for_lines("xx drop", 2);
    let ended = end(running);
    let lines: Vec<_> =
        ended.stdout.lines().filter(|line| !line.contains("Unknown event")).collect();
    assert_eq!(format!("{}\n", lines[0]), shown_drop("Policy denied (L3)"));
    assert!(lines[1].starts_with("<- endpoint 1022 "), "{lines:?}");
    assert_eq!(lines.len(), 3, "{ended:?}");
    ended.assert_ledger(
        "4 events = 3 shown + 0 filtered out + 1 of unknown types; 0 lost before they came",
    );
}

#[test]
fn what_a_map_had_no_room_for_is_told() {
    require!(ebpf);
    let (place, datapath) = (Place::new(), Datapath::new());
    let running = datapath.monitor(&place, &["-j"]);
    // Nobody reads meanwhile.
    running.signal(Signal::STOP);
    let event = bytes(&drop(133));
    let mut written = 0;
    while datapath.write(&event) {
        written += 1;
    }
    running.signal(Signal::CONT);
    // What was lost is told with what comes next.
    netglass_testing::wait_for(|| datapath.write(&event).then_some(()));
    running.wait_for_line("\"type\":\"lost\"");
    let ended = end(running);
    let objects = ended.objects();
    let drops = objects.iter().filter(|it| it["type"] == "drop").count();
    assert_eq!(drops, written + 1);
    let lost: u64 = objects.iter().filter_map(|it| it["lost"].as_u64()).sum();
    assert!(lost >= 1);
    let ledger = ended.stderr.lines().last().unwrap();
    assert!(ledger.ends_with(&format!("; {lost} lost before they came")), "{ledger}");
}
