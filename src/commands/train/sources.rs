//! From the data flags to receipts on two sides, with everything worth knowing about them said on stderr.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use layoutlm_core::label::core_labels;
use layoutlm_core::receipt::Receipt;
use layoutlm_trainer::config::TrainConfig;
use layoutlm_trainer::data::{self, Dataset, DivisionRules, FrozenKeys, KeyFile};
use layoutlm_trainer::train::TrainData;

use super::args::DataArgs;
use super::cloud;
use crate::effective::{Effective, Origin};
use crate::exit::usage;

const DATA: &str = "--data";
const TABLE: &str = "--dynamo-table";
const SNAPSHOT: &str = "--dataset-snapshot-load";

/// The flag that says where receipts come from.
pub fn source(args: &DataArgs, effective: &Effective) -> anyhow::Result<&'static str> {
    let named = [
        (DATA, !args.data.is_empty()),
        (TABLE, args.dynamo_table.as_deref().is_some_and(|table| !table.is_empty())),
        (SNAPSHOT, args.dataset_snapshot_load.is_some()),
    ];
    let given = named.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag);
    let given: Vec<_> = given.map(|flag| (weight(flag, effective.origin(flag)), flag)).collect();
    let most = given.iter().map(|(weight, _)| *weight).max();
    let chosen: Vec<_> = given.iter().filter(|(weight, _)| Some(*weight) == most).collect();
    match chosen.as_slice() {
        [] => Err(usage(anyhow!(
            "no data: give --data <file or folder>, --dynamo-table or --dataset-snapshot-load"
        ))),
        [(_, flag)] => Ok(flag),
        [(_, first), (_, second), ..] => {
            Err(usage(anyhow!("{first} and {second} exclude each other: give one of them")))
        }
    }
}

/// What was typed wins over what the environment or a file happens to say. DYNAMO_TABLE_NAME weighs least: it is there for
/// every program that reads the table, and says nothing of this run where anything else names receipts.
fn weight(flag: &str, origin: Origin) -> u8 {
    match (origin, flag) {
        (Origin::CommandLine, _) => 2,
        (Origin::Environment, TABLE) => 0,
        _ => 1,
    }
}

/// The options without those that name receipts the run does not use, so that its record can be its `--config`.
pub fn used(args: &DataArgs, effective: &Effective) -> anyhow::Result<Effective> {
    let chosen = source(args, effective)?;
    let others = [DATA, TABLE, SNAPSHOT].into_iter().filter(|flag| *flag != chosen);
    Ok(others.fold(effective.clone(), Effective::without))
}

/// Reads all receipts the flags name.
pub fn gather(args: &DataArgs, effective: &Effective) -> anyhow::Result<Dataset> {
    match source(args, effective)? {
        TABLE => {
            // Known before the table is read, so that the words of other receipts are not asked for.
            let allow = args.receipt_allowlist_s3.as_ref();
            let allow =
                allow.map(|uri| keys("--receipt-allowlist-s3", uri, KeyFile::AllowList, &args.region));
            cloud::receipts(args, args.dynamo_table.as_deref().unwrap_or_default(), allow.transpose()?)
        }
        DATA => load(&args.data, args),
        _ => load(args.dataset_snapshot_load.as_slice(), args),
    }
}

fn load(paths: &[PathBuf], args: &DataArgs) -> anyhow::Result<Dataset> {
    let dataset = data::load(paths, args.bad_lines()).map_err(usage)?;
    for line in &dataset.skipped {
        eprintln!("skipped {line}");
    }
    Ok(dataset)
}

/// Labels that occur in the data or that the receipt database knows.
pub fn known_labels(dataset: &Dataset) -> BTreeSet<String> {
    let receipts = dataset.train.iter().chain(dataset.validation.iter().flatten());
    let used = receipts.flat_map(|r: &Receipt| &r.words).filter_map(|w| w.label.clone());
    let mut known: BTreeSet<String> = used.chain(core_labels()).collect();
    known.remove("O");
    known
}

/// Divides receipts as the flags say and reports what was left out and what leaks.
pub fn divide(
    dataset: Dataset,
    args: &DataArgs,
    effective: &Effective,
    config: &TrainConfig,
) -> anyhow::Result<TrainData> {
    let frozen = source(args, effective)? == SNAPSHOT;
    if let Some(folder) = args.dataset_snapshot_load.as_ref().filter(|_| frozen) {
        let fixed = [
            ("--val-keys-s3", args.val_keys_s3.is_some()),
            ("--receipt-allowlist-s3", args.receipt_allowlist_s3.is_some()),
        ];
        if let Some((flag, _)) = fixed.iter().find(|(_, given)| *given) {
            return Err(usage(anyhow!(
                "{flag}: the snapshot {} was divided when it was frozen; leave one of them out",
                folder.display()
            )));
        }
        let (Some(validation), source) = (dataset.validation.clone(), dataset.description()) else {
            return Err(usage(anyhow!("{}: the snapshot has no validation part", folder.display())));
        };
        let mut data = TrainData::given(dataset.train, validation, source);
        data.snapshot = Some(folder.clone());
        return Ok(data);
    }
    let keys = |flag: &str, uri: &Option<String>, kind| {
        uri.as_ref()
            .map(|uri| keys(flag, uri, kind, &args.region).map(|keys| (uri.clone(), keys)))
            .transpose()
    };
    let allowed = keys("--receipt-allowlist-s3", &args.receipt_allowlist_s3, KeyFile::AllowList)?;
    let frozen = keys("--val-keys-s3", &args.val_keys_s3, KeyFile::Validation)?;
    let rules = DivisionRules {
        status: config.validation_status,
        allowed: allowed.map(|(_, keys)| keys),
        frozen: frozen.map(|(source, keys)| FrozenKeys { source, keys }),
        split: args.split_by(),
        seed: config.seed,
        scope: config.scope,
        box_rule: config.box_rule,
        loader: config.loader,
    };
    let division = data::divide(dataset, &rules).map_err(usage)?;
    if division.left_out != data::LeftOut::default() {
        eprintln!("receipts left out: {}", division.left_out);
    }
    let missing = &division.split.info.missing_keys;
    if let Some(first) = missing.first() {
        eprintln!("warning: {} validation keys name no receipt here, e.g. {first}", missing.len());
    }
    if division.frozen.is_none() && !args.no_frozen_val {
        eprintln!(
            "warning: no frozen validation split (--val-keys-s3): this run's scores can't be compared with other runs'"
        );
    }
    Ok(division.into())
}

/// The keys of a file named by path, file:// or s3:// URI.
fn keys(flag: &str, uri: &str, kind: KeyFile, region: &str) -> anyhow::Result<BTreeSet<String>> {
    let text = match uri.starts_with("s3://") {
        true => cloud::text(flag, uri, region)?,
        false => {
            std::fs::read_to_string(local(uri)).with_context(|| format!("{flag} {uri}")).map_err(usage)?
        }
    };
    data::parse_keys(&text, kind).map_err(|reason| usage(anyhow!("{flag} {uri}: {reason}")))
}

/// The path that a file:// URI or a plain path means.
pub fn local(uri: &str) -> &Path {
    Path::new(uri.strip_prefix("file://").unwrap_or(uri))
}
