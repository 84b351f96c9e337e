//! Made-up receipts: many merchants, each with its own till, printing in its own layout.
//!
//! Everything is drawn from a seed, so the same call gives the same receipts on every machine. Names, streets and
//! towns are invented by combination. Labels are source labels (LINE_TOTAL, SUBTOTAL, TAX and GRAND_TOTAL apart);
//! `source_label` also names what stays `O`, such as QUANTITY.

mod body;
mod dice;
mod footer;
mod formats;
mod header;
mod merchant;
mod products;
mod render;
mod sale;
mod sheet;
mod words;

use std::path::PathBuf;

use layoutlm_core::receipt::Receipt;

use self::dice::Dice;
use self::merchant::{Merchant, merchants};
use super::load::{Dataset, Source};
use super::vocab::build_vocab;

/// How many receipts to make for each part, and from how many merchants in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SynthSize {
    /// Receipts to train on.
    pub train: usize,
    /// Receipts to validate on.
    pub validation: usize,
    /// Receipts to test on.
    pub test: usize,
    /// Merchants over all parts; each part gets at least one of its own.
    pub merchants: usize,
}

impl Default for SynthSize {
    fn default() -> Self {
        Self { train: 600, validation: 80, test: 80, merchants: 160 }
    }
}

/// Makes `count` receipts of `merchant_count` merchants.
pub fn synthesize(seed: u64, count: usize, merchant_count: usize) -> Vec<Receipt> {
    print_receipts(seed, "receipt", &merchants(seed, merchant_count.max(1)), count)
}

/// Makes three parts that share no merchant.
///
/// Merchants are dealt out in proportion to the parts' sizes, at least one to each part.
pub fn synthesize_splits(seed: u64, size: SynthSize) -> Dataset {
    let total = (size.train + size.validation + size.test).max(1);
    let all = merchants(seed, size.merchants.max(3));
    let share = |part: usize| (all.len() * part / total).clamp(1, all.len() - 2);
    let (held_out, test) = (share(size.validation), share(size.test));
    let train_merchants = all.len().saturating_sub(held_out + test).max(1);
    let (for_train, rest) = all.split_at(train_merchants);
    let (for_validation, for_test) = rest.split_at(held_out.min(rest.len().saturating_sub(1)));
    let train = print_receipts(seed, "train", for_train, size.train);
    let validation = print_receipts(seed, "validation", for_validation, size.validation);
    let test = print_receipts(seed, "test", for_test, size.test);
    let source = Source {
        path: PathBuf::from(format!("synthetic-{seed}")),
        train: train.len(),
        validation: Some(validation.len()),
        test: Some(test.len()),
    };
    let (validation, test) = (Some(validation), Some(test));
    Dataset { train, validation, test, skipped: Vec::new(), sources: vec![source] }
}

/// A WordPiece `vocab.txt` that suits the made-up receipts.
pub fn synth_vocab() -> String {
    build_vocab(&synthesize(VOCAB_SEED, 1200, 400), 4000)
}

const VOCAB_SEED: u64 = 20_251_113;

fn print_receipts(seed: u64, part: &str, merchants: &[Merchant], count: usize) -> Vec<Receipt> {
    let salt = part.bytes().fold(0u64, |sum, b| sum * 31 + u64::from(b));
    (0..count)
        .filter_map(|index| {
            // Every merchant gets its turn, so that small parts show many layouts.
            let merchant = merchants.get(index % merchants.len().max(1))?;
            let mut dice = Dice::new(seed, &[1, salt, index as u64]);
            let sale = sale::Sale::draw(merchant, &mut dice);
            let mut sheet = sheet::Sheet::default();
            header::print(&mut sheet, merchant, &sale, &mut dice);
            body::print(&mut sheet, merchant, &sale, &mut dice);
            footer::print(&mut sheet, merchant, &sale, &mut dice);
            let mut receipt = render::render(&sheet, merchant, &mut dice);
            receipt.image_id = format!("synth-{seed}-{part}-{index:05}");
            receipt.merchant = Some(merchant.name.clone());
            Some(receipt)
        })
        .collect()
}
