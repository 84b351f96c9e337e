//! Training data: from files to receipts in parts, and from receipts to labelled examples.

mod error;
mod keys;
mod load;
mod merchant;
mod python_random;
mod split;
mod synth;
mod vocab;
mod wordpieces;

pub use error::DataError;
pub use keys::{KeyFile, keys_hash, parse_keys, read_keys};
pub use load::{Dataset, Source, check_disjoint, load};
pub use merchant::{merchant_groups, merchant_key, merchant_of};
pub use python_random::PythonRandom;
pub use split::{
    Split, SplitInfo, SplitSource, given_split, merchants_by_side, split_by_keys, split_by_merchant,
    split_by_seed, split_keys,
};
pub use synth::{SynthSize, synth_vocab, synthesize, synthesize_splits};
pub use vocab::build_vocab;
