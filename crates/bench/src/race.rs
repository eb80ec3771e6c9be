//! Contestants, measured in turn so that what disturbs the machine disturbs all of them.

use std::{
    io::{BufRead, BufReader},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    goal::{Goal, megabytes},
    measurement::Measurement,
    table::Table,
};

/// Looks at what a command printed: whether it did the work that it is measured for.
type Check = Box<dyn Fn(&mut dyn BufRead) -> Result<()>>;

/// A command that takes part.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    command: Box<dyn Fn() -> Command>,
    check: Check,
}

impl Contestant {
    /// A contestant whose command is made anew for each run, and checked once before the first.
    pub(crate) fn new(
        name: &'static str,
        command: impl Fn() -> Command + 'static,
        check: impl Fn(&mut dyn BufRead) -> Result<()> + 'static,
    ) -> Self {
        Self { name, command: Box::new(command), check: Box::new(check) }
    }

    /// The first run warms the caches and is not counted.
    fn warm_up(&self) -> Result<()> {
        let (_, output) = Measurement::with_output((self.command)())?;
        (self.check)(&mut BufReader::new(output)).context("its result is wrong")
    }
}

/// The middle of a contestant's runs.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    /// Median.
    pub(crate) wall: Duration,
    /// Median.
    pub(crate) cpu: Duration,
    /// The greatest of all runs, in bytes.
    pub(crate) peak_memory: u64,
}

impl Outcome {
    fn new(name: &'static str, runs: &[Measurement]) -> Self {
        Self {
            name,
            wall: median(runs.iter().map(|run| run.wall)),
            cpu: median(runs.iter().map(|run| run.cpu)),
            peak_memory: runs.iter().map(|run| run.peak_memory).max().unwrap_or_default(),
        }
    }
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Race {
    pub(crate) results: Vec<Outcome>,
    /// Contestants that did not run, and why.
    pub(crate) failures: Vec<(&'static str, String)>,
}

impl Race {
    /// Runs the contestants A B C, A B C, …; one that fails before the first round is left out.
    pub(crate) fn run(contestants: &[Contestant], rounds: u32) -> Result<Self> {
        Self::run_prepared(contestants, rounds, || Ok(()))
    }

    /// The same where something is done before each round.
    pub(crate) fn run_prepared(
        contestants: &[Contestant],
        rounds: u32,
        prepare: impl Fn() -> Result<()>,
    ) -> Result<Self> {
        ensure!(!contestants.is_empty(), "nobody takes part");
        let mut running = Vec::new();
        let mut failures = Vec::new();
        for contestant in contestants {
            match contestant.warm_up() {
                Ok(()) => running.push((contestant, Vec::new())),
                Err(error) => failures.push((contestant.name, format!("{error:#}"))),
            }
        }
        for _ in 0..rounds {
            prepare().context("preparing a round")?;
            for (contestant, runs) in &mut running {
                let run = Measurement::of((contestant.command)());
                runs.push(run.with_context(|| format!("running {}", contestant.name))?);
            }
        }
        let outcome =
            |(contestant, runs): &(&Contestant, Vec<_>)| Outcome::new(contestant.name, runs);
        Ok(Self { results: running.iter().map(outcome).collect(), failures })
    }

    /// One line per contestant, with its wall time as a multiple of each reference's.
    pub(crate) fn table(&self, references: &[&str]) -> Table {
        let ratios = references.iter().map(|reference| format!("× {reference}"));
        let before = ["contestant", "wall"].map(str::to_owned).into_iter();
        let mut table =
            Table::new(before.chain(ratios).chain(["cpu", "peak memory"].map(str::to_owned)));
        for result in &self.results {
            let mut row = vec![result.name.to_owned(), milliseconds(result.wall)];
            row.extend(references.iter().map(|reference| {
                let ratio = self.ratio(result.name, reference);
                ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"))
            }));
            row.extend([milliseconds(result.cpu), megabytes(result.peak_memory)]);
            table.push(row);
        }
        table
    }

    /// At most so many times the wall time of the reference.
    pub(crate) fn wall_goal(&self, contestant: &str, reference: &str, at_most: f64) -> Goal {
        let ratio = self.ratio(contestant, reference);
        Goal::new(
            format!("{contestant} ≤ {at_most} × the wall time of {reference}"),
            ratio.map(|ratio| (ratio <= at_most, format!("{ratio:.3}"))),
        )
    }

    /// At least so many times as fast as the reference.
    pub(crate) fn speed_goal(&self, contestant: &str, reference: &str, at_least: f64) -> Goal {
        let ratio = self.ratio(reference, contestant);
        Goal::new(
            format!("{contestant} ≥ {at_least} × the speed of {reference}"),
            ratio.map(|ratio| (ratio >= at_least, format!("{ratio:.3}"))),
        )
    }

    /// Less peak memory than so many bytes.
    pub(crate) fn peak_memory_goal(&self, contestant: &str, below: u64) -> Goal {
        let bytes = self.find(contestant).map(|own| own.peak_memory);
        Goal::new(
            format!("{contestant} < {} of memory", megabytes(below)),
            bytes.map(|bytes| (bytes < below, megabytes(bytes))),
        )
    }

    fn ratio(&self, contestant: &str, reference: &str) -> Option<f64> {
        let (own, other) = (self.find(contestant)?, self.find(reference)?);
        Some(own.wall.as_secs_f64() / other.wall.as_secs_f64())
    }

    fn find(&self, name: &str) -> Option<&Outcome> {
        self.results.iter().find(|result| result.name == name)
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

fn median(values: impl Iterator<Item = Duration>) -> Duration {
    let mut values: Vec<Duration> = values.collect();
    values.sort_unstable();
    let middle = values.len() / 2;
    match values.as_slice() {
        [] => Duration::ZERO,
        odd if odd.len() % 2 == 1 => odd[middle],
        even => (even[middle - 1] + even[middle]) / 2,
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use anyhow::bail;

    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        let of = |values: &[u64]| median(values.iter().copied().map(Duration::from_secs));
        assert_eq!(of(&[9, 1, 2]), Duration::from_secs(2));
        assert_eq!(of(&[9, 1, 2, 4]), Duration::from_secs(3));
    }

    fn race(results: &[(&'static str, u64, u64)]) -> Race {
        let outcome = |&(name, milliseconds, peak_memory)| {
            let wall = Duration::from_millis(milliseconds);
            Outcome { name, wall, cpu: wall, peak_memory }
        };
        Race { results: results.iter().map(outcome).collect(), failures: Vec::new() }
    }

    #[test]
    fn a_reference_that_is_missing_leaves_a_dash() {
        let race = race(&[("fast", 5, 1_200_000), ("slow", 1000, 123_400_000)]);
        let expected = "\
            \x20 contestant       wall  × slow  × lost        cpu  peak memory
            \x20 fast           5.0 ms   0.005       -     5.0 ms       1.2 MB
            \x20 slow        1000.0 ms   1.000       -  1000.0 ms     123.4 MB\n"
            .replace("            \u{20} ", "  ");
        assert_eq!(race.table(&["slow", "lost"]).to_string(), expected);
    }

    #[test]
    fn a_goal_compares_wall_times() {
        let judge = |a| race(&[("a", a, 1), ("b", 100, 1)]).wall_goal("a", "b", 0.2).to_string();
        assert_eq!(judge(20), "a ≤ 0.2 × the wall time of b: 0.200, met");
        assert_eq!(judge(21), "a ≤ 0.2 × the wall time of b: 0.210, MISSED");
    }

    #[test]
    fn a_goal_of_speed_is_that_of_wall_times_the_other_way() {
        let judge = |a| race(&[("a", a, 1), ("b", 160, 1)]).speed_goal("a", "b", 1.6).to_string();
        assert_eq!(judge(80), "a ≥ 1.6 × the speed of b: 2.000, met");
        assert_eq!(judge(101), "a ≥ 1.6 × the speed of b: 1.584, MISSED");
    }

    #[test]
    fn memory_has_to_be_below_its_goal() {
        let judge =
            |memory| race(&[("a", 1, memory)]).peak_memory_goal("a", 64_000_000).to_string();
        assert_eq!(judge(63_900_000), "a < 64.0 MB of memory: 63.9 MB, met");
        assert_eq!(judge(64_000_000), "a < 64.0 MB of memory: 64.0 MB, MISSED");
    }

    #[test]
    fn a_goal_of_a_contestant_that_did_not_run_is_missed() {
        let judged = race(&[("b", 1, 1)]).wall_goal("a", "b", 0.2).to_string();
        assert_eq!(judged, "a ≤ 0.2 × the wall time of b: not measured, MISSED");
    }

    #[test]
    fn contestants_run_in_turn_after_one_run_each_that_is_not_counted() {
        let order = Rc::new(RefCell::new(String::new()));
        let contestant = |name: &'static str| {
            let order = Rc::clone(&order);
            let command = move || {
                order.borrow_mut().push_str(name);
                Command::new("true")
            };
            Contestant::new(name, command, |_| Ok(()))
        };
        let contestants = [contestant("a"), contestant("b")];
        let prepare = || {
            order.borrow_mut().push(' ');
            Ok(())
        };
        let race = Race::run_prepared(&contestants, 2, prepare).unwrap();
        assert_eq!(*order.borrow(), "ab ab ab");
        assert_eq!(race.results.len(), 2);
    }

    #[test]
    fn a_contestant_that_fails_or_prints_nonsense_is_named_and_the_others_run() {
        let wrong = Contestant::new("wrong", || Command::new("true"), |_| bail!("no sockets"));
        let broken = Contestant::new("broken", || Command::new("false"), |_| Ok(()));
        let good = Contestant::new("good", || Command::new("true"), |_| Ok(()));
        let race = Race::run(&[wrong, broken, good], 1).unwrap();
        assert_eq!(race.results[0].name, "good");
        assert_eq!(race.failures[0], ("wrong", "its result is wrong: no sockets".to_owned()));
        assert_eq!(race.failures[1].0, "broken");
    }
}
