//! One thread or all of them for the next window? Decided by what was measured, not by what was configured.
//!
//! All threads on one window answer a lone request soonest; as many windows side by side as there are cores, one thread
//! each, get the most through. How much company windows have had lately says which of the two the load asks for, and
//! measured times say whether all threads are any faster here at all (on a throttled or shared machine they may not be).

use std::time::Duration;

/// Who computes a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// One thread.
    Single,
    /// All threads.
    Wide,
}

impl Lane {
    /// As metrics call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Wide => "wide",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Single => Self::Wide,
            Self::Wide => Self::Single,
        }
    }
}

/// Windows are told apart by length, as longer ones profit more from threads.
const BUCKET: usize = 64;
const BUCKETS: usize = 9;
/// Weight of the newest observation in running means.
const NEW: f32 = 0.2;
/// All threads must take at most this share of one thread's time.
const WORTH: f32 = 0.9;
/// So often the lane that seems slower is measured again.
const LOOK_AGAIN: u32 = 16;

/// What was measured so far.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Share of windows that lately had company of other requests, 0..=1.
    company: f32,
    /// Seconds per window by length, of one thread and of all.
    single: [Option<f32>; BUCKETS],
    wide: [Option<f32>; BUCKETS],
    decisions: u32,
    /// Seconds per token of one thread, over all lengths.
    pace: Option<f32>,
}

impl Load {
    /// Who computes the next window; `alone` when no other is waiting or being computed, `company` when one of another
    /// request is.
    pub(super) fn choose(&mut self, alone: bool, company: bool, tokens: usize) -> Lane {
        self.company += NEW * (f32::from(u8::from(company)) - self.company);
        if !alone || self.company > 0.5 {
            return Lane::Single;
        }
        let bucket = bucket(tokens);
        let times = self.single.get(bucket).copied().flatten().zip(self.wide.get(bucket).copied().flatten());
        let seems = match times {
            Some((single, wide)) if wide > WORTH * single => Lane::Single,
            _ => Lane::Wide,
        };
        self.decisions = self.decisions.wrapping_add(1);
        if self.decisions.is_multiple_of(LOOK_AGAIN) { seems.other() } else { seems }
    }

    /// Takes in the time of one window. Only a window that was `alone` to its end tells one lane from the other: with
    /// company, both share the cores.
    pub(super) fn measured(&mut self, lane: Lane, alone: bool, tokens: usize, seconds: f32) {
        if lane == Lane::Single && tokens > 0 {
            self.pace = Some(mean(self.pace, seconds / tokens as f32));
        }
        if !alone {
            return;
        }
        let times = match lane {
            Lane::Single => &mut self.single,
            Lane::Wide => &mut self.wide,
        };
        if let Some(time) = times.get_mut(bucket(tokens)) {
            *time = Some(mean(*time, seconds));
        }
    }

    /// How long so many tokens take `workers` threads; nothing until something was measured.
    pub(super) fn time_for(&self, tokens: usize, workers: usize) -> Duration {
        let seconds = self.pace.unwrap_or(0.0) * tokens as f32 / workers.max(1) as f32;
        Duration::try_from_secs_f32(seconds).unwrap_or(Duration::MAX)
    }
}

fn mean(before: Option<f32>, new: f32) -> f32 {
    before.map_or(new, |mean| mean + NEW * (new - mean))
}

fn bucket(tokens: usize) -> usize {
    (tokens / BUCKET).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_window_gets_all_threads_and_a_crowd_one_each() {
        let mut load = Load::default();
        assert_eq!(load.choose(true, false, 100), Lane::Wide);
        for _ in 0..10 {
            assert_eq!(load.choose(false, true, 100), Lane::Single);
        }
        assert_eq!(load.choose(true, false, 100), Lane::Single, "one quiet moment is no low load");
        let quiet = (0..10).map(|_| load.choose(true, false, 100)).filter(|l| *l == Lane::Wide).count();
        assert!(quiet >= 6, "{quiet}");
    }

    #[test]
    fn a_requests_own_windows_are_no_company() {
        let mut load = Load::default();
        for _ in 0..10 {
            assert_eq!(load.choose(false, false, 512), Lane::Single);
            assert_eq!(load.choose(true, false, 100), Lane::Wide);
        }
    }

    #[test]
    fn waiting_work_takes_the_time_that_work_took() {
        let mut load = Load::default();
        assert_eq!(load.time_for(1000, 2), Duration::ZERO);
        load.measured(Lane::Single, false, 100, 0.5);
        assert_eq!(load.time_for(1000, 2).as_millis(), 2500);
    }

    #[test]
    fn threads_that_do_not_help_are_not_used_but_looked_at_again() {
        let mut load = Load::default();
        load.measured(Lane::Single, true, 100, 0.10);
        load.measured(Lane::Wide, true, 100, 0.11);
        let wide = (0..3 * LOOK_AGAIN).filter(|_| load.choose(true, false, 100) == Lane::Wide).count();
        assert_eq!(wide, 3);
        load.measured(Lane::Wide, false, 100, 9.0);
        (0..20).for_each(|_| load.measured(Lane::Wide, true, 100, 0.05));
        assert_eq!(load.choose(true, false, 100), Lane::Wide);
        assert_eq!(load.choose(true, false, 500), Lane::Wide, "another length was not measured yet");
    }
}
