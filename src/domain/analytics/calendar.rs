//! Days of a zone, made of quarters of an hour.

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::Filter;
use crate::domain::zone::Zone;

/// Days begin at a full quarter of an hour, in every zone there has been since 1972: no message needs
/// a finer time than that.
const QUARTER_MS: i64 = 15 * 60 * 1_000;

/// The quarter of an hour of an instant, since 1970.
pub(super) fn quarter(at: DateTime<Utc>) -> i32 {
    i32::try_from(at.timestamp_millis().div_euclid(QUARTER_MS)).unwrap_or(i32::MAX)
}

/// The days of the messages.
pub(super) struct Calendar {
    first_quarter: i32,
    /// By quarters from the first one.
    numbers: Vec<Option<u32>>,
    pub(super) dates: Vec<NaiveDate>,
}

impl Calendar {
    /// The days of a zone over the quarters that occur, as far as a filter admits them.
    pub(super) fn new(quarters: impl Iterator<Item = i32>, filter: &Filter) -> Self {
        let (mut numbers, mut dates) = (Vec::new(), Vec::new());
        let bounds = quarters.fold(None, |bounds: Option<(i32, i32)>, quarter| {
            let (first, last) = bounds.unwrap_or((quarter, quarter));
            Some((first.min(quarter), last.max(quarter)))
        });
        let Some((first_quarter, last_quarter)) = bounds else {
            return Self {
                first_quarter: 0,
                numbers,
                dates,
            };
        };
        let mut quarter = first_quarter;
        while quarter <= last_quarter {
            let date = filter.zone.local(start(quarter)).0;
            let until = next_day(date, &filter.zone).max(quarter.saturating_add(1));
            let is_in = filter.from.is_none_or(|from| date >= from)
                && filter.to.is_none_or(|to| date <= to);
            let number = is_in.then(|| {
                // A day comes twice where the clocks go back over midnight.
                if dates.last() != Some(&date) {
                    dates.push(date);
                }
                u32::try_from(dates.len() - 1).unwrap_or(u32::MAX)
            });
            let end = until.min(last_quarter.saturating_add(1));
            numbers.extend((quarter..end).map(|_| number));
            quarter = end;
        }
        Self {
            first_quarter,
            numbers,
            dates,
        }
    }

    /// The number of the day of a quarter; `None`, the filter does not admit it.
    pub(super) fn number(&self, quarter: i32) -> Option<u32> {
        let place = usize::try_from(quarter - self.first_quarter).ok()?;
        self.numbers.get(place).copied().flatten()
    }
}

fn start(quarter: i32) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(i64::from(quarter) * QUARTER_MS).unwrap_or_default()
}

/// The quarter in which the day after a date begins.
fn next_day(date: NaiveDate, zone: &Zone) -> i32 {
    let next = date.checked_add_days(Days::new(1)).unwrap_or(date);
    quarter(zone.instant_of_wall(next.and_time(chrono::NaiveTime::MIN)))
}
