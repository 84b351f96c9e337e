//! The learning rate by step: linear warm-up, then linear decay to zero.

/// Linear warm-up over `warmup_steps`, then linear decay to 0 at `total_steps`.
///
/// Source: `get_linear_schedule_with_warmup` of the transformers library.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearSchedule {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Steps of warm-up.
    pub warmup_steps: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
}

impl LinearSchedule {
    /// Warm-up of `ceil(warmup_ratio · total_steps)` steps.
    pub fn with_ratio(learning_rate: f64, warmup_ratio: f64, total_steps: u64) -> Self {
        let warmup_steps = (warmup_ratio * total_steps as f64).ceil().max(0.0) as u64;
        Self { learning_rate, warmup_steps, total_steps }
    }

    /// Learning rate of optimiser step `step`, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        let factor = if step < self.warmup_steps {
            step as f64 / self.warmup_steps.max(1) as f64
        } else {
            let left = self.total_steps.saturating_sub(step) as f64;
            left / self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64
        };
        self.learning_rate * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_steps_with_a_fifth_of_warm_up() {
        let schedule = LinearSchedule::with_ratio(1e-3, 0.2, 5);
        assert_eq!(schedule.warmup_steps, 1);
        let rates: Vec<f64> = (0..6).map(|s| schedule.at(s)).collect();
        assert_eq!(rates, [0.0, 1e-3, 7.5e-4, 5e-4, 2.5e-4, 0.0]);
    }

    #[test]
    fn warm_up_rounds_up_and_no_warm_up_starts_at_the_top() {
        assert_eq!(LinearSchedule::with_ratio(1.0, 0.1, 11).warmup_steps, 2);
        assert_eq!(LinearSchedule::with_ratio(1.0, 0.0, 4).at(0), 1.0);
    }
}
