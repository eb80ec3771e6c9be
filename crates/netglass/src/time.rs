//! Moments and spans of time, as people write and read them.

use std::{fmt::Write as _, str::FromStr, time::Duration};

use jiff::{SignedDuration, Span, SpanRelativeTo};
use netglass_model::Timestamp;

/// Understands `10s`, `5m`, `1h30m`, `7d` and the like; a day has 24 hours.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let span = Span::from_str(text.trim()).map_err(|_| {
        "not a duration: give numbers with units, like 30s, 10m, 1h30m or 7d".to_owned()
    })?;
    let duration: SignedDuration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "years and months have no fixed length: give days".to_owned())?;
    if duration.is_negative() {
        return Err("a duration cannot be negative".to_owned());
    }
    if duration.is_zero() {
        return Err("a duration must be longer than nothing".to_owned());
    }
    Ok(duration.unsigned_abs())
}

/// A duration as [`parse_duration`] reads it.
pub(crate) fn show_duration(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let seconds = duration.as_secs();
    let mut shown = String::new();
    let mut rest = seconds;
    for (length, unit) in UNITS {
        if rest >= length {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{}{unit}", rest / length);
            rest %= length;
        }
    }
    if duration.subsec_millis() > 0 || seconds == 0 {
        let _ = write!(shown, "{}ms", duration.subsec_millis());
    }
    shown
}

/// A duration in its greatest unit, for columns of what is mostly short.
#[cfg(feature = "ebpf")]
pub(crate) fn show_latency(duration: Duration) -> String {
    match duration.as_nanos() {
        nanoseconds @ 0..1_000 => format!("{nanoseconds}ns"),
        nanoseconds @ 1_000..1_000_000 => format!("{}us", nanoseconds / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1}ms", duration.as_secs_f64() * 1e3),
        _ => format!("{:.1}s", duration.as_secs_f64()),
    }
}

/// A moment as people give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The present.
    Now,
    /// So long before the present, or at the start of the minute, hour or day of that.
    Ago { duration: Duration, unit: Option<Unit> },
    /// That one.
    At(Timestamp),
}

/// What a moment is rounded down to, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Minute,
    Hour,
    Day,
}

impl Unit {
    const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        })
    }
}

impl Moment {
    /// The moment it is when the present is `now`.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Now => now,
            Self::Ago { duration, unit } => {
                let moment = now.saturating_sub(duration);
                unit.map_or(moment, |unit| moment.bucket(unit.length()))
            }
            Self::At(moment) => moment,
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    /// `now`, a duration (`1h`, `1h ago`; `1h/h` from the start of that hour on), or a time stamp
    /// (RFC 3339).
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("now") {
            return Ok(Self::Now);
        }
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            let nanoseconds = i64::try_from(moment.as_nanosecond())
                .map_err(|_| "a moment must lie between the years 1678 and 2261".to_owned())?;
            return Ok(Self::At(Timestamp::from_nanoseconds(nanoseconds)));
        }
        let text = text.strip_suffix("ago").map_or(text, str::trim_end);
        let (duration, unit) = match text.rsplit_once('/') {
            None => (text, None),
            Some((duration, "m")) => (duration, Some(Unit::Minute)),
            Some((duration, "h")) => (duration, Some(Unit::Hour)),
            Some((duration, "d")) => (duration, Some(Unit::Day)),
            Some((_, unit)) => {
                return Err(format!("'{unit}' is no unit to round to: give /m, /h or /d"));
            }
        };
        parse_duration(duration)
            .map(|duration| Self::Ago { duration, unit })
            .map_err(|reason| format!("{reason}; or a time stamp, like 2026-01-31T14:00:00Z"))
    }
}

/// RFC 3339 in UTC, to the microsecond.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    // Nanoseconds in an i64 reach from 1677 to 2262, all of which jiff can hold.
    let moment =
        jiff::Timestamp::from_nanosecond(i128::from(moment.as_nanoseconds())).unwrap_or_default();
    format!("{moment:.6}")
}

/// How long before `now` something was, in its greatest unit: `3s ago`.
pub(crate) fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..172_800 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[cfg(feature = "ebpf")]
    #[test]
    fn a_latency_is_shown_in_its_greatest_unit() {
        let shown = |nanoseconds| show_latency(Duration::from_nanos(nanoseconds));
        assert_eq!([0, 999, 1_000].map(shown), ["0ns", "999ns", "1us"]);
        assert_eq!([12_345, 1_250_000].map(shown), ["12us", "1.2ms"]);
        assert_eq!(shown(2_000_000_000), "2.0s");
    }

    #[test]
    fn durations_are_numbers_with_units() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("10s"), Ok(10));
        assert_eq!(seconds("10m"), Ok(600));
        assert_eq!(seconds("1h30m"), Ok(5_400));
        assert_eq!(seconds("7d"), Ok(604_800));
        assert_eq!(seconds("1w"), Ok(604_800));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "not a duration"),
            ("10", "not a duration"),
            ("ten minutes", "not a duration"),
            ("0s", "longer than nothing"),
            ("-5m", "negative"),
            ("1mo", "fixed length"),
            ("99999999999999999999s", "not a duration"),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn moments_are_durations_ago_or_time_stamps() {
        let at = |seconds: i64| Timestamp::from_nanoseconds(seconds * 1_000_000_000);
        let moment = |text: &str| Moment::from_str(text).map(|moment| moment.at(at(7_200)));
        assert_eq!(moment("now"), Ok(at(7_200)));
        assert_eq!(moment("1h"), Ok(at(3_600)));
        assert_eq!(moment("1h ago"), Ok(at(3_600)));
        let rounded =
            |text: &str| moment(text).map(|moment| moment.as_nanoseconds() / 1_000_000_000);
        assert_eq!(rounded("1h/h").map(|second| second % 3_600), Ok(0));
        assert!(rounded("1h/h ago") <= rounded("1h") && rounded("1h/h") > rounded("2h"));
        assert_eq!(rounded("90s/m").map(|second| second % 60), Ok(0));
        assert_eq!(rounded("7d/d").map(|second| second % 86_400), Ok(0));
        assert_eq!(moment("1970-01-01T00:00:05Z"), Ok(at(5)));
        assert_eq!(moment("1970-01-01T01:00:05+01:00"), Ok(at(5)));
        assert!(moment("2026-01-31").unwrap_err().contains("time stamp"));
        assert!(moment("9000-01-01T00:00:00Z").unwrap_err().contains("2261"));
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn moments_print_in_utc_to_the_microsecond() {
        let moment = Timestamp::from_nanoseconds(1_700_000_000_123_456_789);
        assert_eq!(rfc3339(moment), "2023-11-14T22:13:20.123456Z");
        assert_eq!(rfc3339(Timestamp::default()), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn ages_have_one_unit() {
        let ago = |seconds| {
            let then = Timestamp::default();
            age(then.saturating_add(Duration::from_secs(seconds)), then)
        };
        assert_eq!(ago(0), "0s ago");
        assert_eq!(ago(59), "59s ago");
        assert_eq!(ago(60), "1m ago");
        assert_eq!(ago(3_600), "1h ago");
        assert_eq!(ago(200_000), "2d ago");
        let future = Timestamp::default().saturating_add(Duration::from_secs(9));
        assert_eq!(age(Timestamp::default(), future), "0s ago");
    }

    proptest! {
        #[test]
        fn a_shown_duration_reads_as_itself(milliseconds in 1_u64..1 << 40) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_moment_fails_to_print(nanoseconds in any::<i64>()) {
            let shown = rfc3339(Timestamp::from_nanoseconds(nanoseconds));
            let read: jiff::Timestamp = shown.parse().unwrap();
            prop_assert!((read.as_nanosecond() - i128::from(nanoseconds)).abs() < 1_000);
        }
    }
}
