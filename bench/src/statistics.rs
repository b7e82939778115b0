//! Medians and percentiles.

use serde::{Deserialize, Serialize};

/// How long single operations took, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the operations took at most this.
    pub p50_ms: f64,
    /// 99 of 100 operations took at most this.
    pub p99_ms: f64,
    /// The slowest one.
    pub max_ms: f64,
}

impl Latency {
    /// Sums up single durations in microseconds, in any order; `None` without any.
    pub fn of(mut micros: Vec<u64>) -> Option<Self> {
        micros.sort_unstable();
        let at = |share: f64| percentile(&micros, share).map(|value| value as f64 / 1e3);
        Some(Self { p50_ms: at(0.5)?, p99_ms: at(0.99)?, max_ms: at(1.0)? })
    }
}

/// The smallest value that at least `share` (0 to 1) of the sorted values do not pass; `None` without values.
pub fn percentile(sorted: &[u64], share: f64) -> Option<u64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// The middle value, or the mean of the two in the middle; values that are not numbers are left out, `None`
/// without any.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    values.get(middle - 1).map(|lower| f64::midpoint(*lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_the_mean_of_two() {
        let table: [(&str, &[f64], Option<f64>); 6] = [
            ("nothing", &[], None),
            ("one", &[3.0], Some(3.0)),
            ("odd, unsorted", &[9.0, 1.0, 4.0], Some(4.0)),
            ("even", &[1.0, 2.0, 4.0, 100.0], Some(3.0)),
            ("negative", &[-2.0, -1.0, 0.0], Some(-1.0)),
            ("not a number is left out", &[f64::NAN, 5.0], Some(5.0)),
        ];
        for (row, values, expected) in table {
            assert_eq!(median(values.iter().copied()), expected, "{row}");
        }
    }

    #[test]
    fn percentile_is_a_value_that_was_measured() {
        let hundred: Vec<u64> = (1..=100).collect();
        let table: [(&str, &[u64], f64, Option<u64>); 7] = [
            ("nothing", &[], 0.5, None),
            ("one value is every percentile", &[7], 0.99, Some(7)),
            ("half of a hundred", &hundred, 0.5, Some(50)),
            ("99 of a hundred", &hundred, 0.99, Some(99)),
            ("all of a hundred", &hundred, 1.0, Some(100)),
            ("none of a hundred is the smallest", &hundred, 0.0, Some(1)),
            ("a few values round up", &[1, 2, 3], 0.5, Some(2)),
        ];
        for (row, values, share, expected) in table {
            assert_eq!(percentile(values, share), expected, "{row}");
        }
    }

    #[test]
    fn latency_sorts_and_turns_into_milliseconds() {
        assert_eq!(Latency::of(Vec::new()), None);
        let latency = Latency::of(vec![3000, 1000, 2000]);
        assert_eq!(latency, Some(Latency { p50_ms: 2.0, p99_ms: 3.0, max_ms: 3.0 }));
    }
}
