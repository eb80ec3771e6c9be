//! Several at once, and one that dies.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use netglass_store::dependencies;
use netglass_testing::{flush, require, wait_for};

use crate::support::{
    ALWAYS, Place, at, cluster, each_backend, flow, flows, host, observations, part,
    part_directory, read_from, write_to, written,
};

each_backend! {
    one_writes_while_others_read_whole_writes,
    one_prunes_while_others_write,
}

#[test]
fn any_number_may_create_the_database_at_once() {
    const WRITERS: u16 = 16;
    for _ in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/netglass.db");
        let start = Barrier::new(WRITERS.into());
        thread::scope(|scope| {
            for writer in 1..=WRITERS {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut database = write_to(path).unwrap();
                    let mut written = observations(vec![flow(writer, 60, 61)], vec![]);
                    written.host.id = host(&writer.to_string());
                    database.write(&flush(&written)).unwrap();
                });
            }
        });
        let mut database = read_from(&path).unwrap();
        assert_eq!(flows(database.as_mut(), ALWAYS).len(), usize::from(WRITERS));
        assert_eq!(database.snapshot(ALWAYS).unwrap().hosts().unwrap().len(), usize::from(WRITERS));
    }
}

#[test]
fn what_arrived_in_plenty_is_put_away_by_two_connections() {
    const FLOWS: u16 = 60_000;
    const FLUSHES: u64 = 3;
    require!(postgresql);
    let place = Place::postgresql();
    let mut database = place.write();
    let seen = (1..=FLOWS).map(|port| flow(port, 60, 61)).collect();
    let mut next = flush(&observations(seen, vec![]));
    for _ in 0..FLUSHES {
        database.write(&next).unwrap();
        next.sequence += 1;
    }

    let name = place.name();
    let lock = cluster().hold(&name, "LOCK TABLE netglass.flow_observation IN SHARE MODE");
    thread::scope(|scope| {
        scope.spawn(|| database.maintain(at(600)).unwrap());
        let waiting = format!(
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE NOT granted AND datname = '{name}'"
        );
        wait_for(|| (cluster().sql(&name, &waiting) == "2").then_some(()));
        drop(lock);
    });

    let sums = "SELECT count(*), min(opened), max(opened) FROM netglass.";
    let opened = 2 * FLUSHES;
    for table in ["flow_observation", "flow_observation_hour", "flow_observation_day"] {
        let told = cluster().sql(&name, &format!("{sums}{table}"));
        assert_eq!(told, format!("{FLOWS}|{opened}|{opened}"), "{table}");
    }
    assert_eq!(cluster().sql(&name, "SELECT count(*) FROM netglass.recent"), "0");
}

fn one_writes_while_others_read_whole_writes(place: &Place) {
    const FLOWS: u16 = 50;
    let mut writer = place.write();
    let batch = |minute: i64| {
        let seen = |port| flow(port, minute * 60, minute * 60 + 1);
        observations((1..=FLOWS).map(seen).collect(), vec![])
    };
    writer.write(&flush(&batch(0))).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut reader = place.read();
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let count = written(reader.as_mut());
                    assert_eq!(count % usize::from(FLOWS), 0, "a part of a write was read");
                    assert!(count >= last, "what was there is gone");
                    last = count;
                    dependencies(reader.snapshot(ALWAYS).unwrap().as_mut(), None).unwrap();
                }
            });
        }
        for minute in 1..40 {
            writer.write(&flush(&batch(minute))).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(written(place.read().as_mut()), 40 * usize::from(FLOWS));
}

fn one_prunes_while_others_write(place: &Place) {
    let now = 31 * 24 * 3600;
    let start = Barrier::new(3);
    thread::scope(|scope| {
        for name in ["a", "b"] {
            let start = &start;
            scope.spawn(move || {
                let mut database = place.write();
                start.wait();
                for round in 0..40 {
                    // Old and new alike, so that pruning meets dimensions that come back to life.
                    let seen = |port| flow(port, round % 2 * now, round % 2 * now + 1);
                    let mut written = observations((1..100).map(seen).collect(), vec![]);
                    written.host.id = host(name);
                    database.write(&flush(&written)).unwrap();
                }
            });
        }
        let mut database = place.write();
        start.wait();
        for _ in 0..40 {
            database.maintain(at(now)).unwrap();
        }
    });
    let mut database = place.write();
    database.maintain(at(now)).unwrap();
    assert_eq!(flows(database.as_mut(), ALWAYS).len(), 2 * 99);
}

#[test]
fn a_writer_that_is_killed_leaves_whole_writes() {
    for _ in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let mut child = part("concurrency::part_writes_until_killed", directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let written = lines.map(Result::unwrap).filter(|line| line.contains("written")).take(5);
        assert_eq!(written.count(), 5);
        child.kill().unwrap();
        child.wait().unwrap();

        let path = directory.path().join("db");
        let count = self::written(read_from(&path).unwrap().as_mut());
        assert!(count >= 5 * 500 && count.is_multiple_of(500), "{count} rows");
        let mut database = write_to(&path).unwrap();
        database.write(&flush(&observations(vec![flow(1, -60, -59)], vec![]))).unwrap();
        let check: String = rusqlite::Connection::open(&path)
            .unwrap()
            .query_row("PRAGMA integrity_check", (), |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
        assert_eq!(self::written(database.as_mut()), count + 1);
    }
}

#[test]
#[ignore = "a part of another test"]
fn part_writes_until_killed() {
    let Some(directory) = part_directory() else { return };
    let mut database = write_to(&directory.join("db")).unwrap();
    for minute in 0.. {
        let seen = |port| flow(port, minute * 60, minute * 60 + 1);
        database.write(&flush(&observations((1..=500).map(seen).collect(), vec![]))).unwrap();
        println!("written");
    }
}
