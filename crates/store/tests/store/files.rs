//! What may be at the path of a database.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, net::UnixListener},
    path::Path,
};

use netglass_store::{Error, Settings};
use netglass_testing::flush;
use rusqlite::Connection;

use crate::support::{ALWAYS, at, flow, flows, names, observations, read_from, write_to};

fn refused_both_ways(path: &Path) -> [Error; 2] {
    [write_to(path).err().unwrap(), read_from(path).err().unwrap()]
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn missing_directories_are_made_and_nobody_else_can_look_into_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b/netglass.db");
    let mut database = write_to(&path).unwrap();
    database.write(&flush(&observations(vec![flow(80, 1, 2)], vec![]))).unwrap();
    assert_eq!(mode(&directory.path().join("a")), 0o700);
    assert_eq!(mode(&directory.path().join("a/b")), 0o700);
    for name in names(path.parent().unwrap()) {
        assert_eq!(mode(&path.with_file_name(&name)), 0o600, "{name}");
    }
}

#[test]
fn reading_a_missing_database_says_what_to_run_and_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/netglass.db");
    let error = read_from(&path).err().unwrap();
    assert!(matches!(error, Error::Missing { .. }));
    let shown = error.to_string();
    assert!(shown.contains(path.to_str().unwrap()), "{shown}");
    assert!(shown.contains("`netglass probe` or `netglass up`"), "{shown}");
    assert_eq!(names(directory.path()), [] as [&str; 0]);
}

#[test]
fn a_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for error in refused_both_ways(directory.path()) {
        assert!(matches!(error, Error::Directory { .. }), "{error}");
        assert!(error.to_string().contains("it is a directory; name a file in it"), "{error}");
    }
    assert_eq!(names(directory.path()), [] as [&str; 0]);
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let _socket = UnixListener::bind(&path).unwrap();
    for path in [&*path, Path::new("/dev/null")] {
        for error in refused_both_ways(path) {
            assert!(matches!(error, Error::NotRegular { .. }), "{error}");
        }
    }
}

#[test]
fn a_path_through_a_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "text").unwrap();
    let error = write_to(&directory.path().join("file/netglass.db")).err().unwrap();
    assert!(matches!(error, Error::Inaccessible { .. }), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text");
    let text = "no database\n".repeat(1000);
    fs::write(&path, &text).unwrap();
    for error in refused_both_ways(&path) {
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("not a SQLite database"), "{error}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(names(directory.path()), ["text"]);
}

#[test]
fn a_damaged_database_is_an_error_and_never_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let ports = 1..600;
    let written = observations(ports.map(|port| flow(port, 60, 61)).collect(), vec![]);
    write_to(&path).unwrap().write(&flush(&written)).unwrap();
    let whole = fs::read(&path).unwrap();

    let mut failed = 0;
    for page in 0..whole.len() / 4096 {
        let mut damaged = whole.clone();
        damaged[page * 4096..page * 4096 + 200].fill(0xa5);
        fs::write(&path, &damaged).unwrap();
        let outcome = read_from(&path).and_then(|mut database| {
            database.snapshot(ALWAYS).and_then(|mut snapshot| snapshot.hosts())?;
            database.snapshot(ALWAYS).unwrap().flows(None, &mut |_, _| {})
        });
        match outcome {
            Ok(()) => {}
            Err(Error::Corrupt { .. }) => failed += 1,
            Err(other) => panic!("page {page}: {other}"),
        }
        let _ = write_to(&path).and_then(|mut database| {
            database.write(&flush(&written))?;
            database.maintain(at(1 << 30))
        });
        for name in names(directory.path()).iter().filter(|name| *name != "db") {
            fs::remove_file(directory.path().join(name)).unwrap();
        }
    }
    assert!(failed > 10, "{failed} of {} pages", whole.len() / 4096);

    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let outcome = read_from(&path)
        .and_then(|mut database| database.snapshot(ALWAYS).unwrap().flows(None, &mut |_, _| {}));
    assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}");
}

#[test]
fn a_database_of_another_program_is_refused_and_untouched() {
    for setup in [
        "CREATE TABLE theirs (x)",
        "PRAGMA journal_mode = wal; CREATE TABLE theirs (x)",
        "PRAGMA user_version = 1",
        "PRAGMA application_id = 5",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("theirs");
        Connection::open(&path).unwrap().execute_batch(setup).unwrap();
        let before = fs::read(&path).unwrap();
        for error in refused_both_ways(&path) {
            assert!(matches!(error, Error::Foreign { .. }), "{setup}: {error}");
        }
        assert_eq!(fs::read(&path).unwrap(), before, "{setup}");
        assert_eq!(names(directory.path()), ["theirs"], "{setup}");
    }
}

#[test]
fn a_schema_of_a_newer_netglass_is_refused_and_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    write_to(&path).unwrap().write(&flush(&observations(vec![flow(80, 1, 2)], vec![]))).unwrap();
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    let check = || {
        let before = names(directory.path())
            .into_iter()
            .filter(|name| name != "db-shm")
            .map(|name| (fs::read(directory.path().join(&name)).unwrap(), name))
            .collect::<Vec<_>>();
        for error in refused_both_ways(&path) {
            assert!(matches!(error, Error::NewerSchema { found: 99, known: 5, .. }), "{error}");
            assert!(error.to_string().contains("version 99"), "{error}");
        }
        for (bytes, name) in &before {
            assert_eq!(&fs::read(directory.path().join(name)).unwrap(), bytes, "{name}");
        }
        before.len()
    };
    assert_eq!(check(), 2, "while the newer one has it open, with a log");
    drop(newer);
    assert_eq!(check(), 1);
    assert_eq!(names(directory.path()), ["db"]);
}

#[test]
fn an_empty_file_becomes_a_database_when_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    fs::write(&path, "").unwrap();
    let error = read_from(&path).err().unwrap();
    assert!(matches!(error, Error::OlderSchema { found: 0, known: 5, .. }), "{error}");
    write_to(&path).unwrap();
    assert!(read_from(&path).is_ok());
}

#[test]
fn any_path_that_the_system_takes_is_one_file() {
    let directory = tempfile::tempdir().unwrap();
    for name in [
        &b"with space"[..],
        b"percent%41",
        b"a?mode=memory",
        b"a#b",
        b":memory:",
        b"file:x",
        b"caf\xc3\xa9",
        b"\xff\xfe",
        b"quote'\"\n",
    ] {
        let path = directory.path().join(OsStr::from_bytes(name));
        let mut database = write_to(&path).unwrap();
        database.write(&flush(&observations(vec![flow(80, 1, 2)], vec![]))).unwrap();
        drop(database);
        assert!(path.is_file(), "{}", path.display());
        assert_eq!(flows(read_from(&path).unwrap().as_mut(), ALWAYS).len(), 1);
    }
}

#[test]
fn a_database_opened_for_reading_is_never_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let written = observations(vec![flow(80, 1, 2)], vec![]);
    write_to(&path).unwrap().write(&flush(&written)).unwrap();
    let mut reader = read_from(&path).unwrap();
    assert!(matches!(reader.write(&flush(&written)), Err(Error::ReadOnly { .. })));
    assert!(matches!(reader.maintain(at(1 << 30)), Err(Error::ReadOnly { .. })));
    assert_eq!(flows(reader.as_mut(), ALWAYS).len(), 1);
}

#[test]
fn the_defaults_are_a_minute_and_a_month() {
    let settings = Settings::default();
    assert_eq!((settings.bucket.as_secs(), settings.retention.as_secs()), (60, 2_592_000));
}
