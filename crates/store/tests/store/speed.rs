//! How long the common operations take. Run in release, and read:
//! `cargo test --release -p netglass-store --test store speed -- --ignored --nocapture`.

use std::time::Instant;

use netglass_model::{Direction, HostFlow};
use netglass_store::dependencies;

use crate::support::{ALWAYS, flow, observations, process, write_to};

#[test]
#[ignore = "measures"]
fn writing_ten_thousand_flows() {
    let directory = tempfile::tempdir().unwrap();
    let mut database = write_to(&directory.path().join("db")).unwrap();
    for (what, second) in [("new flows", 60), ("into the same bucket", 61), ("next bucket", 120)] {
        let seen = |port| HostFlow {
            process: Some(process("curl", u32::from(port) % 100)),
            ..flow(port, second, second)
        };
        let written = observations((1..=10_000).map(seen).collect(), vec![]);
        let start = Instant::now();
        database.write(&written).unwrap();
        println!("write 10,000 flows, {what}: {:?}", start.elapsed());
    }
}

#[test]
#[ignore = "measures"]
fn joining_a_thousand_flows_of_an_hour() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let mut database = write_to(&path).unwrap();
    for minute in 0..60 {
        let seen = |port| {
            let active = HostFlow {
                process: Some(process("curl", u32::from(port) % 100)),
                ..flow(port, minute * 60, minute * 60 + 59)
            };
            let passive = HostFlow {
                direction: Direction::Passive,
                local: active.peer,
                peer: active.local,
                process: Some(process("nginx", 7)),
                ..active.clone()
            };
            [active, passive]
        };
        database.write(&observations((1..=500).flat_map(seen).collect(), vec![])).unwrap();
    }
    let start = Instant::now();
    let joined = dependencies(database.as_mut(), ALWAYS).unwrap();
    println!("join 1,000 flows x 60 buckets: {:?}", start.elapsed());
    assert_eq!(joined.edges.len(), 500);
    let size = std::fs::metadata(&path).unwrap().len();
    println!("60,000 observations in {} bytes: {} each", size, size / 60_000);
}
