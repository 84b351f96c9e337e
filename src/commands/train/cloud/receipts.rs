//! Labelled receipts of a table.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;

use layoutlm_aws::load::{CacheUse, LoadOptions, LoadReport, Progress};
use layoutlm_trainer::data::{Dataset, Source};

use crate::cloud::Cloud;
use crate::commands::train::args::DataArgs;
use crate::progress;

/// Complaints of one kind that are printed; the rest is counted.
const SHOWN: usize = 20;

/// Labelled receipts of a table; `allow` restricts what is read.
pub fn receipts(args: &DataArgs, table: &str, allow: Option<BTreeSet<String>>) -> anyhow::Result<Dataset> {
    let options = LoadOptions {
        status: args.status(),
        allow,
        source: args.cloud.source()?,
        concurrency: args.cloud.dynamo_concurrency.into(),
        cache: args.cloud.cache()?,
    };
    let cloud = Cloud::connect(Some(&args.region))?;
    let bar = progress::bar(0, "receipts");
    bar.set_message(table.to_string());
    let last = Mutex::new(());
    let loaded = cloud.wait(options.load(&cloud.aws, table, &|progress| {
        let Ok(_one_at_a_time) = last.lock() else { return };
        match progress {
            Progress::Receipts { done, total } => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            }
            Progress::Labels(read) => bar.set_message(format!("{read} labels")),
            Progress::Items(read) => bar.set_message(format!("{read} items")),
            _ => {}
        }
    }))?;
    bar.finish_and_clear();
    tell(&loaded.report, loaded.receipts.len(), table);
    let train: Vec<_> = loaded.receipts.into_iter().map(|r| r.receipt).collect();
    let path = PathBuf::from(format!("dynamodb://{table}"));
    let sources = vec![Source { path, train: train.len(), validation: None, test: None }];
    Ok(Dataset { train, sources, ..Dataset::default() })
}

fn tell(report: &LoadReport, receipts: usize, table: &str) {
    match report.cache {
        CacheUse::Whole(time) => eprintln!("from the cache of {time}; --refresh reads the table again"),
        CacheUse::Resumed(time) => eprintln!("went on with what was read from {time} on"),
        CacheUse::None => {}
    }
    eprintln!("{table}: {receipts} receipts, {} words, {} labels", report.words, report.labels);
    let some = |what: &str, all: &mut dyn Iterator<Item = String>, count: usize| {
        all.take(SHOWN).for_each(|one| eprintln!("{what}: {one}"));
        if count > SHOWN {
            eprintln!("{what}: … and {} more, {count} in all", count - SHOWN);
        }
    };
    let malformed = &report.malformed;
    some("left out", &mut malformed.iter().map(ToString::to_string), malformed.len());
    let gone = &report.labels_without_word;
    some("label without a word", &mut gone.iter().map(layoutlm_aws::dynamo::WordKey::path), gone.len());
    let empty = &report.receipts_without_words;
    some("labelled receipt without words", &mut empty.iter().map(ToString::to_string), empty.len());
    if report.not_allowed > 0 {
        eprintln!("{} receipts are not on the allow list", report.not_allowed);
    }
    for (kind, count) in &report.other_types {
        tracing::info!(%kind, count, "items of another type came along");
    }
}
