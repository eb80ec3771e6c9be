//! What a load gets done in a second while somebody observes it, and while nobody does.
//!
//! The rate drifts, with the machine and with what else it does. So each round measures all
//! conditions in turn, and between any two of them the load alone: a ratio is that to the mean of
//! the two measurements without observer right before and right after.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{
    goal::Goal,
    report::{grouped, seconds_per_million},
    table::Table,
};

const WITHOUT: &str = "without";

/// What one run of the load got done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) per_second: f64,
    /// All of it.
    pub(crate) count: u64,
}

/// Somebody who observes the load.
pub(crate) trait Observer {
    /// The processor time that it has used so far.
    fn cpu_time(&self) -> Duration;

    /// Ends it; fails if it did not observe the work, returns what a reader should know of it.
    fn end(self: Box<Self>, work: Work) -> Result<Option<String>>;
}

/// Under which the load is measured.
pub(crate) struct Condition {
    pub(crate) name: &'static str,
    /// Starts the observer; it observes once this returns.
    pub(crate) start: Box<dyn Fn() -> Result<Box<dyn Observer>>>,
}

/// The load under a condition.
#[derive(Debug, Clone)]
struct Runs {
    name: &'static str,
    per_second: Vec<f64>,
    /// To the rate without observer, at that time.
    ratios: Vec<f64>,
    cpu: Duration,
    count: u64,
    failure: Option<String>,
    note: Option<String>,
}

/// The load under all conditions.
#[derive(Debug)]
pub(crate) struct Rates {
    runs: Vec<Runs>,
}

impl Rates {
    /// Measures; a condition whose observer fails is left out from then on.
    pub(crate) fn measure(
        conditions: &[Condition],
        rounds: u32,
        load: impl Fn() -> Result<Work>,
    ) -> Result<Self> {
        ensure!(rounds > 0, "there is nothing to be measured in no round");
        let mut runs: Vec<Runs> = conditions.iter().map(|it| Runs::new(it.name)).collect();
        // The first run warms the caches and is not counted.
        load()?;
        let mut without = vec![load()?];
        for _ in 0..rounds {
            for (condition, runs) in conditions.iter().zip(&mut runs) {
                if runs.failure.is_some() {
                    continue;
                }
                match runs.observe(condition, &load) {
                    Ok(work) => {
                        let (before, after) = (without[without.len() - 1], load()?);
                        let reference = f64::midpoint(before.per_second, after.per_second);
                        runs.ratios.push(work.per_second / reference);
                        without.push(after);
                    }
                    Err(error) => runs.failure = Some(format!("{error:#}")),
                }
            }
        }
        runs.insert(0, Runs::without(&without));
        Ok(Self { runs })
    }

    /// One line per condition; `unit` is what the load does.
    pub(crate) fn table(&self, unit: &str) -> Table {
        let mut table = Table::new([
            "condition".to_owned(),
            format!("{unit}/s"),
            "× without".to_owned(),
            "from … to".to_owned(),
            "its cpu".to_owned(),
            format!("cpu s per million {unit}"),
        ]);
        for runs in self.runs.iter().filter(|runs| !runs.ratios.is_empty()) {
            let ratios = &runs.ratios;
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let most = ratios.iter().copied().fold(0.0, f64::max);
            let mut row = vec![
                runs.name.to_owned(),
                whole(median(&runs.per_second)),
                format!("{:.3}", median(ratios)),
                format!("{least:.3} … {most:.3}"),
            ];
            row.extend(if runs.name == WITHOUT {
                ["-".to_owned(), "-".to_owned()]
            } else {
                let cpu = format!("{:.2} s", runs.cpu.as_secs_f64());
                [cpu, seconds_per_million(runs.cpu, runs.count)]
            });
            table.push(row);
        }
        table
    }

    /// Conditions whose observer failed, and why.
    pub(crate) fn failures(&self) -> Vec<(&'static str, String)> {
        let failure = |runs: &Runs| Some((runs.name, runs.failure.clone()?));
        self.runs.iter().filter_map(failure).collect()
    }

    /// What a reader should know of the observers.
    pub(crate) fn notes(&self) -> Vec<String> {
        let note = |runs: &Runs| Some(format!("{}: {}", runs.name, runs.note.as_ref()?));
        self.runs.iter().filter_map(note).collect()
    }

    /// At least so much of the rate without observer.
    pub(crate) fn goal(&self, condition: &str, at_least: f64) -> Goal {
        let runs = self.runs.iter().find(|runs| runs.name == condition);
        let ratio = runs
            .filter(|runs| runs.failure.is_none() && !runs.ratios.is_empty())
            .map(|runs| median(&runs.ratios));
        Goal::new(
            format!("with {condition} ≥ {at_least} × the rate without"),
            ratio.map(|ratio| (ratio >= at_least, format!("{ratio:.3}"))),
        )
    }
}

impl Runs {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            per_second: Vec::new(),
            ratios: Vec::new(),
            cpu: Duration::ZERO,
            count: 0,
            failure: None,
            note: None,
        }
    }

    /// Its ratios are those to the median, which show how much the rate drifts by itself.
    fn without(works: &[Work]) -> Self {
        let per_second: Vec<f64> = works.iter().map(|work| work.per_second).collect();
        let median = median(&per_second);
        let ratios = per_second.iter().map(|rate| rate / median).collect();
        Self { per_second, ratios, ..Self::new(WITHOUT) }
    }

    fn observe(&mut self, condition: &Condition, load: impl Fn() -> Result<Work>) -> Result<Work> {
        let observer = (condition.start)()?;
        let before = observer.cpu_time();
        let work = load().context("running the load")?;
        let cpu = observer.cpu_time().saturating_sub(before);
        self.note = observer.end(work)?;
        self.per_second.push(work.per_second);
        self.cpu += cpu;
        self.count += work.count;
        Ok(work)
    }
}

/// The middle one, or what is between the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.as_slice() {
        [] => f64::NAN,
        odd if odd.len() % 2 == 1 => odd[middle],
        even => f64::midpoint(even[middle - 1], even[middle]),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive, and far below what an integer holds"
)]
fn whole(rate: f64) -> String {
    grouped(rate.round() as u64)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use anyhow::bail;

    use super::*;

    /// Slows the load down while it is there, and uses a second for each look at its time.
    struct Slowing {
        factor: Rc<Cell<f64>>,
        looks: Cell<u64>,
    }

    impl Observer for Slowing {
        fn cpu_time(&self) -> Duration {
            self.looks.set(self.looks.get() + 1);
            Duration::from_secs(self.looks.get())
        }

        fn end(self: Box<Self>, _: Work) -> Result<Option<String>> {
            self.factor.set(1.0);
            Ok(Some("it was slow".to_owned()))
        }
    }

    #[test]
    fn each_rate_is_compared_with_those_before_and_after_it() {
        let factor = Rc::new(Cell::new(1.0));
        let slow = Condition {
            name: "slow",
            start: {
                let factor = Rc::clone(&factor);
                Box::new(move || {
                    factor.set(0.5);
                    Ok(Box::new(Slowing { factor: Rc::clone(&factor), looks: Cell::new(0) }))
                })
            },
        };
        let broken = Condition { name: "broken", start: Box::new(|| bail!("no such mode")) };
        // The machine gets slower by ten with each run.
        let machine = Cell::new(1020.0);
        let load = || {
            machine.set(machine.get() - 10.0);
            Ok(Work { per_second: machine.get() * factor.get(), count: 1_000_000 })
        };
        let rates = Rates::measure(&[slow, broken], 3, load).unwrap();

        let expected = [
            "  condition  requests/s  × without      from … to  its cpu  cpu s per million requests",
            "  without           970      1.000  0.969 … 1.031        -                           -",
            "  slow              485      0.500  0.500 … 0.500   3.00 s                        1.00",
        ];
        assert_eq!(rates.table("requests").to_string().lines().collect::<Vec<_>>(), expected);
        assert_eq!(rates.failures(), [("broken", "no such mode".to_owned())]);
        assert_eq!(rates.notes(), ["slow: it was slow"]);
        let judge = |name, at_least| rates.goal(name, at_least).to_string();
        assert_eq!(judge("slow", 0.5), "with slow ≥ 0.5 × the rate without: 0.500, met");
        assert_eq!(judge("slow", 0.98), "with slow ≥ 0.98 × the rate without: 0.500, MISSED");
        let unmeasured = "with broken ≥ 0.98 × the rate without: not measured, MISSED";
        assert_eq!(judge("broken", 0.98), unmeasured);
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert!((median(&[9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[9.0, 1.0, 2.0, 4.0]) - 3.0).abs() < f64::EPSILON);
    }
}
