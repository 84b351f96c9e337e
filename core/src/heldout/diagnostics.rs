//! Counts behind held-out scores: how many words and entities of each label there are and were predicted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::label::{PRODUCT_DETAIL_LABELS, Tag};
use crate::metrics::{MetricError, Mode, spans};

/// Confusions kept, most frequent first.
const TOP: usize = 20;

/// Counts over words by label (B- and I- taken together) and over entities.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Diagnostics {
    /// Words.
    pub token_counts: TokenCounts,
    /// Entities.
    pub entity_counts: Predicted,
    /// Shares of words.
    pub rates: Rates,
    /// The product labels together.
    pub product_detail: ProductDetail,
    /// Words per label.
    pub per_label_token_counts: BTreeMap<String, LabelTokens>,
    /// Entities per label.
    pub per_label_entity_counts: BTreeMap<String, LabelEntities>,
    /// Wrong words by gold and predicted label, most frequent first, ties in order of appearance.
    pub top_token_confusions: Vec<Confused>,
}

/// Words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenCounts {
    /// All.
    pub total: usize,
    /// Label predicted right.
    pub correct: usize,
    /// Outside every gold entity.
    pub gold_o: usize,
    /// Predicted outside.
    pub predicted_o: usize,
    /// In gold entities.
    pub gold_entity: usize,
    /// Predicted as part of one.
    pub predicted_entity: usize,
}

/// Gold and predicted entities.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Predicted {
    /// Gold.
    pub gold: usize,
    /// Predicted.
    pub predicted: usize,
    /// Predicted over gold.
    pub prediction_gold_ratio: Option<f64>,
}

/// Shares of words; `None` where nothing could be counted.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Rates {
    /// Words of gold entities over all.
    pub gold_entity_token_rate: Option<f64>,
    /// Words of predicted entities over all.
    pub predicted_entity_token_rate: Option<f64>,
    /// Right labels over gold `O`.
    pub o_token_accuracy: Option<f64>,
    /// Right labels over words of gold entities.
    pub entity_token_accuracy: Option<f64>,
}

/// The product labels together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProductDetail {
    /// Which they are.
    pub labels: Vec<String>,
    /// Mean F1 of those that occur.
    pub macro_f1: Option<f64>,
    /// Gold entities.
    pub gold_entities: usize,
    /// Predicted entities.
    pub predicted_entities: usize,
    /// Predicted over gold.
    pub prediction_gold_ratio: Option<f64>,
}

/// Words of one label.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LabelTokens {
    /// Gold.
    pub gold_tokens: usize,
    /// Predicted.
    pub predicted_tokens: usize,
    /// Both.
    pub true_positive_tokens: usize,
    /// Predicted over gold.
    pub prediction_gold_ratio: Option<f64>,
}

/// Entities of one label.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LabelEntities {
    /// Gold.
    pub gold_entities: usize,
    /// Predicted.
    pub predicted_entities: usize,
    /// Predicted over gold.
    pub prediction_gold_ratio: Option<f64>,
}

/// Words of one label that were given another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confused {
    /// Gold label.
    pub gold: String,
    /// Predicted label.
    pub predicted: String,
    /// Words.
    pub count: usize,
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn base(tag: &str) -> &str {
    Tag::parse(tag).and_then(Tag::entity).unwrap_or("O")
}

impl Diagnostics {
    /// Counts pairs of tag sequences of equal lengths.
    pub(super) fn count(
        gold: &[Vec<&str>],
        predicted: &[Vec<&str>],
        product_f1: Option<f64>,
    ) -> Result<Self, MetricError> {
        let mut out = Self::default();
        out.count_words(gold, predicted);
        out.count_entities(gold, predicted)?;
        let product = PRODUCT_DETAIL_LABELS.iter().filter_map(|l| out.per_label_entity_counts.get(*l));
        let (gold_entities, predicted_entities) =
            product.fold((0, 0), |(g, p), e| (g + e.gold_entities, p + e.predicted_entities));
        out.product_detail = ProductDetail {
            labels: PRODUCT_DETAIL_LABELS.map(String::from).to_vec(),
            macro_f1: product_f1,
            gold_entities,
            predicted_entities,
            prediction_gold_ratio: ratio(predicted_entities, gold_entities),
        };
        Ok(out)
    }

    fn count_words(&mut self, gold: &[Vec<&str>], predicted: &[Vec<&str>]) {
        let pairs = || gold.iter().flatten().zip(predicted.iter().flatten()).map(|(g, p)| (base(g), base(p)));
        let count = |test: fn(&str, &str) -> bool| pairs().filter(|(g, p)| test(g, p)).count();
        let t = TokenCounts {
            total: pairs().count(),
            correct: count(|g, p| g == p),
            gold_o: count(|g, _| g == "O"),
            predicted_o: count(|_, p| p == "O"),
            gold_entity: count(|g, _| g != "O"),
            predicted_entity: count(|_, p| p != "O"),
        };
        self.rates = Rates {
            gold_entity_token_rate: ratio(t.gold_entity, t.total),
            predicted_entity_token_rate: ratio(t.predicted_entity, t.total),
            o_token_accuracy: ratio(count(|g, p| g == "O" && p == "O"), t.gold_o),
            entity_token_accuracy: ratio(count(|g, p| g != "O" && g == p), t.gold_entity),
        };
        self.token_counts = t;
        let mut confused: Vec<Confused> = Vec::new();
        for (g, p) in pairs() {
            let of = |counts: &mut BTreeMap<String, LabelTokens>, label: &str, add: fn(&mut LabelTokens)| {
                if label != "O" {
                    add(counts.entry(label.to_string()).or_default());
                }
            };
            of(&mut self.per_label_token_counts, g, |c| c.gold_tokens += 1);
            of(&mut self.per_label_token_counts, p, |c| c.predicted_tokens += 1);
            if g == p {
                of(&mut self.per_label_token_counts, g, |c| c.true_positive_tokens += 1);
                continue;
            }
            match confused.iter_mut().find(|c| c.gold == g && c.predicted == p) {
                Some(c) => c.count += 1,
                None => confused.push(Confused { gold: g.into(), predicted: p.into(), count: 1 }),
            }
        }
        for c in self.per_label_token_counts.values_mut() {
            c.prediction_gold_ratio = ratio(c.predicted_tokens, c.gold_tokens);
        }
        confused.sort_by_key(|c| std::cmp::Reverse(c.count));
        confused.truncate(TOP);
        self.top_token_confusions = confused;
    }

    fn count_entities(&mut self, gold: &[Vec<&str>], predicted: &[Vec<&str>]) -> Result<(), MetricError> {
        for line in gold {
            for span in spans(line, Mode::Default)? {
                self.per_label_entity_counts.entry(span.kind.into()).or_default().gold_entities += 1;
                self.entity_counts.gold += 1;
            }
        }
        for line in predicted {
            for span in spans(line, Mode::Default)? {
                self.per_label_entity_counts.entry(span.kind.into()).or_default().predicted_entities += 1;
                self.entity_counts.predicted += 1;
            }
        }
        for c in self.per_label_entity_counts.values_mut() {
            c.prediction_gold_ratio = ratio(c.predicted_entities, c.gold_entities);
        }
        let (g, p) = (self.entity_counts.gold, self.entity_counts.predicted);
        self.entity_counts.prediction_gold_ratio = ratio(p, g);
        Ok(())
    }
}
