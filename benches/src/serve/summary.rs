//! What a stretch of load came to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status, or how the connection failed.
    pub status: Result<u16, String>,
    /// From the request's first byte to the answer's last.
    pub took: Duration,
    /// When it was there, counted from the begin of the load.
    pub at: Duration,
}

/// Counts and times of a load.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Seconds of load.
    pub seconds: f64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, usize>,
    /// Requests that got no answer, by what went wrong.
    pub failures: BTreeMap<String, usize>,
    /// Answers of status 200 per second.
    pub per_second: f64,
    /// Median of accepted requests, ms.
    pub p50_ms: f64,
    /// 99th percentile of accepted requests, ms.
    pub p99_ms: f64,
}

impl Summary {
    /// Of all answers in `seconds`.
    pub fn of(answers: &[Answer], seconds: f64) -> Self {
        let (mut statuses, mut failures) = (BTreeMap::new(), BTreeMap::new());
        for answer in answers {
            match &answer.status {
                Ok(status) => *statuses.entry(*status).or_insert(0) += 1,
                Err(reason) => *failures.entry(reason.clone()).or_insert(0) += 1,
            }
        }
        let mut taken: Vec<f64> =
            answers.iter().filter(|a| a.status == Ok(200)).map(|a| a.took.as_secs_f64() * 1e3).collect();
        taken.sort_by(f64::total_cmp);
        let quantile = |q: f64| {
            let place = (taken.len().saturating_sub(1) as f64 * q).round() as usize;
            taken.get(place).copied().unwrap_or(f64::NAN)
        };
        Self {
            seconds,
            per_second: taken.len() as f64 / seconds,
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            statuses,
            failures,
        }
    }

    /// Whether there were answers, all of them of status 200.
    pub fn all_accepted(&self) -> bool {
        self.failures.is_empty() && self.statuses.keys().eq([&200])
    }

    /// Answers of a status.
    pub fn count(&self, status: u16) -> usize {
        self.statuses.get(&status).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accepted_requests_are_timed() {
        let answer =
            |status, ms| Answer { status: Ok(status), took: Duration::from_millis(ms), at: Duration::ZERO };
        let mut answers: Vec<Answer> = (1..=100).map(|ms| answer(200, ms)).collect();
        assert!(Summary::of(&answers, 10.0).all_accepted() && !Summary::of(&[], 10.0).all_accepted());
        answers.push(answer(429, 5000));
        answers.push(Answer { status: Err("reset".into()), ..answer(200, 9000) });
        let summary = Summary::of(&answers, 10.0);
        assert_eq!((summary.per_second, summary.p50_ms, summary.p99_ms), (10.0, 51.0, 99.0));
        assert_eq!((summary.count(429), summary.count(503)), (1, 0));
        assert!(!summary.all_accepted());
        assert_eq!(summary.failures, BTreeMap::from([("reset".to_string(), 1)]));
    }
}
