//! Databases that may be read but not written. Root may write anything, so these run as nobody.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use netglass_store::Error;
use netglass_testing::flush;

use crate::support::{
    ALWAYS, assert_passed, flow, flows, names, observations, part, part_directory, read_from,
    write_to,
};

const NOBODY: u32 = 65_534;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs a part of a test as somebody who is not root.
fn run_unprivileged(mut command: Command, directory: &Path) {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    set_mode(directory, 0o755);
    assert_passed(&command.output().unwrap());
}

fn database_in(directory: &Path) {
    let path = directory.join("fixed/db");
    write_to(&path).unwrap().write(&flush(&observations(vec![flow(80, 1, 2)], vec![]))).unwrap();
    set_mode(&path, 0o444);
    set_mode(&directory.join("fixed"), 0o555);
}

#[test]
fn a_read_only_database_in_a_read_only_directory_is_read() {
    let directory = tempfile::tempdir().unwrap();
    database_in(directory.path());
    run_unprivileged(part("read_only::part_reads", directory.path()), directory.path());
    assert_eq!(names(&directory.path().join("fixed")), ["db"]);
    set_mode(&directory.path().join("fixed"), 0o755);
}

#[test]
fn a_read_only_database_in_a_writable_directory_is_read_without_making_a_file() {
    let directory = tempfile::tempdir().unwrap();
    database_in(directory.path());
    set_mode(&directory.path().join("fixed"), 0o777);
    run_unprivileged(part("read_only::part_reads", directory.path()), directory.path());
    assert_eq!(names(&directory.path().join("fixed")), ["db"]);
}

#[test]
fn a_read_only_database_that_somebody_writes_is_read_with_the_latest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fixed/db");
    let mut writer = write_to(&path).unwrap();
    writer.write(&flush(&observations(vec![flow(80, 1, 2)], vec![]))).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        set_mode(&directory.path().join(format!("fixed/db{suffix}")), 0o444);
    }
    set_mode(&directory.path().join("fixed"), 0o555);
    run_unprivileged(part("read_only::part_reads", directory.path()), directory.path());
    set_mode(&directory.path().join("fixed"), 0o755);
}

#[test]
fn a_log_that_cannot_be_used_is_a_clear_error_and_not_an_old_answer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live/db");
    let mut writer = write_to(&path).unwrap();
    writer.write(&flush(&observations(vec![flow(80, 1, 2)], vec![]))).unwrap();
    fs::create_dir(directory.path().join("fixed")).unwrap();
    for name in ["db", "db-wal"] {
        let copy = directory.path().join("fixed").join(name);
        fs::copy(directory.path().join("live").join(name), &copy).unwrap();
        set_mode(&copy, 0o444);
    }
    set_mode(&directory.path().join("fixed"), 0o555);
    run_unprivileged(part("read_only::part_is_refused", directory.path()), directory.path());
    set_mode(&directory.path().join("fixed"), 0o755);
}

#[test]
fn writing_to_a_read_only_file_or_directory_is_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    database_in(directory.path());
    run_unprivileged(part("read_only::part_cannot_write", directory.path()), directory.path());
    assert_eq!(names(&directory.path().join("fixed")), ["db"]);

    set_mode(&directory.path().join("fixed/db"), 0o666);
    run_unprivileged(part("read_only::part_cannot_write", directory.path()), directory.path());
    assert_eq!(names(&directory.path().join("fixed")), ["db"]);
    set_mode(&directory.path().join("fixed"), 0o755);
}

#[test]
fn a_reader_of_a_file_that_stood_still_sees_what_is_written_later() {
    let directory = tempfile::tempdir().unwrap();
    database_in(directory.path());
    set_mode(&directory.path().join("fixed"), 0o777);
    run_unprivileged(part("read_only::part_sees_later_writes", directory.path()), directory.path());
}

#[test]
#[ignore = "a part of another test"]
fn part_reads() {
    let Some(directory) = part_directory() else { return };
    let mut database = read_from(&directory.join("fixed/db")).unwrap();
    for _ in 0..2 {
        assert_eq!(flows(database.as_mut(), ALWAYS).len(), 1);
        assert_eq!(database.snapshot(ALWAYS).unwrap().hosts().unwrap().len(), 1);
    }
}

#[test]
#[ignore = "a part of another test"]
fn part_is_refused() {
    let Some(directory) = part_directory() else { return };
    let outcome = read_from(&directory.join("fixed/db")).and_then(|mut database| {
        database.snapshot(ALWAYS).and_then(|mut snapshot| snapshot.hosts()).map(|hosts| hosts.len())
    });
    assert!(matches!(outcome, Err(Error::Inaccessible { .. })), "{outcome:?}");
}

#[test]
#[ignore = "a part of another test"]
fn part_cannot_write() {
    let Some(directory) = part_directory() else { return };
    for path in ["fixed/db", "fixed/other", "fixed/deeper/db"] {
        let error = write_to(&directory.join(path)).err().unwrap();
        assert!(matches!(error, Error::ReadOnly { .. }), "{path}: {error}");
        assert!(error.to_string().contains("check the owner and permissions"), "{error}");
    }
}

#[test]
#[ignore = "a part of another test"]
fn part_sees_later_writes() {
    let Some(directory) = part_directory() else { return };
    let (path, copy) = (directory.join("fixed/db"), directory.join("fixed/copy"));
    // Another owner's file that is read-only for us; what replaces it is what its owner wrote.
    let mut reader = read_from(&path).unwrap();
    assert_eq!(flows(reader.as_mut(), ALWAYS).len(), 1);
    fs::copy(&path, &copy).unwrap();
    set_mode(&copy, 0o644);
    write_to(&copy).unwrap().write(&flush(&observations(vec![flow(81, 1, 2)], vec![]))).unwrap();
    fs::rename(&copy, &path).unwrap();
    assert_eq!(flows(reader.as_mut(), ALWAYS).len(), 2);
}
