//! The schema and its versions.

use super::{connect::Session, fault::Fault};

/// What brings the schema from version 0 (none) to version 1, and so on.
pub(super) const STEPS: &[&str] = &[
    include_str!("schema/version_1.sql"),
    include_str!("schema/version_2.sql"),
    include_str!("schema/version_3.sql"),
];

/// What a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing of ours.
    Empty,
    /// A schema of this version.
    Version(u32),
}

/// The version that `steps` lead to.
pub(super) fn newest(steps: &[&str]) -> u32 {
    u32::try_from(steps.len()).unwrap_or(u32::MAX)
}

/// What the database holds. An error if its schema of our name is another program's.
pub(super) async fn state(session: &Session) -> Result<State, Fault> {
    // A table's comment is seen without any right to the table.
    let rows = session
        .within(session.client.query_typed(
            "SELECT comment, comment IS NOT NULL OR EXISTS (
                SELECT FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
                WHERE nspname = 'netglass')
             FROM (SELECT obj_description(to_regclass('netglass.extent'), 'pg_class')) e (comment)",
            &[],
        ))
        .await?;
    let [row] = &rows[..] else {
        return Err(Fault::Malformed(format!("its version is {} rows", rows.len())));
    };
    let (comment, any): (Option<String>, bool) = (row.try_get(0)?, row.try_get(1)?);
    let version = comment.as_deref().and_then(|comment| comment.strip_prefix(COMMENT));
    match version {
        Some(version) => version
            .parse()
            .map(State::Version)
            .map_err(|_| Fault::Malformed(format!("its version is {version}"))),
        None if any => Err(Fault::Foreign),
        None => Ok(State::Empty),
    }
}

/// What the version follows, in the comment of a table: it marks the schema as Netglass's own.
const COMMENT: &str = "Netglass schema version ";

/// Brings the schema to the newest version, or leaves it as it is.
///
/// Any number of processes may do this at once: the first one does the work, and the others, when
/// their turn comes, find it done.
pub(super) async fn migrate(session: &mut Session, steps: &[&str]) -> Result<(), Fault> {
    session
        .run("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('netglass migration', 0))")
        .await?;
    let migrated = migrate_locked(session, steps).await;
    match &migrated {
        Ok(()) => session.run("COMMIT").await?,
        // What went wrong before says more than that this did too.
        Err(_) => drop(session.run("ROLLBACK").await),
    }
    migrated
}

async fn migrate_locked(session: &Session, steps: &[&str]) -> Result<(), Fault> {
    let known = newest(steps);
    let done = match state(session).await? {
        State::Version(found) if found > known => return Err(Fault::Newer { found, known }),
        State::Version(version) => version as usize,
        State::Empty => {
            // Who may make none may still use one that was made for them.
            let exists = session
                .within(session.client.query_one("SELECT to_regnamespace('netglass') IS NULL", &[]))
                .await?;
            if exists.try_get(0)? {
                session.run("CREATE SCHEMA netglass").await?;
            }
            0
        }
    };
    if done == steps.len() {
        return Ok(());
    }
    for step in steps.iter().skip(done) {
        session.run(step).await?;
    }
    session.run(&format!("COMMENT ON TABLE extent IS '{COMMENT}{known}'")).await
}
