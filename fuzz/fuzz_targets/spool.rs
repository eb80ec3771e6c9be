//! A spool whose files hold any bytes: it opens or refuses them, and what comes out is what went in
//! or was put there whole.
#![no_main]

use std::{fs, path::Path, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use netglass_fuzz::splice;
use netglass_store::{Spool, SpoolError};

const LIMIT: u64 = 1 << 20;
const CONTENT: u16 = 1;
const SEGMENT: &str = "00000000000000000000.spool";
const PAYLOADS: [&[u8]; 3] = [b"first", b"second", b"third"];

fuzz_target!(|data: &[u8]| {
    let [which, data @ ..] = data else { return };
    let (segment, position) = sample();
    let directory = tempfile::tempdir_in(folder()).expect("a directory");
    let path = directory.path();
    let (segment, position) = match which % 3 {
        0 => (splice(segment, data), position.clone()),
        1 => (segment.clone(), splice(position, data)),
        _ => (data.to_vec(), position.clone()),
    };
    fs::write(path.join(SEGMENT), segment).expect("a segment");
    fs::write(path.join("position"), position).expect("a position");
    match Spool::open(path, LIMIT, CONTENT) {
        Ok(spool) => use_it(spool),
        Err(SpoolError::Newer { .. }) => {}
        Err(error) => panic!("{error}"),
    }
});

fn use_it(mut spool: Spool) {
    let usage = spool.usage();
    spool.append(b"appended", 1).expect("there is room");
    let mut last = Vec::new();
    let mut records = 0;
    while let Some(record) = spool.oldest().expect("it can be read") {
        last = record.payload;
        records += 1;
        spool.acknowledge().expect("it can be acknowledged");
    }
    assert_eq!(last, b"appended");
    assert!(records <= usage.flushes + 1 && spool.usage().flushes == 0);
}

/// The files of a spool with a few records.
fn sample() -> &'static (Vec<u8>, Vec<u8>) {
    static SAMPLE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let directory = tempfile::tempdir_in(folder()).expect("a directory");
        let mut spool = Spool::open(directory.path(), LIMIT, CONTENT).expect("a spool");
        for (payload, sightings) in PAYLOADS.into_iter().zip(1..) {
            spool.append(payload, sightings).expect("there is room");
        }
        spool.oldest().expect("it can be read");
        spool.acknowledge().expect("it can be acknowledged");
        let read = |name| fs::read(directory.path().join(name)).expect("it is there");
        (read(SEGMENT), read("position"))
    })
}

fn folder() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}
