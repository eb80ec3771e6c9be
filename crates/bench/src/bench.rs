//! One comparison: what is set up, who runs in it, and what is hoped for.

use std::io::Write;

use anyhow::{Context, Result};

use crate::{
    goal::Goal,
    race::{Contestant, Race},
    table,
};

/// A comparison by name.
pub(crate) struct Bench {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) setup: Box<dyn Fn() -> Result<Stage>>,
}

/// Who runs. What they run in lives as long as the contestants, who hold it.
pub(crate) struct Stage {
    pub(crate) contestants: Vec<Contestant>,
    /// The contestants that the others are compared with.
    pub(crate) references: Vec<&'static str>,
    pub(crate) goals: Vec<Goal>,
    /// What a reader of the numbers has to know.
    pub(crate) notes: Vec<String>,
}

impl Bench {
    /// Runs the comparison and prints it; returns whether every contestant ran.
    pub(crate) fn run(&self, rounds: usize, out: &mut impl Write) -> Result<bool> {
        writeln!(out, "{}: {}; {rounds} rounds", self.name, self.about)?;
        out.flush()?;
        let stage = (self.setup)().with_context(|| format!("setting up {}", self.name))?;
        let race = Race::run(&stage.contestants, rounds)?;

        write!(out, "\n{}", table::render(&race.results, &stage.references))?;
        for note in &stage.notes {
            writeln!(out, "  note: {note}")?;
        }
        for (name, reason) in &race.failures {
            writeln!(out, "  FAILED: {name}: {reason}")?;
        }
        for goal in &stage.goals {
            writeln!(out, "  goal: {}", goal.judge(&race.results))?;
        }
        writeln!(out)?;
        Ok(race.failures.is_empty())
    }
}
