//! Days as folders are named by them.

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// `yyyy-mm-dd` of a moment, UTC, in the calendar of today; years beyond 9999 are 9999's last day.
pub fn day_name(ms: u64) -> String {
    const LAST: u64 = 2_932_896; // 9999-12-31
    let days = (ms / DAY_MS).min(LAST);
    // Counted in years that begin in March, so that the leap day is a year's last one.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// When the day of a folder's name begins, UTC milliseconds; `None` for what no folder of ours is called.
pub fn parse_day(name: &str) -> Option<u64> {
    let mut parts = name.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if name.len() != 10 || !name.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return None;
    }
    let (year, month, day): (u64, u64, u64) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    if year < 1970 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let year_of_march = year - u64::from(month <= 2);
    let (era, year_of_era) = (year_of_march / 400, year_of_march % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let ms = (era * 146_097 + of_era).checked_sub(719_468)?.checked_mul(DAY_MS)?;
    (day_name(ms) == name).then_some(ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_are_named_as_the_calendar_has_them() {
        let cases = [
            (0, "1970-01-01"),
            (DAY_MS - 1, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (1_772_236_800_000, "2026-02-28"),
            (1_835_395_200_000, "2028-02-29"),
            (4_107_542_400_000, "2100-03-01"),
            (u64::MAX, "9999-12-31"),
        ];
        for (ms, name) in cases {
            assert_eq!(day_name(ms), name);
            assert_eq!(parse_day(name), Some((ms / DAY_MS).min(2_932_896) * DAY_MS), "{name}");
        }
        for wrong in ["", "2026-2-3", "2026-02-30", "2026-13-01", "1969-12-31", "2026-02-3x", "+026-02-01"] {
            assert_eq!(parse_day(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_day_comes_back_from_its_name_and_no_name_panics(ms in 0u64..253_402_300_800_000, text in ".*") {
            prop_assert_eq!(parse_day(&day_name(ms)), Some(ms / DAY_MS * DAY_MS));
            let _ = parse_day(&text);
        }
    }
}
