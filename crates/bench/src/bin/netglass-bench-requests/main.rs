//! `netglass-bench-requests`: the same requests through the traced client and through hyper's own,
//! in one process, in turn; how long they took, a JSON object a line.

mod plain;
mod resolver;
mod traced;

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use serde_json::json;

use crate::{plain::Plain, traced::Traced};

/// How long anything of a request may take, with either client.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most headers of a response, and the most bytes that are read at once, with either client.
const MAXIMUM_HEADERS: usize = 256;
const LARGEST_READ: usize = 1 << 20;

/// Makes requests with one client or with both in turn.
#[derive(Debug, Parser)]
struct Cli {
    /// What to fetch
    url: String,
    /// Who fetches it
    #[arg(long, value_enum)]
    client: Vec<Who>,
    /// How many requests a client makes in a round
    #[arg(long, default_value_t = 2000)]
    requests: u32,
    /// In how many parts of a round its time is told
    #[arg(long, default_value_t = 1)]
    parts: u32,
    /// How often each client has its turn, after one that is not told
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Whether each request has a connection of its own
    #[arg(long)]
    new_connections: bool,
    /// Who is asked for the addresses of the URL's name
    #[arg(long)]
    nameserver: Option<SocketAddr>,
    /// How many bytes each response has
    #[arg(long)]
    bytes: u64,
    /// Without the turn that is not told, which would be in the memory of the next
    #[arg(long)]
    cold: bool,
}

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Who {
    Plain,
    Traced,
}

/// What both clients are told.
#[derive(Debug, Clone, Copy)]
struct Options {
    new_connections: bool,
    nameserver: Option<SocketAddr>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    ensure!(cli.parts > 0 && cli.requests >= cli.parts, "there are more parts than requests");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for who in cli.client.iter().filter(|_| !cli.cold) {
            run(&cli, *who).await?;
        }
        let mut out = io::stdout().lock();
        for round in 0..cli.rounds {
            let mut turns = cli.client.clone();
            if round % 2 == 1 {
                turns.reverse();
            }
            for who in turns {
                let turn = run(&cli, who).await.with_context(|| format!("with {who:?}"))?;
                let times: Vec<u128> = turn.times.iter().map(Duration::as_nanos).collect();
                let who = who.to_possible_value().map(|value| value.get_name().to_owned());
                let line = json!({
                    "client": who,
                    "round": round,
                    "times_ns": times,
                    "peak_memory": turn.peak_memory,
                    "peak_memory_with_trace": peak_memory()?,
                });
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    })
}

/// What one client's turn cost.
struct Turn {
    /// Of each part of it.
    times: Vec<Duration>,
    /// Until its last response, in bytes.
    peak_memory: u64,
}

async fn run(cli: &Cli, who: Who) -> Result<Turn> {
    let options = Options { new_connections: cli.new_connections, nameserver: cli.nameserver };
    match who {
        Who::Plain => {
            let client = Plain::new(options);
            time(cli, || client.get(&cli.url)).await
        }
        Who::Traced => {
            let client = Traced::new(options)?;
            let turn = time(cli, || client.get(&cli.url)).await?;
            client.check(cli.requests, cli.bytes)?;
            Ok(turn)
        }
    }
}

async fn time<F: Future<Output = Result<u64>>>(cli: &Cli, get: impl Fn() -> F) -> Result<Turn> {
    let mut times = Vec::new();
    for part in 0..cli.parts {
        let requests = cli.requests / cli.parts + u32::from(part < cli.requests % cli.parts);
        let began = Instant::now();
        for _ in 0..requests {
            let bytes = get().await?;
            ensure!(bytes == cli.bytes, "a response has {bytes} bytes, and not {}", cli.bytes);
        }
        times.push(began.elapsed());
    }
    Ok(Turn { times, peak_memory: peak_memory()? })
}

/// The most memory that this process had resident, in bytes (`proc_pid_status(5)`).
fn peak_memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("reading our own status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: u64 = kibibytes.context("our own status tells no peak")?.trim().parse()?;
    Ok(kibibytes * 1024)
}
