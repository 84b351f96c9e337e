//! Training data: from files to receipts in parts, and from receipts to labelled examples.

mod band;
mod division;
mod downsample;
mod encode;
mod error;
mod examples;
mod import;
mod keys;
mod label_list;
mod labelled;
mod leakage;
mod load;
mod merchant;
mod python_random;
mod snapshot;
mod split;
mod synth;
mod upstream;
mod vocab;
mod wordpieces;

pub use band::crop_to_items;
pub use division::{Division, DivisionRules, FrozenKeys, LeftOut, Loader, SplitBy, divide};
pub use downsample::{DEFAULT_O_ENTITY_RATIO, DownsampleReport, TagCounts, downsample};
pub use encode::{EncodedExample, ExampleEncoder};
pub use error::DataError;
pub use examples::{ExampleKind, ExampleRules, Scope, WordExample};
pub use import::{Published, import};
pub use keys::{KeyFile, keys_hash, parse_keys, read_keys};
pub use label_list::{allowed_labels, observed_labels, resulting_labels};
pub use labelled::{LabelledReceipt, labelled_only};
pub use layoutlm_core::encoding::Granularity;
pub use leakage::{DEFAULT_OVERLAP, LeakageReport, NearDuplicate, leakage};
pub use load::{Dataset, Source, check_disjoint, load};
pub use merchant::{merchant_groups, merchant_key, merchant_of};
pub use python_random::PythonRandom;
pub use snapshot::{MANIFEST_FILE, Snapshot, SnapshotManifest, SnapshotPart, load_snapshot, save_snapshot};
pub use split::{
    Split, SplitInfo, SplitSource, given_split, merchants_by_side, split_by_keys, split_by_merchant,
    split_by_seed, split_keys,
};
pub use synth::{SynthSize, synth_vocab, synthesize, synthesize_splits};
pub use upstream::{upstream_pages, upstream_rules, upstream_scheme};
pub use vocab::build_vocab;
