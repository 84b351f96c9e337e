//! Which values a sweep tries: all combinations, or some of them drawn by a seed.

use crate::data::PythonRandom;

/// One option and the values it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// The option's name without dashes, e.g. `lr`.
    pub flag: String,
    /// Its values as typed.
    pub values: Vec<String>,
}

/// The values of one trial, one per axis.
pub type Values = Vec<(String, String)>;

/// An axis that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--vary {text:?}: {reason}; expected FLAG=\"VALUE VALUE …\", e.g. lr=\"3e-5 6e-5\"")]
pub struct PlanError {
    /// As typed.
    pub text: String,
    /// What is wrong.
    pub reason: String,
}

impl std::str::FromStr for Axis {
    type Err = PlanError;

    /// Reads `flag=value value …`; values are separated by white space.
    fn from_str(text: &str) -> Result<Self, PlanError> {
        let fail = |reason: &str| PlanError { text: text.into(), reason: reason.into() };
        let (flag, values) = text.split_once('=').ok_or_else(|| fail("there is no ="))?;
        let flag = flag.trim().trim_start_matches("--").to_string();
        let mut distinct: Vec<String> = Vec::new();
        for value in values.split_whitespace() {
            if distinct.iter().any(|v| v == value) {
                return Err(fail(&format!("{value} is there twice")));
            }
            distinct.push(value.to_string());
        }
        match (flag.is_empty(), distinct.is_empty()) {
            (true, _) => Err(fail("no option is named")),
            (_, true) => Err(fail("there is no value")),
            _ => Ok(Self { flag, values: distinct }),
        }
    }
}

/// All combinations; the last axis changes fastest.
pub fn grid(axes: &[Axis]) -> Vec<Values> {
    axes.iter().fold(vec![Vec::new()], |rows, axis| {
        let extend = |row: &Values| -> Vec<Values> {
            let with = |value: &String| {
                let mut row = row.clone();
                row.push((axis.flag.clone(), value.clone()));
                row
            };
            axis.values.iter().map(with).collect()
        };
        rows.iter().flat_map(extend).collect()
    })
}

/// At most `count` different combinations, drawn by a seed, in the grid's order.
pub fn random(axes: &[Axis], count: usize, seed: u64) -> Vec<Values> {
    let all = grid(axes);
    let mut order: Vec<usize> = (0..all.len()).collect();
    PythonRandom::new(seed).shuffle(&mut order);
    order.truncate(count);
    order.sort_unstable();
    order.into_iter().filter_map(|i| all.get(i).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> Vec<Axis> {
        ["lr=1e-4 3e-4", "--allowed-label=DATE,TIME DATE"].map(|a| a.parse().unwrap()).into()
    }

    #[test]
    fn a_grid_has_every_combination_once_and_commas_stay_inside_values() {
        let rows = grid(&axes());
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[1], [("lr".into(), "1e-4".into()), ("allowed-label".into(), "DATE".into())]);
        assert_eq!(grid(&[]), [Values::new()]);
    }

    #[test]
    fn drawn_combinations_are_different_and_the_same_for_a_seed() {
        let some = random(&axes(), 3, 1);
        assert_eq!((some.len(), &some), (3, &random(&axes(), 3, 1)));
        assert_eq!(random(&axes(), 99, 1), grid(&axes()));
    }

    #[test]
    fn axes_that_say_nothing_are_refused() {
        for bad in ["lr", "=1", "lr=", "lr= ", "lr=1 1"] {
            assert!(bad.parse::<Axis>().unwrap_err().to_string().contains("expected FLAG="), "{bad}");
        }
    }
}
