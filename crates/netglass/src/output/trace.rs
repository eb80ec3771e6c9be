//! How the trace of requests is written: one file for each format. Documented in `docs/trace.md`.

pub(crate) mod comparison;
mod detail;
mod failure;
#[cfg(test)]
mod fixtures;
pub(crate) mod har;
pub(crate) mod otlp;
pub(crate) mod summary;
pub(crate) mod text;
pub(crate) mod timeline;
mod verbose;

pub(crate) use self::failure::{exit_status, failure, sentence, sentence_of};

/// A duration with about three digits: microseconds, milliseconds, or seconds from ten on.
fn show_nanoseconds(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds as f64 / 1e6;
    match nanoseconds {
        0..100_000 => format!("{:.0} µs", milliseconds * 1e3),
        100_000..10_000_000 => format!("{milliseconds:.2} ms"),
        10_000_000..100_000_000 => format!("{milliseconds:.1} ms"),
        100_000_000..10_000_000_000 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.1} s", milliseconds / 1e3),
    }
}

#[cfg(test)]
mod tests;
