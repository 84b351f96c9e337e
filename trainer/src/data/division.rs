//! From everything `--data` gave to the two sides of a run.
//!
//! Filters first (allow list of receipts, labelled receipts only, the scope), then the split. What was left out
//! is counted, and leakage between the sides is looked for; nothing is printed here.

use std::collections::BTreeSet;

use layoutlm_core::bbox::BoxRule;
use layoutlm_core::receipt::{Receipt, ValidationStatus};
use serde::{Deserialize, Serialize};

use super::band::crop_to_items;
use super::error::DataError;
use super::examples::Scope;
use super::labelled::labelled_only;
use super::leakage::{DEFAULT_OVERLAP, LeakageReport, leakage};
use super::load::Dataset;
use super::merchant::name_merchant;
use super::split::{Split, given_split, split_by_keys, split_by_merchant, split_by_seed};
use super::upstream::upstream_pages;

/// Which rules turn receipts into numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loader {
    /// What is right for LayoutLM: top-left geometry as it was pre-trained, words in line order.
    #[default]
    Toolkit,
    /// What the Python trainer's loader does: bottom-left geometry, `(y, x)` order, classes as observed.
    Upstream,
}

impl Loader {
    /// The same as a sentence, for the run's record and log.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Toolkit => "top-left geometry as LayoutLM was pre-trained, words in line order",
            Self::Upstream => {
                "the Python loader reproduced: bottom-left geometry, words by (y, x), classes as observed"
            }
        }
    }
}

/// How receipts are divided when neither the data nor a file of keys says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// By receipt.
    #[default]
    Receipt,
    /// By whole merchants, so that validation shows merchants never seen.
    Merchant,
}

/// Validation keys and where they came from.
#[derive(Debug, Clone)]
pub struct FrozenKeys {
    /// Path or URI of the file.
    pub source: String,
    /// The keys.
    pub keys: BTreeSet<String>,
}

/// How to divide.
#[derive(Debug, Clone)]
pub struct DivisionRules {
    /// Which labels count.
    pub status: ValidationStatus,
    /// Receipts that may be used; all without one.
    pub allowed: Option<BTreeSet<String>>,
    /// A frozen validation set.
    pub frozen: Option<FrozenKeys>,
    /// The split otherwise.
    pub split: SplitBy,
    /// Its seed.
    pub seed: u64,
    /// Which part of each receipt is used.
    pub scope: Scope,
    /// Scaling of boxes, for finding the item band.
    pub box_rule: BoxRule,
    /// Whose geometry.
    pub loader: Loader,
}

/// Receipts that take no part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LeftOut {
    /// Not in the allow list.
    pub not_allowed: usize,
    /// Without a label of the wanted status.
    pub unlabelled: usize,
    /// Without an item band, in that scope.
    pub without_items: usize,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reasons = [
            (self.not_allowed, "not in the allow list"),
            (self.unlabelled, "without a label of the wanted status"),
            (self.without_items, "without an item band"),
        ];
        let said: Vec<String> =
            reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
        if said.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&said.join(", "))
    }
}

/// Receipts divided.
#[derive(Debug, Clone)]
pub struct Division {
    /// Both sides.
    pub split: Split,
    /// What froze the validation side; `None` when it was drawn.
    pub frozen: Option<String>,
    /// Where the receipts came from, for people.
    pub source: String,
    /// Receipts that take no part.
    pub left_out: LeftOut,
    /// What the sides have in common.
    pub leakage: LeakageReport,
}

/// Filters, divides and crops.
///
/// # Errors
/// [`DataError::Split`] when nothing is left on either side, [`DataError::SharedReceipts`] when a given validation
/// part holds training receipts.
pub fn divide(dataset: Dataset, rules: &DivisionRules) -> Result<Division, DataError> {
    let source = dataset.description();
    let mut left_out = LeftOut::default();
    let mut filter = |receipts: Vec<Receipt>| -> Vec<Receipt> {
        let total = receipts.len();
        let allowed = |r: &Receipt| rules.allowed.as_ref().is_none_or(|keys| keys.contains(&r.key()));
        let kept: Vec<Receipt> = receipts.into_iter().filter(allowed).collect();
        left_out.not_allowed += total - kept.len();
        let (kept, unlabelled) = labelled_only(kept, rules.status);
        left_out.unlabelled += unlabelled;
        kept
    };
    let (mut train, mut validation) = (filter(dataset.train), dataset.validation.map(&mut filter));
    refuse_nothing(&train, validation.as_deref(), rules, &left_out)?;
    if rules.loader == Loader::Upstream {
        (train, validation) = upstream_geometry(train, validation);
    }
    if rules.split == SplitBy::Merchant {
        for receipt in train.iter_mut().chain(validation.iter_mut().flatten()) {
            name_merchant(receipt, rules.status);
        }
    }
    if rules.scope == Scope::LineItems {
        let mut crop = |receipts: Vec<Receipt>| -> Vec<Receipt> {
            let total = receipts.len();
            let crop = |r: &Receipt| crop_to_items(r, rules.box_rule, rules.status);
            let kept: Vec<Receipt> = receipts.iter().filter_map(crop).collect();
            left_out.without_items += total - kept.len();
            kept
        };
        (train, validation) = (crop(train), validation.map(&mut crop));
        refuse_nothing(&train, validation.as_deref(), rules, &left_out)?;
    }
    let (split, frozen) = split(train, validation, rules, &source)?;
    for (side, receipts) in [("train on", &split.train), ("validate on", &split.validation)] {
        if receipts.is_empty() {
            return Err(DataError::Split(format!("no receipt is left to {side} (left out: {left_out})")));
        }
    }
    let leakage = leakage(&split.train, &split.validation, DEFAULT_OVERLAP);
    Ok(Division { split, frozen, source, left_out, leakage })
}

fn refuse_nothing(
    train: &[Receipt],
    validation: Option<&[Receipt]>,
    rules: &DivisionRules,
    left_out: &LeftOut,
) -> Result<(), DataError> {
    if !train.is_empty() || validation.is_some_and(|v| !v.is_empty()) {
        return Ok(());
    }
    let status = serde_json::to_string(&rules.status).unwrap_or_default();
    Err(DataError::Split(format!(
        "no receipt is left (wanted label status: {}; left out: {left_out})",
        status.trim_matches('"')
    )))
}

/// The split asked for, and what froze it.
fn split(
    mut train: Vec<Receipt>,
    validation: Option<Vec<Receipt>>,
    rules: &DivisionRules,
    source: &str,
) -> Result<(Split, Option<String>), DataError> {
    match (&rules.frozen, validation) {
        (Some(frozen), given) => {
            train.extend(given.unwrap_or_default());
            Ok((split_by_keys(train, &frozen.keys)?, Some(frozen.source.clone())))
        }
        (None, Some(validation)) if rules.split == SplitBy::Receipt => {
            Ok((given_split(train, validation)?, Some(format!("{source} (its own validation split)"))))
        }
        (None, given) => {
            train.extend(given.unwrap_or_default());
            let split = match rules.split {
                SplitBy::Receipt => split_by_seed(train, rules.seed)?,
                SplitBy::Merchant => split_by_merchant(train, rules.seed)?,
            };
            Ok((split, None))
        }
    }
}

/// The Python loader scales all receipts of one image together, whichever side they end up on.
fn upstream_geometry(
    mut train: Vec<Receipt>,
    validation: Option<Vec<Receipt>>,
) -> (Vec<Receipt>, Option<Vec<Receipt>>) {
    let given = validation.is_some();
    let in_training = train.len();
    train.extend(validation.unwrap_or_default());
    upstream_pages(&mut train);
    let validation = train.split_off(in_training);
    (train, given.then_some(validation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synthesize;

    fn rules() -> DivisionRules {
        DivisionRules {
            status: ValidationStatus::Valid,
            allowed: None,
            frozen: None,
            split: SplitBy::Receipt,
            seed: 3,
            scope: Scope::Full,
            box_rule: BoxRule::default(),
            loader: Loader::Toolkit,
        }
    }

    fn data() -> Dataset {
        Dataset { train: synthesize(1, 30, 5), ..Dataset::default() }
    }

    #[test]
    fn receipts_outside_the_allow_list_or_without_labels_take_no_part_and_are_counted() {
        let mut dataset = data();
        for word in &mut dataset.train[0].words {
            word.validation_status = ValidationStatus::NeedsReview;
        }
        let keys = dataset.train.iter().take(20).map(Receipt::key).collect();
        let divided = divide(dataset, &DivisionRules { allowed: Some(keys), ..rules() }).unwrap();
        assert_eq!(divided.left_out, LeftOut { not_allowed: 10, unlabelled: 1, without_items: 0 });
        assert_eq!(divided.split.train.len() + divided.split.validation.len(), 19);
        let nobody = DivisionRules { status: ValidationStatus::Pending, ..rules() };
        let said = divide(data(), &nobody).unwrap_err().to_string();
        assert!(said.contains("PENDING") && said.contains("30 without a label"), "{said}");
    }

    #[test]
    fn frozen_keys_win_over_the_datas_own_validation_part_and_merchants_stay_together() {
        let mut dataset = data();
        dataset.validation = Some(dataset.train.split_off(25));
        let key = dataset.train[2].key();
        let frozen = FrozenKeys { source: "keys.json".into(), keys: [key.clone()].into() };
        let by_keys = divide(dataset.clone(), &DivisionRules { frozen: Some(frozen), ..rules() }).unwrap();
        assert_eq!(by_keys.split.info.val_receipt_keys, [key]);
        assert_eq!((by_keys.split.train.len(), by_keys.frozen.as_deref()), (29, Some("keys.json")));
        let own = divide(dataset.clone(), &rules()).unwrap();
        assert_eq!(own.split.validation.len(), 5);
        let merchants = divide(dataset, &DivisionRules { split: SplitBy::Merchant, ..rules() }).unwrap();
        let sides = super::super::split::merchants_by_side(&merchants.split);
        assert!(sides.values().all(|(train, held_out)| *train == 0 || *held_out == 0), "{sides:?}");
        assert!(merchants.frozen.is_none());
    }

    #[test]
    fn in_item_scope_both_sides_are_cropped() {
        let divided = divide(data(), &DivisionRules { scope: Scope::LineItems, ..rules() }).unwrap();
        let labels: BTreeSet<&str> = (divided.split.train.iter().chain(&divided.split.validation))
            .flat_map(|r| &r.words)
            .map(|w| w.label_with(ValidationStatus::Valid))
            .collect();
        assert!(labels.contains("PRODUCT_NAME") && !labels.contains("GRAND_TOTAL"), "{labels:?}");
    }
}
