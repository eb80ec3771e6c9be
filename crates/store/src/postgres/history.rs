//! Which observations tell of a window: the coarsest ones that lie within it as a whole, and finer
//! ones where it begins and ends ([`crate::resolution`]).

use std::time::Duration;

use tokio_postgres::{Client, Row, types::Type};

use super::{
    ask::{Parameter, ask},
    codec::Moment,
    fault::Fault,
    recent::Kind,
};
use crate::{Window, resolution::Resolution};

/// How long the buckets are in which is written, if nobody says otherwise.
const MINUTE: Duration = Duration::from_secs(60);

/// Which observations tell of a window.
pub(super) struct Bounds {
    since: Moment,
    until: Moment,
    /// What is in a bucket that starts from `since` on, and no later than this, touches the window, as
    /// long as buckets are no longer than those that were put away.
    settled: Moment,
    /// The buckets of each resolution, each range without its end.
    ranges: [Vec<[Moment; 2]>; 3],
}

/// What is known of the observations at one resolution.
struct Extent {
    /// How far they reach from the start of their bucket, in microseconds.
    before: i64,
    after: i64,
    kept_since: Moment,
    /// The end of the last one.
    latest: Moment,
}

impl Bounds {
    /// Those of a window.
    pub(super) async fn new(client: &Client, window: Window) -> Result<Self, Fault> {
        let text = "SELECT before, after, kept_since, latest FROM extent ORDER BY resolution";
        let rows = ask(client, text, &[]).await?;
        let [written, hour, day] = &rows[..] else {
            return Err(Fault::Malformed(format!("there are {} extents", rows.len())));
        };
        let extent = |row: &Row| {
            Ok::<_, Fault>(Extent {
                before: row.try_get(0)?,
                after: row.try_get(1)?,
                kept_since: row.try_get(2)?,
                latest: row.try_get(3)?,
            })
        };
        Ok(Self::of(window, &[extent(written)?, extent(hour)?, extent(day)?]))
    }

    fn of(window: Window, extents: &[Extent; 3]) -> Self {
        let [written, hour, day] = extents;
        let since = Moment::floor(window.since).max(day.kept_since).max(EARLIEST);
        let until = Moment::floor(window.until).min(LATEST);
        // All that may hold what touches the window.
        let touching = |extent: &Extent| {
            [since.plus(-extent.after), until.plus(extent.before.saturating_add(1))]
        };
        // All in which nothing is that does not touch it.
        let whole = |extent: &Extent, resolution: Resolution| {
            let first = resolution.ceil(since);
            let is_open = extent.latest <= until;
            let last = if is_open { LATEST } else { until.plus(-extent.after) };
            [first, resolution.ceil(resolution.floor(last).plus(1)).max(first)]
        };
        let kept = |extent: &Extent| [EARLIEST, extent.kept_since.max(EARLIEST)];
        let whole_hours = whole(hour, Resolution::Hour);
        let whole_days = whole(day, Resolution::Day);

        let days = common(&[whole_days, kept(hour)], touching(day));
        let hours = common(&[whole_hours, kept(written)], touching(hour));
        let hours = without(&without(&hours, whole_days), kept(hour));
        // What is in none of the hours that may hold any of it is in no bucket within them either.
        let touching_hours = Resolution::Hour.ceil(since.plus(-hour.after));
        let [first, end] = touching(written);
        let written_ones = without(&[[first.max(touching_hours), end]], whole_hours);
        let written_ones = without(&without(&written_ones, whole_days), kept(written));
        // What arrived last is in no extent yet: before anything was put away, nothing is known of how
        // far a bucket reaches.
        let longest = written.after.max(i64::try_from(MINUTE.as_micros()).unwrap_or(i64::MAX));
        let is_known = written.after > 0;
        let settled = if is_known { until.plus(longest.saturating_neg()) } else { EARLIEST };
        Self { since, until, settled, ranges: [written_ones, hours, days] }
    }

    /// The start of the first bucket that may hold what touches the window.
    pub(super) fn first(&self) -> Moment {
        self.ranges.iter().flatten().map(|[first, _]| *first).min().unwrap_or(self.since)
    }

    /// How many observations of one id there may be, but for those that came out of order. What was
    /// written is one for each minute, as long as nobody says otherwise.
    pub(super) fn most_of_one(&self) -> i64 {
        let lengths = Resolution::ALL.map(|resolution| {
            let length = resolution.length().unwrap_or(MINUTE).as_micros();
            i64::try_from(length).unwrap_or(i64::MAX)
        });
        let buckets = self.ranges.iter().zip(lengths).flat_map(|(ranges, length)| {
            ranges.iter().map(move |[first, end]| {
                let end = end.0.min(self.until.0);
                end.saturating_sub(first.0).max(0).div_euclid(length).saturating_add(1)
            })
        });
        buckets.fold(0, i64::saturating_add)
    }

    /// That something was observed within the window, as far as its row says so by itself: for all
    /// that was observed throughout, but not for all that was observed. The parameter follows those of
    /// [`Bounds::observations`].
    pub(super) fn surely_observed(&self, row: &str) -> (String, Parameter<'_>) {
        let number = self.parameters().len() + 1;
        let condition = format!("{row}.last_bucket BETWEEN $1 AND ${number}");
        (condition, (&self.settled, Type::TIMESTAMPTZ))
    }

    /// The parameters of [`Bounds::observations`].
    pub(super) fn parameters(&self) -> Vec<Parameter<'_>> {
        let moments = [&self.since, &self.until].into_iter();
        moments
            .chain(self.ranges.iter().flatten().flatten())
            .map(|moment| (moment as _, Type::TIMESTAMPTZ))
            .collect()
    }

    /// The observations of a kind that tell of the window, of everything or of that of which
    /// `condition` is true (`$id` in it is the id), in no order.
    pub(super) fn observations(&self, kind: Kind, condition: Option<&str>) -> String {
        let of = |id: &str| {
            let condition = condition.map(|condition| condition.replace("$id", id));
            condition.map(|condition| format!(" AND {condition}")).unwrap_or_default()
        };
        let columns = kind.columns();
        let id = format!("{}_id", kind.name());
        let mut parts = Vec::new();
        let mut number = 3;
        for (resolution, ranges) in Resolution::ALL.into_iter().zip(&self.ranges) {
            let table = resolution.table(kind);
            for _ in ranges {
                parts.push(format!(
                    "SELECT {columns} FROM {table} AS told
                     WHERE bucket >= ${number} AND bucket < ${} AND first_seen <= $2
                        AND last_seen >= $1{}",
                    number + 1,
                    of(&format!("told.{id}")),
                ));
                number += 2;
            }
        }
        // Whoever looks for any at all looks first where there are few, and most likely one.
        parts.reverse();
        parts.push(format!(
            "SELECT {} FROM recent WHERE kind = {} AND first_seen <= $2 AND last_seen >= $1{}",
            columns.replacen(&id, &format!("id AS {id}"), 1),
            kind as i16,
            of("recent.id"),
        ));
        format!("({}) o", parts.join(" UNION ALL "))
    }
}

/// What no time that can be held is beyond, and what the server can hold.
const EARLIEST: Moment = Moment(-(1 << 54));
const LATEST: Moment = Moment(1 << 54);

/// What any of the ranges has in common with `limits`, in order and once.
fn common(ranges: &[[Moment; 2]; 2], limits: [Moment; 2]) -> Vec<[Moment; 2]> {
    let within = |[first, end]: [Moment; 2]| [first.max(limits[0]), end.min(limits[1])];
    let [one, other] = ranges.map(within);
    let mut all = without(&[one], other);
    all.push(other);
    all.retain(|[first, end]| first < end);
    all.sort_unstable();
    all
}

/// What is left of the ranges.
fn without(ranges: &[[Moment; 2]], [first, end]: [Moment; 2]) -> Vec<[Moment; 2]> {
    let mut left: Vec<_> = ranges
        .iter()
        .flat_map(|&[from, to]| {
            if first >= end {
                [[from, to], [to, to]]
            } else {
                [[from, to.min(first)], [from.max(end), to]]
            }
        })
        .collect();
    left.retain(|[first, end]| first < end);
    left
}

impl Resolution {
    /// The start of the bucket.
    fn floor(self, moment: Moment) -> Moment {
        let length = self.length().map_or(1, |length| length.as_micros());
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        Moment(moment.0.div_euclid(length).saturating_mul(length))
    }

    /// The start of the first bucket that does not begin earlier.
    fn ceil(self, moment: Moment) -> Moment {
        let floor = self.floor(moment);
        let length = self.length().map_or(0, |length| length.as_micros());
        if floor == moment { floor } else { floor.plus(i64::try_from(length).unwrap_or(i64::MAX)) }
    }
}

#[cfg(test)]
mod tests {
    use netglass_model::Timestamp;
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000_000;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;

    proptest! {
        /// Each observation that touches the window is told at one resolution, however long the
        /// buckets are in which it was written.
        #[test]
        fn each_observation_is_told_once(
            observations in prop::collection::vec((0..2 * DAY, 0..3 * HOUR), 1..20),
            bucket in prop::sample::select(vec![MINUTE, 7 * MINUTE, HOUR, 2 * HOUR]),
            since in prop_oneof![0..2 * DAY, (0..48_i64).prop_map(|hours| hours * HOUR)],
            length in 0..DAY,
        ) {
            let floor = |time: i64, length: i64| time.div_euclid(length) * length;
            let buckets = |last: i64| {
                let written = floor(last, bucket);
                [written, floor(written, HOUR), floor(written, DAY)]
            };
            let extents = [0, 1, 2].map(|index| {
                let most = |of: fn(i64, i64, i64) -> i64| {
                    let all = observations.iter();
                    all.map(|&(last, length)| of(last - length, last, buckets(last)[index])).max()
                };
                Extent {
                    before: most(|first, _, bucket| bucket - first).unwrap().max(0),
                    after: most(|_, last, bucket| last - bucket).unwrap(),
                    kept_since: EARLIEST,
                    latest: Moment(most(|_, last, _| last).unwrap()),
                }
            });
            let time = |moment: i64| Timestamp::from_nanoseconds(moment * 1000);
            let window = Window { since: time(since), until: time(since + length) };
            let bounds = Bounds::of(window, &extents);
            for &(last, duration) in &observations {
                let told = buckets(last).into_iter().zip(&bounds.ranges).filter(|(bucket, ranges)| {
                    ranges.iter().any(|[first, end]| (*first..*end).contains(&Moment(*bucket)))
                });
                let told = told.count();
                prop_assert!(told <= 1, "{} is told {told} times", last);
                let touches = last >= since && last - duration <= since + length;
                if touches {
                    prop_assert_eq!(told, 1, "{} is missing", last);
                }
                let written = Moment(buckets(last)[0]);
                if (bounds.since..=bounds.settled).contains(&written) {
                    prop_assert!(touches, "{} is taken for observed", last);
                }
            }
        }

        /// Each minute that may touch the window is told at one resolution, at most.
        #[test]
        fn each_minute_is_told_once(
            since in 0..4 * DAY,
            length in 0..3 * DAY,
            latest in 0..8 * DAY,
            kept_by_hour in 0..5_i64,
            kept in 0..100_i64,
        ) {
            let until = since + length;
            let extent = |length: i64, kept_since| Extent {
                before: 0,
                after: length,
                kept_since: Moment(kept_since),
                latest: Moment(latest),
            };
            let hours = kept_by_hour * DAY;
            let extents = [
                extent(MINUTE, hours.max(kept * HOUR)),
                extent(HOUR, hours),
                extent(DAY, 0),
            ];
            let time = |moment: i64| Timestamp::from_nanoseconds(moment * 1000);
            let window = Window { since: time(since), until: time(until) };
            let bounds = Bounds::of(window, &extents);
            for minute in 0..8 * 24 * 60 {
                let buckets = [
                    minute * MINUTE,
                    (minute * MINUTE).div_euclid(HOUR) * HOUR,
                    (minute * MINUTE).div_euclid(DAY) * DAY,
                ];
                let told: Vec<usize> = (0..3)
                    .filter(|&index| {
                        let bucket = Moment(buckets[index]);
                        bounds.ranges[index].iter().any(|[first, end]| (*first..*end).contains(&bucket))
                    })
                    .collect();
                prop_assert!(told.len() <= 1, "minute {minute} is told by {told:?}");
                let end = minute * MINUTE + MINUTE - 1;
                if end <= latest && end >= since && minute * MINUTE <= until {
                    prop_assert_eq!(told.len(), 1, "minute {} is missing", minute);
                }
            }
        }
    }
}
