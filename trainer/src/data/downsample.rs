//! Thinning of examples without any entity, so that they do not drown the rest.

use serde::{Deserialize, Serialize};

use super::python_random::PythonRandom;

/// O words per entity word aimed at when nothing else is asked for.
pub const DEFAULT_O_ENTITY_RATIO: f64 = 2.0;

/// What thinning did; the figures of run records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DownsampleReport {
    /// The ratio aimed at; `None` when nothing was to be thinned.
    pub target_o_entity_ratio: Option<f64>,
    /// O words per entity word before; `None` without an entity word.
    pub o_entity_ratio_before: Option<f64>,
    /// The same after.
    pub o_entity_ratio_after: Option<f64>,
    /// Examples without an entity word.
    pub o_only_total: usize,
    /// Those kept.
    pub o_only_kept: usize,
    /// Examples with one.
    pub entity_total: usize,
}

impl DownsampleReport {
    /// Examples without an entity word that were left out.
    pub fn o_only_dropped(&self) -> usize {
        self.o_only_total - self.o_only_kept
    }
}

/// Words with and without an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TagCounts {
    /// Words of entities.
    pub entity: usize,
    /// Other words.
    pub outside: usize,
}

impl TagCounts {
    /// Counts the tags of examples.
    pub fn of<'a>(examples: impl IntoIterator<Item = &'a [String]>) -> Self {
        examples.into_iter().fold(Self::default(), |sum, tags| {
            let outside = tags.iter().filter(|t| *t == "O").count();
            Self { entity: sum.entity + tags.len() - outside, outside: sum.outside + outside }
        })
    }

    /// O words per entity word; `None` without an entity word.
    pub fn ratio(self) -> Option<f64> {
        (self.entity > 0).then(|| self.outside as f64 / self.entity as f64)
    }
}

/// Keeps every example with an entity word, and of the others so many that their words are about `ratio` times the
/// entity words of the former. `tags` shows an example's tags.
///
/// With E entity words in examples that have any and T words in those that have none, each of the latter is kept with
/// probability min(1, ratio·E / T), drawn in order. `None` as ratio keeps all.
pub fn downsample<E>(
    examples: Vec<E>,
    ratio: Option<f64>,
    random: &mut PythonRandom,
    tags: impl Fn(&E) -> &[String],
) -> (Vec<E>, DownsampleReport) {
    let o_only = |example: &E| tags(example).iter().all(|t| t == "O");
    let count = |examples: &[E]| TagCounts::of(examples.iter().map(&tags));
    let before = count(&examples);
    let o_only_total = examples.iter().filter(|e| o_only(e)).count();
    let words: usize = examples.iter().filter(|e| o_only(e)).map(|e| tags(e).len()).sum();
    let keep = match ratio {
        Some(ratio) if words > 0 && before.entity > 0 => {
            (ratio * before.entity as f64 / words as f64).min(1.0)
        }
        _ => 1.0,
    };
    let entity_total = examples.len() - o_only_total;
    let kept: Vec<E> = examples.into_iter().filter(|e| !o_only(e) || random.random() < keep).collect();
    let report = DownsampleReport {
        target_o_entity_ratio: ratio,
        o_entity_ratio_before: before.ratio(),
        o_entity_ratio_after: count(&kept).ratio(),
        o_only_total,
        o_only_kept: kept.len() - entity_total,
        entity_total,
    };
    (kept, report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(rows: &[&str]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.split(' ').map(String::from).collect()).collect()
    }

    fn thin(rows: Vec<Vec<String>>, ratio: Option<f64>) -> (Vec<Vec<String>>, DownsampleReport) {
        downsample(rows, ratio, &mut PythonRandom::new(0), |r| r.as_slice())
    }

    #[test]
    fn draws_come_in_order_from_the_generator() {
        // E = 2, T = 16: kept below 0.25. Seed 0 draws 0.84 0.76 0.42 0.26 0.51 0.40 0.78 0.30, all above.
        let mut rows = examples(&["B-X O O I-X"]);
        rows.extend(examples(&["O O"; 8]));
        let (kept, report) = thin(rows.clone(), Some(2.0));
        assert_eq!((kept.len(), report.o_only_total, report.o_only_dropped()), (1, 8, 8));
        assert_eq!((report.o_entity_ratio_before, report.o_entity_ratio_after), (Some(9.0), Some(1.0)));
        // Ratio 4: below 0.5, so the third, fourth, sixth and eighth stay.
        assert_eq!(thin(rows, Some(4.0)).1.o_only_kept, 4);
    }

    #[test]
    fn nothing_is_dropped_without_a_ratio_or_without_entities() {
        let rows = examples(&["O O O", "O"]);
        let (kept, report) = thin(rows.clone(), Some(2.0));
        assert_eq!((kept.len(), report.o_entity_ratio_before), (2, None));
        assert_eq!(thin(rows, None).0.len(), 2);
        assert!(thin(Vec::new(), Some(2.0)).0.is_empty());
    }

    #[test]
    fn examples_with_entities_are_never_dropped_however_many_o_words_they_have() {
        let (kept, report) = thin(examples(&["B-X O O O O O O O O O O"]), Some(0.1));
        assert_eq!((kept.len(), report.o_entity_ratio_after), (1, Some(10.0)));
    }
}
