//! What a bulk operation changes, the database's planner must hear of: see
//! [`dialect::refresh_statistics`].

use std::ops::Range;

use crate::app::Services;
use crate::domain::bulk::BulkKind;
use crate::store::dialect;

/// What changes less is left to the database's own looks.
const NOTICED: i64 = 1_000;

/// Has the planner look at what an operation of this kind changes, each time that what is done of
/// it has doubled, and at its end: a dozen looks for a million items. `done` is what was done before
/// a chunk and after it. Where the looks fail, statements are slower for a minute, nothing else.
pub(super) async fn follow(services: &Services, kind: BulkKind, done: Range<i64>, over: bool) {
    if !is_time(&done, over) {
        return;
    }
    let looked = dialect::refresh_statistics(services.db.write(), changed_by(kind)).await;
    if let Err(error) = looked {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the database did not look at how its tables have grown"
        );
    }
}

fn is_time(done: &Range<i64>, over: bool) -> bool {
    let size = |n: i64| (n / NOTICED).checked_ilog2();
    done.end >= NOTICED && (over || size(done.end) > size(done.start))
}

fn changed_by(kind: BulkKind) -> &'static [&'static str] {
    match kind {
        BulkKind::ImportPeople => &["person", "event", "bulk_outcome"],
        BulkKind::Enrol
        | BulkKind::Pause
        | BulkKind::Resume
        | BulkKind::Remove
        | BulkKind::Undo => &["lead", "execution", "task", "event", "bulk_outcome"],
    }
}

#[cfg(test)]
mod tests {
    use super::is_time;

    #[test]
    fn it_is_time_whenever_as_much_again_is_done_and_at_the_end() {
        let chunks = (0..2_000).map(|n| n * 500..(n + 1) * 500);
        let times: Vec<i64> = chunks
            .filter(|done| is_time(done, done.end == 1_000_000))
            .map(|done| done.end / 1_000)
            .collect();
        assert_eq!(times, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000]);
        assert!(!is_time(&(0..999), true));
    }
}
