//! Numbers as people read them.

/// A score with four digits, a dash where there is none.
pub(super) fn score(value: Option<f64>) -> String {
    value.filter(|v| v.is_finite()).map_or_else(|| "–".into(), |v| format!("{v:.4}"))
}

/// A share as percent with one digit.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A whole number with separated thousands.
pub(super) fn count(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join(",")
}

/// Seconds as `1 h 02 min`, `3 min 05 s` or `7.3 s`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        3600.. => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
        60.. => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{seconds:.1} s"),
    }
}

/// Bytes in the unit that leaves up to three digits.
pub(super) fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}

/// A JSON value without quotes around text.
pub(super) fn value(v: &serde_json::Value) -> String {
    match v {
        serde_json::Value::String(s) => s.clone(),
        serde_json::Value::Null => "none".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (count(0), count(999), count(4534), count(1_234_567)),
            ("0".into(), "999".into(), "4,534".into(), "1,234,567".into())
        );
        assert_eq!(
            (duration(7.25), duration(185.0), duration(3720.0)),
            ("7.2 s".into(), "3 min 05 s".into(), "1 h 02 min".into())
        );
        assert_eq!(
            (bytes(12), bytes(1500), bytes(2_500_000)),
            ("12 B".into(), "1.5 kB".into(), "2.5 MB".into())
        );
        assert_eq!(
            (score(None), score(Some(f64::NAN)), score(Some(0.70214))),
            ("–".into(), "–".into(), "0.7021".into())
        );
        assert_eq!(percent(0.5), "50.0 %");
    }
}
