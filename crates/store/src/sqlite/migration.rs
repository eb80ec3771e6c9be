//! The schema and its versions.

use rusqlite::{Connection, TransactionBehavior};

use super::fault::Fault;

/// What brings the schema from version 0 (an empty file) to version 1, from there to 2, and so on.
pub(super) const STEPS: &[&str] = &[
    include_str!("schema/version_1.sql"),
    include_str!("schema/version_2.sql"),
    include_str!("schema/version_3.sql"),
    include_str!("schema/version_4.sql"),
    include_str!("schema/version_5.sql"),
];

/// Marks the file as Netglass's own: `NGLS` in ASCII, at offset 68 of the file.
const APPLICATION_ID: i32 = 0x4e47_4c53;

/// What a database file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing at all.
    Empty,
    /// A schema of this version.
    Version(u32),
}

/// The version that `steps` lead to.
pub(super) fn newest(steps: &[&str]) -> u32 {
    u32::try_from(steps.len()).unwrap_or(u32::MAX)
}

/// What the database holds. An error if it is another program's.
pub(super) fn state(connection: &Connection) -> Result<State, Fault> {
    // One statement, so that all of it is of the same moment.
    let (application, version, objects) = connection.query_row(
        "SELECT (SELECT application_id FROM pragma_application_id),
                (SELECT user_version FROM pragma_user_version),
                (SELECT count(*) FROM sqlite_schema)",
        (),
        |row| Ok((row.get::<_, i32>(0)?, row.get::<_, i32>(1)?, row.get::<_, i64>(2)?)),
    )?;
    if application == APPLICATION_ID {
        u32::try_from(version)
            .map(State::Version)
            .map_err(|_| Fault::Malformed(format!("its schema has the version {version}")))
    } else if application == 0 && version == 0 && objects == 0 {
        Ok(State::Empty)
    } else {
        Err(Fault::Foreign)
    }
}

/// An error if the schema is newer than `steps`.
pub(super) fn check_known(state: State, steps: &[&str]) -> Result<(), Fault> {
    let known = newest(steps);
    match state {
        State::Version(found) if found > known => Err(Fault::Newer { found, known }),
        _ => Ok(()),
    }
}

/// Brings the schema to the newest version, or leaves it as it is.
///
/// Any number of processes may do this at once: the first one does the work, and the others, when
/// their turn comes, find it done.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<(), Fault> {
    // A step may rebuild a table that others refer to. No effect inside a transaction.
    connection.pragma_update(None, "foreign_keys", false)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let state = state(&transaction)?;
    check_known(state, steps)?;
    let done = match state {
        State::Empty => 0,
        State::Version(version) => version as usize,
    };
    if done == steps.len() {
        return Ok(());
    }
    for step in steps.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    let broken = transaction.prepare("PRAGMA foreign_key_check")?.exists(())?;
    if broken {
        return Err(Fault::Malformed("rows refer to others that do not exist".to_owned()));
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", newest(steps))?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[&str] = &[
        "CREATE TABLE one (value INTEGER) STRICT; INSERT INTO one VALUES (41);",
        "ALTER TABLE one RENAME COLUMN value TO answer; UPDATE one SET answer = answer + 1;",
    ];

    fn memory() -> Connection {
        Connection::open_in_memory().unwrap()
    }

    fn answer(connection: &Connection) -> i64 {
        connection.query_row("SELECT answer FROM one", (), |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_older_schema_is_brought_to_the_newest_version_step_by_step() {
        let mut connection = memory();
        migrate(&mut connection, &TWO[..1]).unwrap();
        assert_eq!(state(&connection).unwrap(), State::Version(1));
        migrate(&mut connection, TWO).unwrap();
        assert_eq!(state(&connection).unwrap(), State::Version(2));
        assert_eq!(answer(&connection), 42);
        migrate(&mut connection, TWO).unwrap();
        assert_eq!(answer(&connection), 42, "no step runs twice");
    }

    #[test]
    fn an_empty_database_goes_through_every_step() {
        let mut connection = memory();
        migrate(&mut connection, TWO).unwrap();
        assert_eq!(answer(&connection), 42);
    }

    #[test]
    fn a_step_that_fails_undoes_those_before_it() {
        let mut connection = memory();
        let steps = [TWO[0], "CREATE TABLE two (value INTEGER); SELECT nonsense"];
        assert!(migrate(&mut connection, &steps).is_err());
        assert_eq!(state(&connection).unwrap(), State::Empty);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let mut connection = memory();
        migrate(&mut connection, TWO).unwrap();
        let refused = migrate(&mut connection, &TWO[..1]);
        assert!(matches!(refused, Err(Fault::Newer { found: 2, known: 1 })));
        assert_eq!(answer(&connection), 42);
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        for sql in
            ["CREATE TABLE theirs (x)", "PRAGMA user_version = 7", "PRAGMA application_id = 1"]
        {
            let mut connection = memory();
            connection.execute_batch(sql).unwrap();
            assert!(matches!(migrate(&mut connection, STEPS), Err(Fault::Foreign)), "{sql}");
        }
    }

    #[test]
    fn every_step_leads_to_a_schema_that_holds_together() {
        let mut connection = memory();
        migrate(&mut connection, STEPS).unwrap();
        let check: String =
            connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
    }
}
