//! Which receipts are held out: by seed, by frozen keys, or by whole merchants.
//!
//! A split is of receipts, never of windows, so no receipt is on both sides. Given the same receipts and seed (or
//! keys) it is the same on every machine, and [`SplitInfo`] records enough to check that.

use std::collections::{BTreeMap, BTreeSet};

use layoutlm_core::receipt::Receipt;
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::keys::keys_hash;
use super::load::check_disjoint;
use super::merchant::merchant_groups;
use super::python_random::PythonRandom;

/// Share of the receipts that train; the rest validates.
const TRAIN_SHARE: f64 = 0.9;

/// How a validation set came about; the names are those of run records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitSource {
    /// Shuffled by a seed.
    SeededRandomSplit,
    /// Named by a file of keys.
    FrozenValKeysS3,
    /// Whole merchants, shuffled by a seed.
    MerchantGroupedSplit,
    /// The data came with a validation part.
    GivenSplit,
}

/// What run records say about a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitInfo {
    /// How it was made.
    pub source: SplitSource,
    /// The seed; 0 where none was used.
    pub random_seed: u64,
    /// Hash of the training keys, 16 hex digits.
    pub train_receipts_hash: String,
    /// Hash of the validation keys, 16 hex digits.
    pub val_receipts_hash: String,
    /// Validation keys, sorted.
    pub val_receipt_keys: Vec<String>,
    /// Keys asked for that no receipt has (frozen keys only).
    pub missing_keys: Vec<String>,
}

/// Receipts on two sides.
#[derive(Debug, Clone)]
pub struct Split {
    /// To train on, in the order given.
    pub train: Vec<Receipt>,
    /// Held out, in the order given.
    pub validation: Vec<Receipt>,
    /// The record.
    pub info: SplitInfo,
    /// The generator where the split left it: O-only down-sampling goes on drawing from it.
    pub random: PythonRandom,
}

/// Splits keys: `(train, validation)`, both in shuffled order.
///
/// The keys are sorted, shuffled by CPython's generator and cut after 90 %, at least one. A single key leaves
/// validation empty. `random` is fresh from its seed; O-only down-sampling goes on drawing from it.
pub fn split_keys(
    keys: impl IntoIterator<Item = String>,
    random: &mut PythonRandom,
) -> (Vec<String>, Vec<String>) {
    let mut keys: Vec<String> = keys.into_iter().collect();
    keys.sort_unstable();
    random.shuffle(&mut keys);
    let cut = ((keys.len() as f64 * TRAIN_SHARE) as usize).max(1).min(keys.len());
    let validation = keys.split_off(cut);
    (keys, validation)
}

/// Splits receipts by a seed, nine parts to one.
///
/// # Errors
/// [`DataError::Split`] for fewer than two receipts, of which none could be held out.
pub fn split_by_seed(receipts: Vec<Receipt>, seed: u64) -> Result<Split, DataError> {
    if receipts.len() < 2 {
        let reason = "at least two receipts are needed, one to train on and one to validate on";
        return Err(DataError::Split(reason.into()));
    }
    let mut random = PythonRandom::new(seed);
    let (_, validation) = split_keys(receipts.iter().map(Receipt::key), &mut random);
    let validation = validation.into_iter().collect();
    Ok(Split { random, ..cut(receipts, &validation, SplitSource::SeededRandomSplit, seed) })
}

/// Holds out the receipts whose keys are given; keys of other receipts are recorded as missing.
///
/// # Errors
/// [`DataError::Split`] when no receipt, or every receipt, has one of the keys.
pub fn split_by_keys(receipts: Vec<Receipt>, keys: &BTreeSet<String>) -> Result<Split, DataError> {
    let total = receipts.len();
    let mut split = cut(receipts, keys, SplitSource::FrozenValKeysS3, 0);
    let known: BTreeSet<&String> = split.info.val_receipt_keys.iter().collect();
    split.info.missing_keys = keys.iter().filter(|key| !known.contains(key)).cloned().collect();
    if split.validation.is_empty() {
        let reason = format!("none of the {} validation keys names one of the {total} receipts", keys.len());
        return Err(DataError::Split(reason));
    }
    if split.train.is_empty() {
        return Err(DataError::Split(format!(
            "the validation keys name all {total} receipts, none is left to train on"
        )));
    }
    Ok(split)
}

/// Holds out whole merchants: about a tenth of the receipts, all of merchants that training never sees.
///
/// Merchants in key order are shuffled by the seed and held out from the end until a tenth of the receipts is; one
/// that would bring more than a fifth is passed over while others are left.
///
/// # Errors
/// [`DataError::Split`] when all receipts are of one merchant.
pub fn split_by_merchant(receipts: Vec<Receipt>, seed: u64) -> Result<Split, DataError> {
    let groups = merchant_groups(&receipts);
    if groups.len() < 2 {
        let reason = "all receipts are of one merchant, so none can be held out; use a split by seed";
        return Err(DataError::Split(reason.into()));
    }
    let wanted = receipts.len() - ((receipts.len() as f64 * TRAIN_SHARE) as usize).min(receipts.len() - 1);
    let mut order: Vec<&Vec<usize>> = groups.values().collect();
    let mut random = PythonRandom::new(seed);
    random.shuffle(&mut order);
    let mut held_out: BTreeSet<usize> = BTreeSet::new();
    for group in order.iter().rev() {
        if held_out.len() < wanted && held_out.len() + group.len() <= 2 * wanted {
            held_out.extend(group.iter());
        }
    }
    if held_out.is_empty() {
        // Every merchant is larger than a fifth: the smallest is the least harm.
        held_out.extend(order.iter().min_by_key(|g| g.len()).into_iter().copied().flatten());
    }
    let keys = held_out.iter().filter_map(|&i| receipts.get(i)).map(Receipt::key).collect();
    Ok(Split { random, ..cut(receipts, &keys, SplitSource::MerchantGroupedSplit, seed) })
}

/// Takes the data's own validation part as it is.
///
/// # Errors
/// [`DataError::SharedReceipts`] when it shares a receipt with training, [`DataError::Split`] when either is empty.
pub fn given_split(train: Vec<Receipt>, validation: Vec<Receipt>) -> Result<Split, DataError> {
    check_disjoint(&train, &validation, "validation")?;
    if train.is_empty() || validation.is_empty() {
        let (t, v) = (train.len(), validation.len());
        return Err(DataError::Split(format!(
            "{t} receipts to train on and {v} to validate on; both need one"
        )));
    }
    let info = info(&train, &validation, SplitSource::GivenSplit, 0);
    Ok(Split { train, validation, info, random: PythonRandom::new(0) })
}

fn cut(receipts: Vec<Receipt>, validation: &BTreeSet<String>, source: SplitSource, seed: u64) -> Split {
    let (validation, train): (Vec<_>, Vec<_>) =
        receipts.into_iter().partition(|r| validation.contains(&r.key()));
    let info = info(&train, &validation, source, seed);
    Split { train, validation, info, random: PythonRandom::new(seed) }
}

fn info(train: &[Receipt], validation: &[Receipt], source: SplitSource, random_seed: u64) -> SplitInfo {
    let keys = |receipts: &[Receipt]| receipts.iter().map(Receipt::key).collect::<BTreeSet<String>>();
    let (train, validation) = (keys(train), keys(validation));
    SplitInfo {
        source,
        random_seed,
        train_receipts_hash: keys_hash(train.iter().map(String::as_str)),
        val_receipts_hash: keys_hash(validation.iter().map(String::as_str)),
        val_receipt_keys: validation.into_iter().collect(),
        missing_keys: Vec::new(),
    }
}

/// Receipts per merchant on each side, for a report: `(train, validation)` by merchant key.
pub fn merchants_by_side(split: &Split) -> BTreeMap<String, (usize, usize)> {
    let mut sides: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (group, members) in merchant_groups(&split.train) {
        sides.entry(group).or_default().0 += members.len();
    }
    for (group, members) in merchant_groups(&split.validation) {
        sides.entry(group).or_default().1 += members.len();
    }
    sides
}
