//! What came of a bench.

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

use crate::{goal::Goal, table::Table};

/// What a bench prints.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) table: Table,
    /// What a reader of the numbers has to know.
    pub(crate) notes: Vec<String>,
    /// Who had to run and did not, and why.
    pub(crate) failures: Vec<(&'static str, String)>,
    pub(crate) goals: Vec<Goal>,
}

impl Report {
    /// Says why nothing was measured.
    pub(crate) fn only_note(note: String) -> Self {
        let (failures, goals) = (Vec::new(), Vec::new());
        Self { table: Table::new(["nothing measured"]), notes: vec![note], failures, goals }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table)?;
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        for (name, reason) in &self.failures {
            writeln!(f, "  FAILED: {name}: {reason}")?;
        }
        for goal in &self.goals {
            writeln!(f, "  goal: {goal}")?;
        }
        Ok(())
    }
}

/// Seconds of processor time per million of something, as text.
pub(crate) fn seconds_per_million(cpu: Duration, count: u64) -> String {
    if count == 0 {
        return "-".to_owned();
    }
    format!("{:.2}", cpu.as_secs_f64() * 1e6 / count as f64)
}

/// A number with its digits in groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_everything_on_a_line_of_its_own() {
        let report = Report {
            table: Table::new(["who", "what"]),
            notes: vec!["a note".to_owned()],
            failures: vec![("nobody", "it was not there".to_owned())],
            goals: vec![Goal::new("something", None)],
        };
        let expected = "  who  what\n  note: a note\n  FAILED: nobody: it was not there\n  \
                        goal: something: not measured, MISSED\n";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn costs_are_per_million() {
        assert_eq!(seconds_per_million(Duration::from_millis(1500), 500_000), "3.00");
        assert_eq!(seconds_per_million(Duration::from_secs(1), 0), "-");
    }

    #[test]
    fn digits_are_in_groups_of_three() {
        let numbers = [0, 999, 1000, 1_000_000, 12_345_678];
        assert_eq!(numbers.map(grouped), ["0", "999", "1,000", "1,000,000", "12,345,678"]);
    }
}
