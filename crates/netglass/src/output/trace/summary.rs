//! Percentiles of phases over many requests.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use anstyle::Style;
use http_trace::{HttpTrace, record::Layer};

use super::{
    failure::{failure, layer_name},
    show_nanoseconds,
    timeline::{Phase, spans, total},
};
use crate::output::table::{Align, Cell, Table};

/// Which percentiles are shown.
const SHOWN: [(&str, u8); 5] = [("MIN", 0), ("P50", 50), ("P90", 90), ("P99", 99), ("MAX", 100)];

/// How long each phase was, of all requests that were added.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    phases: BTreeMap<Phase, Vec<u64>>,
    totals: Vec<u64>,
    statuses: BTreeMap<u16, u64>,
    failures: BTreeMap<&'static str, u64>,
}

impl Summary {
    /// Adds all requests of a trace.
    pub(crate) fn add(&mut self, trace: &HttpTrace) {
        for request in &trace.requests {
            if let Some(status) = request.status {
                *self.statuses.entry(status).or_default() += 1;
            }
            if let Some(failure) = failure(request) {
                let layer: Layer = failure.layer;
                *self.failures.entry(layer_name(layer)).or_default() += 1;
                // How long what failed took says nothing of what works.
                continue;
            }
            for span in spans(request, trace.ended_at).iter().filter(|span| span.is_complete) {
                self.phases.entry(span.phase).or_default().push(span.nanoseconds());
            }
            self.totals.push(total(request, trace.ended_at));
        }
    }

    /// The median of a phase, in nanoseconds.
    pub(super) fn median(&self, phase: Phase) -> Option<u64> {
        percentile(&sorted(self.phases.get(&phase)?), 50)
    }

    /// The median of whole requests, in nanoseconds.
    pub(super) fn median_total(&self) -> Option<u64> {
        percentile(&sorted(&self.totals), 50)
    }

    /// Writes a table, with the styles of a terminal.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut columns = vec![("PHASE", Align::Left), ("COUNT", Align::Right)];
        columns.extend(SHOWN.map(|(title, _)| (title, Align::Right)));
        let mut table = Table::new(columns);
        let phases = self.phases.iter().map(|(phase, durations)| (phase.name(), durations));
        for (name, durations) in phases.chain([("total", &self.totals)]) {
            let durations = sorted(durations);
            let mut cells = vec![
                Cell::new(name.to_owned(), Style::new()),
                Cell::from(durations.len().to_string()),
            ];
            cells.extend(SHOWN.map(|(_, percent)| {
                let shown = percentile(&durations, percent).map(show_nanoseconds);
                Cell::new(shown.unwrap_or_else(|| "-".to_owned()), Style::new())
            }));
            table.push(cells);
        }
        table.write(out)?;
        let statuses =
            self.statuses.iter().map(|(status, count)| format!("{count} times {status}"));
        let failures =
            self.failures.iter().map(|(layer, count)| format!("{count} failed in {layer}"));
        let counts: Vec<String> = statuses.chain(failures).collect();
        if counts.is_empty() { Ok(()) } else { writeln!(out, "{}", counts.join(", ")) }
    }
}

fn sorted(durations: &[u64]) -> Vec<u64> {
    let mut durations = durations.to_vec();
    durations.sort_unstable();
    durations
}

/// The smallest of the values that so many in a hundred do not exceed (nearest rank).
fn percentile(sorted: &[u64], percent: u8) -> Option<u64> {
    let rank = (sorted.len() * usize::from(percent)).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let hundred: Vec<u64> = (1..=100).collect();
        let of = |percent| percentile(&hundred, percent);
        assert_eq!([of(0), of(50), of(90), of(99), of(100)], [1, 50, 90, 99, 100].map(Some));
        assert_eq!(percentile(&[7], 50), Some(7));
        assert_eq!(percentile(&[7, 9], 50), Some(7));
        assert_eq!(percentile(&[7, 9], 99), Some(9));
        assert_eq!(percentile(&[], 50), None);
    }
}
