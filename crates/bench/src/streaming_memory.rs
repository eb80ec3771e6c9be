//! Whether the memory of a probe stays what it is while millions of connections come and go.

use anyhow::Result;

use crate::{
    bench::{Bench, Effort},
    churn::Churn,
    goal::{Goal, megabytes},
    netglass::{Mode, Probe},
    report::{Report, grouped, seconds_per_million},
    table::Table,
};

const CONNECTIONS: u64 = 5_000_000;
/// Pairs of a client and a server.
const PAIRS: u16 = 100;
/// How many samples are taken, each after the same number of connections.
const SAMPLES: u64 = 10;
/// The greatest sample may be larger than the smallest by so much of it.
const AT_MOST: f64 = 0.05;

/// The bench of this file.
pub(crate) fn benches(effort: Effort) -> Vec<Bench> {
    let connections = effort.scaled(CONNECTIONS, u64::from(PAIRS) * SAMPLES);
    vec![Bench {
        name: "streaming-memory".to_owned(),
        about: format!(
            "{} connections, opened and closed at once by {PAIRS} pairs of processes",
            grouped(connections)
        ),
        measure: Box::new(move || measure(connections)),
    }]
}

/// The probe's resident size when so many connections were opened.
type Sample = (u64, u64);

fn measure(connections: u64) -> Result<Report> {
    let mut churn = Churn::prepare(PAIRS, connections)?;
    let mut table = Table::new(["opened", "resident"]);
    Ok(match observe(&mut churn, connections) {
        Ok((samples, notes)) => {
            for (opened, resident) in &samples {
                table.push([grouped(*opened), megabytes(*resident)]);
            }
            Report { table, notes, failures: Vec::new(), goals: vec![goal(&samples)] }
        }
        Err(error) => Report {
            table,
            notes: Vec::new(),
            failures: vec![(Mode::Streaming.name(), format!("{error:#}"))],
            goals: vec![goal(&[])],
        },
    })
}

fn observe(churn: &mut Churn, connections: u64) -> Result<(Vec<Sample>, Vec<String>)> {
    let probe = Probe::start(Mode::Streaming)?;
    let (before, cpu) = (churn.opens()?.active, probe.cpu_time());
    churn.start();
    let mut samples = Vec::new();
    for part in 1..=SAMPLES {
        churn.wait_until_opened(before + connections * part / SAMPLES)?;
        samples.push((churn.opens()?.active - before, probe.resident_size()?));
    }
    churn.wait_until_done()?;
    let stored = probe.end()?;
    let per_million = seconds_per_million(stored.cpu.saturating_sub(cpu), connections);
    let mut notes = vec![format!("{per_million} cpu seconds of netglass per million connections")];
    notes.extend(stored.said.lines().map(str::to_owned));
    Ok((samples, notes))
}

/// The first sample ends what a probe needs to get under way.
fn goal(samples: &[Sample]) -> Goal {
    let sizes = || samples.iter().map(|(_, resident)| *resident);
    let spread = sizes().min().zip(sizes().max()).map(|(least, most)| {
        let spread = (most - least) as f64 / least as f64;
        (spread <= AT_MOST, format!("{:.1} %", spread * 100.0))
    });
    Goal::new(
        format!("resident size after the first tenth within {:.0} %", AT_MOST * 100.0),
        spread,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_the_extremes() {
        let judge = |last| goal(&[(1, 20_000_000), (2, 20_400_000), (3, last)]).to_string();
        let aim = "resident size after the first tenth within 5 %";
        assert_eq!(judge(21_000_000), format!("{aim}: 5.0 %, met"));
        assert_eq!(judge(19_000_000), format!("{aim}: 7.4 %, MISSED"));
        assert_eq!(goal(&[]).to_string(), format!("{aim}: not measured, MISSED"));
    }
}
