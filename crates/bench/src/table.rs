//! The results as an aligned table.

use std::{fmt::Write, time::Duration};

use crate::{goal::megabytes, race::Outcome};

/// One line per contestant, with its wall time as a multiple of each reference's.
pub(crate) fn render(results: &[Outcome], references: &[&str]) -> String {
    let mut rows = vec![header(references)];
    rows.extend(results.iter().map(|result| row(result, results, references)));
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut table = String::new();
    for row in &rows {
        let (name, numbers) = (&row[0], row[1..].iter().zip(&widths[1..]));
        let _ = write!(table, "  {name:<width$}", width = widths[0]);
        for (number, width) in numbers {
            let _ = write!(table, "  {number:>width$}");
        }
        table.push('\n');
    }
    table
}

fn header(references: &[&str]) -> Vec<String> {
    let ratios = references.iter().map(|reference| format!("× {reference}"));
    let fixed = |name: &str| name.to_owned();
    let mut header = vec![fixed("contestant"), fixed("wall")];
    header.extend(ratios);
    header.extend([fixed("cpu"), fixed("peak memory")]);
    header
}

fn row(result: &Outcome, results: &[Outcome], references: &[&str]) -> Vec<String> {
    let ratio = |reference: &&str| {
        let reference = results.iter().find(|result| result.name == *reference);
        reference.map_or("-".to_owned(), |reference| {
            format!("{:.3}", result.wall.as_secs_f64() / reference.wall.as_secs_f64())
        })
    };
    let mut row = vec![result.name.to_owned(), milliseconds(result.wall)];
    row.extend(references.iter().map(ratio));
    row.extend([milliseconds(result.cpu), megabytes(result.peak_memory)]);
    row
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_a_reference_that_is_missing_leaves_a_dash() {
        let outcome = |name, milliseconds, peak_memory| {
            let wall = Duration::from_millis(milliseconds);
            Outcome { name, wall, cpu: wall, peak_memory }
        };
        let results = [outcome("fast", 5, 1_200_000), outcome("a slow one", 1000, 123_400_000)];
        let expected = "\
            \x20 contestant       wall  × a slow one  × lost        cpu  peak memory
            \x20 fast           5.0 ms         0.005       -     5.0 ms       1.2 MB
            \x20 a slow one  1000.0 ms         1.000       -  1000.0 ms     123.4 MB\n"
            .replace("            \u{20} ", "  ");
        assert_eq!(render(&results, &["a slow one", "lost"]), expected);
    }
}
