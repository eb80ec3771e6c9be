//! A disk that is really full.

use std::{fs, os::unix::fs::MetadataExt as _, process::Command};

use netglass_store::Error;
use netglass_testing::flush;

use crate::support::{
    ALWAYS, assert_passed, flow, flows, observations, part, part_directory, read_from, write_to,
};

#[test]
fn a_full_disk_loses_nothing_that_was_written_before() {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        println!("skipped: mounting a small file system needs root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("small")).unwrap();
    let inner = part("faults::part_fills_the_disk", directory.path());
    // In a mount namespace of its own, so that the mount is gone with the process.
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-ec"])
        .arg("mount -t tmpfs -o size=2m tmpfs small && exec \"$0\" \"$@\"")
        .arg(inner.get_program())
        .args(inner.get_args())
        .env("NETGLASS_TEST_PART", directory.path())
        .current_dir(directory.path());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: no unshare(1) to mount a small file system with: {error}");
            return;
        }
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("unshare failed") || stderr.contains("mount:") {
        println!("skipped: no small file system could be mounted: {stderr}");
        return;
    }
    assert_passed(&output);
}

#[test]
#[ignore = "a part of another test"]
fn part_fills_the_disk() {
    let Some(directory) = part_directory() else { return };
    let path = directory.join("small/db");
    let mut database = write_to(&path).unwrap();
    let batch = |index: u16| {
        let ports = (0..200).map(move |port| index * 200 + port);
        observations(ports.map(|port| flow(port, 60, 61)).collect(), vec![])
    };
    let mut written = 0;
    let error = loop {
        match database.write(&flush(&batch(written))) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(flows(database.as_mut(), ALWAYS).len(), usize::from(written) * 200);

    let mount = Command::new("mount").args(["-o", "remount,size=20m", "small"]).status().unwrap();
    assert!(mount.success());
    database.write(&flush(&batch(written))).unwrap();
    assert_eq!(flows(database.as_mut(), ALWAYS).len(), usize::from(written + 1) * 200);
    drop(database);
    let mut reader = read_from(&path).unwrap();
    assert_eq!(flows(reader.as_mut(), ALWAYS).len(), usize::from(written + 1) * 200);
}
