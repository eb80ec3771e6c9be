//! Opening a database file: what it is, and whether it may be used.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, limits::Limit};

use super::{
    fault::Fault,
    files,
    migration::{self, State},
};
use crate::Access;

/// How a database file is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// What for.
    pub(super) access: Access,
    /// How long to wait for another connection that is in the way.
    pub(super) patience: Duration,
    /// The steps that make the schema.
    pub(super) steps: &'static [&'static str],
}

/// An open database.
#[derive(Debug)]
pub(super) struct Connected {
    /// The connection.
    pub(super) connection: Connection,
    /// Whether it sees only what was in the file when it was opened. Such a connection must not
    /// outlive one operation, as it does not notice who writes in the meantime.
    pub(super) immutable: bool,
}

/// Opens the database at the absolute `path`.
pub(super) fn connect(path: &Path, options: &Options) -> Result<Connected, Fault> {
    match options.access {
        Access::Read => connect_to_read(path, options),
        Access::Write => connect_to_write(path, options)
            .map(|connection| Connected { connection, immutable: false }),
    }
}

fn connect_to_read(path: &Path, options: &Options) -> Result<Connected, Fault> {
    let known = migration::newest(options.steps);
    match inspect(path, options)? {
        State::Empty => return Err(Fault::Older { found: 0, known }),
        State::Version(found) if found < known => return Err(Fault::Older { found, known }),
        State::Version(_) => {}
    }
    // With write access the connection can remove the files that SQLite makes beside the database
    // while it is open; without, they would stay behind.
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, options)?;
    let usable = if connection.is_readonly("main")? && !files::log_exists(path) {
        Err(None)
    } else {
        connection.pragma_update(None, "query_only", true)?;
        migration::state(&connection).map(|_| ()).map_err(Some)
    };
    match usable {
        Ok(()) => Ok(Connected { connection, immutable: false }),
        Err(Some(fault)) if !fault.is_access() || files::has_log(path) => Err(fault),
        Err(_) => Ok(Connected { connection: open_immutable(path, options)?, immutable: true }),
    }
}

fn connect_to_write(path: &Path, options: &Options) -> Result<Connection, Fault> {
    match files::regular(path) {
        Err(Fault::Missing) => files::create(path)?,
        Err(fault) => return Err(fault),
        Ok(_) => {}
    }
    let state = inspect(path, options)?;
    let mut connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, options)?;
    if connection.is_readonly("main")? {
        return Err(Fault::ReadOnly("the file is read-only".to_owned()));
    }
    prepare_to_write(&mut connection, state, options).map_err(|fault| {
        if fault.is_access() {
            Fault::ReadOnly("no files can be made in its directory".to_owned())
        } else {
            fault
        }
    })?;
    Ok(connection)
}

fn prepare_to_write(
    connection: &mut Connection,
    state: State,
    options: &Options,
) -> Result<(), Fault> {
    if state == State::Empty {
        // Lets prune() give pages back to the file system; must be said before the first table.
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
    }
    enter_log_mode(connection, options.patience)?;
    connection.pragma_update(None, "synchronous", "normal")?;
    // Otherwise the log would stay as long as the largest transaction ever was.
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    if state != State::Version(migration::newest(options.steps)) {
        migration::migrate(connection, options.steps)?;
    }
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

/// Switches to the write-ahead log. `SQLite` does not wait for others here, so this does.
fn enter_log_mode(connection: &Connection, patience: Duration) -> Result<(), Fault> {
    let deadline = Instant::now() + patience;
    loop {
        let switched = connection
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
            .map_err(Fault::from);
        match switched {
            Err(fault) if fault.is_busy() && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(2));
            }
            // Where the file system cannot share memory, another mode stays, and works.
            other => return other.map(|_| ()),
        }
    }
}

/// What kind of database the file holds, without changing or making any file.
///
/// An error where it is none, another program's, or too new.
fn inspect(path: &Path, options: &Options) -> Result<State, Fault> {
    if files::regular(path)?.len() == 0 {
        return Ok(State::Empty);
    }
    let connection = if files::has_log(path) {
        open(path, OpenFlags::SQLITE_OPEN_READ_ONLY, options)?
    } else {
        open_immutable(path, options)?
    };
    let state = migration::state(&connection)?;
    migration::check_known(state, options.steps)?;
    Ok(state)
}

fn open_immutable(path: &Path, options: &Options) -> Result<Connection, Fault> {
    configure(
        Connection::open_with_flags(
            files::immutable_uri(path),
            OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_URI
                | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?,
        options,
    )
}

fn open(path: &Path, flags: OpenFlags, options: &Options) -> Result<Connection, Fault> {
    configure(Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?, options)
}

fn configure(connection: Connection, options: &Options) -> Result<Connection, Fault> {
    connection.busy_timeout(options.patience)?;
    // The file is outside input: nothing in it is run, and no value in it is as large as it says.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 1 << 24)?;
    Ok(connection)
}
