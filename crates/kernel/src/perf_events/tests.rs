//! A real perf event array, filled by a real program.

use std::path::PathBuf;

use libbpf_rs::{Object, ObjectBuilder, ProgramInput};
use netglass_testing::{BpfFileSystem, require};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::*;

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/perf_event_test.bpf.o"));

/// How long an event of the program is, and what the kernel rounds it up by.
const EVENT: usize = 96;
const PADDING: usize = 4;

/// A program that writes to a map that is pinned.
struct Filler {
    object: Object,
    path: PathBuf,
    _pins: BpfFileSystem,
}

impl Filler {
    fn new() -> Self {
        let mut object = ObjectBuilder::default().open_memory(OBJECT).unwrap().load().unwrap();
        let pins = BpfFileSystem::new();
        let path = pins.path("events");
        object.maps_mut().find(|map| map.name() == "events").unwrap().pin(&path).unwrap();
        Self { object, path, _pins: pins }
    }

    /// Runs the program on a packet of this byte; returns whether it was written.
    fn write(&self, byte: u8) -> bool {
        let packet = [byte; EVENT];
        let program = self.object.progs_mut().next().unwrap();
        let input = ProgramInput { data_in: Some(&packet), ..ProgramInput::default() };
        program.test_run(input).unwrap().return_value == 0
    }
}

/// What is told, until nothing is.
fn poll(events: &mut PerfEvents) -> (Vec<Vec<u8>>, u64) {
    let (mut samples, mut lost) = (Vec::new(), 0);
    loop {
        let before = (samples.len(), lost);
        events.poll(Duration::from_millis(10), |event| match event {
            PerfEvent::Sample { data, .. } => samples.push(data.to_vec()),
            PerfEvent::Lost { count, .. } => lost += count,
        });
        if (samples.len(), lost) == before {
            return (samples, lost);
        }
    }
}

/// Has this thread run on one processor, whose ring is then the one that is filled.
fn stay() {
    let mut processors = CpuSet::new();
    processors.set(0);
    sched_setaffinity(None, &processors).unwrap();
}

#[test]
fn what_a_program_writes_is_read_in_order() {
    require!(root, ebpf);
    stay();
    let filler = Filler::new();
    assert!(!filler.write(0), "nobody reads yet");
    let mut events = PerfEvents::open(&filler.path).unwrap();
    for byte in 1..=200 {
        assert!(filler.write(byte));
    }
    let (samples, lost) = poll(&mut events);
    let first: Vec<_> = samples.iter().map(|data| data[0]).collect();
    assert_eq!((first, lost), ((1..=200).collect(), 0));
    for data in samples {
        assert_eq!(data.len(), EVENT + PADDING);
        assert_eq!(data[..EVENT], [data[0]; EVENT]);
    }
}

#[test]
fn what_finds_no_room_is_counted() {
    require!(root, ebpf);
    stay();
    let filler = Filler::new();
    let mut events = PerfEvents::open(&filler.path).unwrap();
    let mut written = 0;
    while filler.write(1) {
        written += 1;
    }
    assert!(written > 1000);
    let refused = 1 + (0..9).filter(|_| !filler.write(1)).count() as u64;
    let (samples, _) = poll(&mut events);
    assert_eq!(samples.len(), written);
    assert!(filler.write(2), "there is room again");
    let (samples, lost) = poll(&mut events);
    assert_eq!((samples.len(), lost), (1, refused));
}

#[test]
fn processors_are_read_from_a_list() {
    assert_eq!(parse_processors("0-3,6\n"), [0, 1, 2, 3, 6]);
    assert_eq!(parse_processors("0\n"), [0]);
    assert!(parse_processors("").is_empty() && !processors().unwrap().is_empty());
}

#[test]
fn what_is_no_perf_event_array_is_refused() {
    require!(root, ebpf);
    let pins = BpfFileSystem::new();
    let missing = PerfEvents::open(&pins.path("netglass-nothing")).unwrap_err();
    assert!(missing.to_string().contains("netglass-nothing"), "{missing}");
    let no_map = PerfEvents::open(Path::new("/proc/self/stat")).unwrap_err();
    assert!(no_map.to_string().contains("/proc/self/stat"), "{no_map}");
    let path = pins.path("kind");
    let mut map = MapHandle::create(
        MapType::Array,
        Some("kind"),
        4,
        4,
        1,
        &libbpf_rs::libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as u64,
            ..Default::default()
        },
    )
    .unwrap();
    map.pin(&path).unwrap();
    let refused = PerfEvents::open(&path).unwrap_err().to_string();
    assert!(refused.contains("no perf event array, but Array"), "{refused}");
}
