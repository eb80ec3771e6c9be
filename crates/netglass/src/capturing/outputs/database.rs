//! Conversations in the database of `--db`.

use std::time::Duration;

use clap::Args;
use netglass_store::{
    Access, DatabaseUrl, Settings,
    flow_log::{DatabaseSink, FlowOutput},
};

use super::{
    PreparedOutput,
    remote::{Remote, RemoteArguments},
};
use crate::{database::DatabaseArguments, host::this_host_id, time::parse_duration};

/// How the database keeps conversations.
#[derive(Debug, Args)]
pub(super) struct DatabaseLogArguments {
    /// How long conversations are kept in the database
    #[arg(long, env = "NETGLASS_RETENTION", value_name = "DURATION", default_value = "30d")]
    #[arg(value_parser = parse_duration)]
    retention: Duration,
}

impl DatabaseLogArguments {
    /// Opens it: a file is at hand, a server may be away.
    pub(super) fn open(
        &self,
        database: &DatabaseArguments,
        remote: &RemoteArguments,
        queue_limit: u64,
    ) -> anyhow::Result<PreparedOutput> {
        let url = database.url()?;
        let target = url.to_string();
        let is_file = matches!(url, DatabaseUrl::Sqlite(_));
        let settings = Settings { retention: self.retention, ..Settings::default() };
        let open = move || netglass_store::open(&url, Access::Write, settings);
        let mut sink = DatabaseSink::new(Box::new(open), this_host_id());
        if is_file {
            sink.connect()?;
            let output = FlowOutput::direct(Box::new(sink), target, queue_limit);
            return Ok(PreparedOutput::Direct(output));
        }
        let spool = remote.open_spool("db", &file_name(&target))?;
        Ok(PreparedOutput::Remote(Box::new(Remote::new(Box::new(sink), target, spool))))
    }
}

/// A URL as the name of a directory; of two URLs the names may be the same only where they differ in
/// punctuation alone.
fn file_name(url: &str) -> String {
    let kept = |character: char| character.is_ascii_alphanumeric() || ".-_@".contains(character);
    url.chars().map(|character| if kept(character) { character } else { '_' }).collect()
}
