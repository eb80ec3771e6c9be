//! A flush that is under way in a server when that ends or stops answering.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

use netglass_model::Flush;
use netglass_store::{Access, Database, Error};
use netglass_testing::{PostgreSql, Running, require, wait_for};

use crate::{
    flow_database::Batches,
    server::{Flushes, assert_counted, try_open},
    support::{at, host},
};

/// How long a call may wait for a server that hangs, with some time for a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// Written at the beginning of a flush, and in its middle.
const TABLES: [&str; 2] = ["probe", "recent"];

/// A server of a test's own, which may end without others noticing, and who writes to it.
struct Writing {
    server: PostgreSql,
    database: Box<dyn Database>,
    flushes: Flushes,
    /// How many flushes were written.
    count: u64,
}

impl Writing {
    /// One flush was written, so that the next one needs nothing but itself.
    fn new() -> Self {
        let server = PostgreSql::new().start();
        server.create_database("fleet");
        let url = format!("{}?connect_timeout=1", server.url("fleet"));
        let database = try_open(&url, Access::Write).unwrap();
        let mut writing = Self { server, database, flushes: Flushes::new(), count: 0 };
        writing.write_to_the_end();
        writing
    }

    /// Writes the flush that is next, whatever of it has arrived before.
    #[track_caller]
    fn write_to_the_end(&mut self) {
        self.database.write(&self.flushes.next).unwrap();
        self.flushes.advance();
        self.count += 1;
        assert_counted(self.database.as_mut(), self.count);
    }

    /// Writes the flush that is next as far as `table`, where it waits in the server while
    /// `meanwhile` happens. The table is free when that has returned.
    fn hold(
        &mut self,
        table: &str,
        meanwhile: impl FnOnce(&mut PostgreSql, Running),
    ) -> Result<(), Error> {
        let lock = format!("LOCK TABLE netglass.{table} IN SHARE MODE");
        self.hold_with(&lock, |database, flush| database.write(flush), meanwhile)
    }

    /// Does `work` as far as it needs what `lock` has locked, where it waits while `meanwhile`
    /// happens.
    fn hold_with<T: Send>(
        &mut self,
        lock: &str,
        work: impl FnOnce(&mut dyn Database, &Flush) -> T + Send,
        meanwhile: impl FnOnce(&mut PostgreSql, Running),
    ) -> T {
        let Self { server, database, flushes, .. } = self;
        let session = server.hold("fleet", lock);
        let flush: &Flush = &flushes.next;
        thread::scope(|scope| {
            let worked = scope.spawn(|| work(database.as_mut(), flush));
            wait_until_held(server);
            meanwhile(server, session);
            worked.join().unwrap()
        })
    }
}

/// Waits until somebody waits for a lock.
#[track_caller]
fn wait_until_held(server: &PostgreSql) {
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    wait_for(|| (server.sql("fleet", waiting) == "1").then_some(()));
}

#[track_caller]
fn assert_unreachable<T: Debug>(done: Result<T, Error>, why: &str) {
    let error = done.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(why), "{error}");
}

#[test]
fn a_flush_counts_once_though_the_server_ends_in_its_middle() {
    require!(postgresql);
    let mut writing = Writing::new();
    for end in [PostgreSql::stop, PostgreSql::kill, PostgreSql::kill_postmaster] {
        for table in TABLES {
            let written = writing.hold(table, |server, _lock| end(server));
            // Who holds the lock may be ended first, and the flush be through before its turn.
            if written.is_err() {
                assert_unreachable(written, "");
            }
            writing.server.restart();
            writing.write_to_the_end();
        }
    }
}

#[test]
fn a_flush_counts_once_though_the_server_ends_its_connection() {
    require!(postgresql);
    let mut writing = Writing::new();
    for table in TABLES {
        let written = writing.hold(table, |server, lock| {
            let held = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted";
            assert_eq!(server.sql("fleet", held), "t");
            drop(lock);
        });
        written.expect("it is written over another connection");
        writing.write_to_the_end();
    }
}

#[test]
fn a_batch_is_written_once_though_the_server_ends_in_its_middle() {
    require!(postgresql);
    let mut writing = Writing::new();
    let mut batches = Batches::new(10);
    let mut count = 0;
    for end in [PostgreSql::stop, PostgreSql::kill, PostgreSql::kill_postmaster] {
        // Written at the beginning of a batch, and in its middle.
        for table in ["capture", "flow_log"] {
            let lock = format!("LOCK TABLE netglass.{table} IN SHARE MODE");
            let log = |database: &mut dyn Database| database.log_flows(&host("a"), &batches.next);
            let logged =
                writing.hold_with(&lock, |database, _| log(database), |server, _lock| end(server));
            // Who holds the lock may be ended first, and the batch be through before its turn.
            if logged.is_err() {
                assert_unreachable(logged, "");
            }
            writing.server.restart();
            log(writing.database.as_mut()).unwrap();
            batches.advance();
            count += 10;
            let logged = "SELECT count(*) FROM netglass.flow_log";
            assert_eq!(writing.server.sql("fleet", logged), count.to_string());
        }
    }
}

/// All processes of the server hang before a flush, or when that waits for `table`. Each call comes
/// back, and what it was to write counts once.
#[track_caller]
fn hang(table: Option<&str>) {
    let mut writing = Writing::new();
    let began = Instant::now();
    let (written, paused) = if let Some(table) = table {
        let mut paused = None;
        let written = writing.hold(table, |server, lock| {
            paused = Some(server.pause());
            drop(lock);
        });
        (written, paused)
    } else {
        let paused = writing.server.pause();
        (writing.database.write(&writing.flushes.next), Some(paused))
    };
    assert_unreachable(written, "does not answer in time");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    // Nor does it take a new connection.
    let began = Instant::now();
    let again = writing.database.write(&writing.flushes.next);
    assert_unreachable(again, "does not answer in time");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    drop(paused);
    writing.write_to_the_end();
    writing.write_to_the_end();
}

#[test]
fn a_flush_counts_once_though_the_server_hangs() {
    require!(postgresql);
    let [beginning, end] = TABLES.map(Some);
    // At the same time, since each waits for half a minute.
    thread::scope(|scope| {
        for table in [None, beginning, end] {
            scope.spawn(move || hang(table));
        }
    });
}

#[test]
fn maintenance_ends_though_the_server_hangs_and_is_done_later() {
    require!(postgresql);
    let mut writing = Writing::new();
    let day = Duration::from_secs(24 * 60 * 60);
    let next_day = at(60).saturating_add(day);
    writing.database.maintain(next_day).unwrap();
    let written = "SELECT count(*) FROM netglass.flow_observation";
    assert_eq!(writing.server.sql("fleet", written), "10");

    let mut paused = None;
    let began = Instant::now();
    let maintained = writing.hold_with(
        "SELECT FROM netglass.flow_observation FOR UPDATE",
        |database, _| database.maintain(next_day.saturating_add(day)),
        |server, lock| {
            paused = Some(server.pause());
            drop(lock);
        },
    );
    assert_unreachable(maintained, "does not answer in time");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    drop(paused);
    writing.database.maintain(next_day.saturating_add(day)).unwrap();
    assert_eq!(writing.server.sql("fleet", written), "0");
    writing.write_to_the_end();
}
