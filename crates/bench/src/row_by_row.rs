//! Writing as shawk does it: a transaction for each flow, with a statement for each row that it
//! takes (`shawk.md` of its project: processes, nodes of either end, the flow).

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use netglass_model::{Direction, HostFlow, Timestamp};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, Statement, types::ToSql};

use crate::{
    fleet::{Fleet, INTERVAL},
    fleet_database::FleetDatabase,
};

const SCHEMA: &str = "
    CREATE SCHEMA IF NOT EXISTS row_by_row;
    SET search_path = row_by_row;
    CREATE TABLE IF NOT EXISTS processes (
        process_id bigserial PRIMARY KEY,
        ipv4 inet NOT NULL,
        pgid integer NOT NULL,
        pname text NOT NULL,
        created timestamptz NOT NULL DEFAULT now(),
        updated timestamptz NOT NULL DEFAULT now(),
        UNIQUE (ipv4, pgid, pname));
    CREATE TABLE IF NOT EXISTS active_nodes (
        node_id bigserial PRIMARY KEY,
        process_id bigint NOT NULL REFERENCES processes,
        UNIQUE (process_id));
    CREATE TABLE IF NOT EXISTS passive_nodes (
        node_id bigserial PRIMARY KEY,
        process_id bigint NOT NULL REFERENCES processes,
        port integer NOT NULL,
        UNIQUE (process_id, port));
    CREATE TABLE IF NOT EXISTS flows (
        flow_id bigserial PRIMARY KEY,
        source_node_id bigint NOT NULL REFERENCES active_nodes,
        destination_node_id bigint NOT NULL REFERENCES passive_nodes,
        connections integer NOT NULL,
        created timestamptz NOT NULL DEFAULT now(),
        updated timestamptz NOT NULL DEFAULT now(),
        UNIQUE (source_node_id, destination_node_id));";

const PROCESS: &str = "
    INSERT INTO processes (ipv4, pgid, pname) VALUES ($1::text::inet, $2, $3)
    ON CONFLICT (ipv4, pgid, pname) DO UPDATE SET updated = now() RETURNING process_id";
const ACTIVE_NODE: &str = "
    INSERT INTO active_nodes (process_id) VALUES ($1)
    ON CONFLICT (process_id) DO UPDATE SET process_id = excluded.process_id RETURNING node_id";
const PASSIVE_NODE: &str = "
    INSERT INTO passive_nodes (process_id, port) VALUES ($1, $2)
    ON CONFLICT (process_id, port) DO UPDATE SET port = excluded.port RETURNING node_id";
const FLOW: &str = "
    INSERT INTO flows (source_node_id, destination_node_id, connections) VALUES ($1, $2, $3)
    ON CONFLICT (source_node_id, destination_node_id)
        DO UPDATE SET connections = excluded.connections, updated = now()";

/// Writes the second flush of so many hosts, with `writers` connections, after a first one that
/// makes the rows; returns how long the second one took.
pub(crate) fn write(
    database: &FleetDatabase,
    fleet: &Fleet,
    writers: u32,
    hosts: u32,
    start: Timestamp,
) -> Result<Duration> {
    let url = database.text();
    let mut connections =
        (0..writers).map(|_| Connection::open(&url)).collect::<Result<Vec<_>>>()?;
    let mut pass = |sequence| -> Result<Duration> {
        let begin = Instant::now();
        thread::scope(|scope| {
            let writing: Vec<_> = (0..writers)
                .zip(&mut connections)
                .map(|(writer, connection)| {
                    scope.spawn(move || -> Result<()> {
                        for host in (writer..hosts).step_by(writers as usize) {
                            let flush = fleet.flush(host, sequence, start, INTERVAL);
                            for flow in &flush.observations.flows {
                                connection.write(flow)?;
                            }
                        }
                        Ok(())
                    })
                })
                .collect();
            for writer in writing {
                writer.join().map_err(|_| anyhow!("a writer has panicked"))??;
            }
            Ok(begin.elapsed())
        })
    };
    pass(1)?;
    pass(2)
}

struct Connection {
    client: Client,
    process: Statement,
    active_node: Statement,
    passive_node: Statement,
    flow: Statement,
    runtime: Runtime,
}

impl Connection {
    fn open(url: &str) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let opening = async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            runtime.spawn(connection);
            client.batch_execute(SCHEMA).await?;
            let process = client.prepare(PROCESS).await?;
            let active_node = client.prepare(ACTIVE_NODE).await?;
            let passive_node = client.prepare(PASSIVE_NODE).await?;
            let flow = client.prepare(FLOW).await?;
            Ok::<_, tokio_postgres::Error>((client, process, active_node, passive_node, flow))
        };
        let opened = runtime.block_on(opening);
        let (client, process, active_node, passive_node, flow) =
            opened.context("connecting to the database to write row by row")?;
        Ok(Self { client, process, active_node, passive_node, flow, runtime })
    }

    fn write(&mut self, flow: &HostFlow) -> Result<()> {
        let (client_address, server) = match flow.direction {
            Direction::Active => (flow.local.address, flow.peer),
            Direction::Passive => (flow.peer.address, flow.local),
        };
        let port = i32::from(server.port.number().unwrap_or_default());
        let process = flow.process.as_ref().context("every simulated flow has a process")?;
        let (pgid, name) = (i32::try_from(process.pgid)?, process.comm.as_str());
        // The process at the other end is not known here, and has no name.
        let (client_end, server_end) = match flow.direction {
            Direction::Active => ((pgid, name), (0, "")),
            Direction::Passive => ((0, ""), (pgid, name)),
        };
        let connections = i32::try_from(flow.counters.connections)?;
        let (from, to) = (client_address.to_string(), server.address.to_string());
        let Self { client, process, active_node, passive_node, flow, runtime } = self;
        let writing = async {
            let transaction = client.transaction().await?;
            let id = async |statement: &Statement, parameters: &[&(dyn ToSql + Sync)]| {
                transaction.query_one(statement, parameters).await?.try_get::<_, i64>(0)
            };
            let client_process = id(process, &[&from, &client_end.0, &client_end.1]).await?;
            let active = id(active_node, &[&client_process]).await?;
            let server_process = id(process, &[&to, &server_end.0, &server_end.1]).await?;
            let passive = id(passive_node, &[&server_process, &port]).await?;
            transaction.execute(flow, &[&active, &passive, &connections]).await?;
            transaction.commit().await
        };
        runtime.block_on(writing).context("writing a flow row by row")
    }
}
