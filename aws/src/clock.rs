//! Times as the table spells them, which is part of sort keys: `2025-11-13T02:00:00.123456+00:00`.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeZone, Utc};

/// A time as the table's other writers spell it: six digits of fraction, none at all where they are zero.
pub fn iso_time(time: DateTime<Utc>) -> String {
    let micros = time.timestamp_subsec_micros();
    let whole = time.format("%Y-%m-%dT%H:%M:%S");
    if micros == 0 { format!("{whole}+00:00") } else { format!("{whole}.{micros:06}+00:00") }
}

/// Now, but always a microsecond or more after the last answer: two records of one name must not share a key.
pub fn next_time() -> String {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = Utc::now().timestamp_micros();
    let step = |last: i64| Some(now.max(last + 1));
    let last = LAST.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step).unwrap_or(now);
    let micros = now.max(last + 1);
    Utc.timestamp_micros(micros).single().map_or_else(|| iso_time(Utc::now()), iso_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelled_as_sort_keys_have_them() {
        let time = Utc.timestamp_micros(1_763_000_000_123_456).single().unwrap();
        assert_eq!(iso_time(time), "2025-11-13T02:13:20.123456+00:00");
        let whole = Utc.timestamp_micros(1_763_000_000_000_000).single().unwrap();
        assert_eq!(iso_time(whole), "2025-11-13T02:13:20+00:00");
    }

    #[test]
    fn no_two_answers_are_the_same() {
        let times: std::collections::BTreeSet<String> = (0..1000).map(|_| next_time()).collect();
        assert_eq!(times.len(), 1000);
    }
}
