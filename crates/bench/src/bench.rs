//! One bench: its name, what it is about, and how it is done.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Args;

use crate::report::Report;

/// How much is done.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Effort {
    /// How often each contestant is measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// A part of the connections and packets, and of the time of the others, for a quick try
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_scale)]
    pub(crate) scale: f64,
}

impl Effort {
    /// The part of `count` that is to be done, but at least `least`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a scale is positive and at most 1"
    )]
    pub(crate) fn scaled(self, count: u64, least: u64) -> u64 {
        ((count as f64 * self.scale).round() as u64).max(least)
    }
}

/// A bench by name.
pub(crate) struct Bench {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) measure: Box<dyn Fn() -> Result<Report>>,
}

impl Bench {
    /// Does it and prints what came of it; returns whether everybody ran who had to.
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<bool> {
        writeln!(out, "{}: {}\n", self.name, self.about)?;
        out.flush()?;
        let report = (self.measure)().with_context(|| format!("running {}", self.name))?;
        writeln!(out, "{report}")?;
        Ok(report.failures.is_empty())
    }
}

fn parse_scale(text: &str) -> Result<f64, String> {
    let scale = text.parse::<f64>().map_err(|error| error.to_string())?;
    if scale > 0.0 && scale <= 1.0 { Ok(scale) } else { Err("it is over 0 and at most 1".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_done_but_never_nothing() {
        let scaled = |scale| Effort { rounds: 1, scale }.scaled(1_000_000, 100);
        assert_eq!([1.0, 0.01, 0.000_001].map(scaled), [1_000_000, 10_000, 100]);
    }

    #[test]
    fn a_scale_is_a_part() {
        assert_eq!(parse_scale("0.25"), Ok(0.25));
        for wrong in ["0", "-1", "1.5", "nan", "much"] {
            assert!(parse_scale(wrong).is_err(), "{wrong}");
        }
    }
}
