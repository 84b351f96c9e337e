//! Which labels are learnt, and under which names.

use std::collections::BTreeSet;

use anyhow::{Context, anyhow};
use layoutlm_core::label::{LabelScheme, Merges, named_merges, preset};
use layoutlm_trainer::data::{Loader, upstream_scheme};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::exit::usage;

/// Flags about labels.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Labels")]
pub struct LabelArgs {
    /// Label to learn, after merging; repeatable. All by default.
    #[arg(
        long = "allowed-label",
        env = "LAYOUTLM_ALLOWED_LABELS",
        value_delimiter = ',',
        value_name = "LABEL"
    )]
    pub allowed_labels: Vec<String>,
    /// Merge LINE_TOTAL, SUBTOTAL, TAX and GRAND_TOTAL into AMOUNT.
    #[arg(long, env = "LAYOUTLM_MERGE_AMOUNTS")]
    pub merge_amounts: bool,
    /// Merge TIME into DATE.
    #[arg(long, env = "LAYOUTLM_MERGE_DATE_TIME")]
    pub merge_date_time: bool,
    /// Merge PHONE_NUMBER and ADDRESS_LINE into ADDRESS.
    #[arg(long, env = "LAYOUTLM_MERGE_ADDRESS_PHONE")]
    pub merge_address_phone: bool,
    /// Merges as a JSON object {"TARGET": ["SOURCE", …]}.
    #[arg(long, env = "LAYOUTLM_LABEL_MERGES", value_name = "JSON")]
    pub label_merges: Option<String>,
    /// Named merges: amounts, date_time, address_phone, sroie or none.
    #[arg(long, env = "LAYOUTLM_MERGE_PRESET", value_name = "NAME")]
    pub merge_preset: Option<String>,
    /// Most O words kept per entity word, by leaving out O-only windows.
    #[arg(long, env = "LAYOUTLM_O_TO_ENTITY_RATIO", default_value_t = 2.0)]
    pub o_entity_ratio: f64,
}

impl LabelArgs {
    /// Merges and allow list; `known` are the labels that exist.
    pub fn scheme(&self, known: &BTreeSet<String>, loader: Loader) -> anyhow::Result<LabelScheme> {
        let allowed = (!self.allowed_labels.is_empty()).then(|| self.allowed_labels.clone());
        let merges = self.merges()?;
        refuse_unknown_sources(&merges, known)?;
        let scheme = LabelScheme::new(merges.clone(), allowed.clone(), known).map_err(usage)?;
        match loader {
            Loader::Toolkit => Ok(scheme),
            Loader::Upstream => upstream_scheme(merges, allowed).map_err(usage),
        }
    }

    /// Preset first, JSON over it key by key, the three flags only where neither is given; --merge-amounts always
    /// sees to AMOUNT.
    fn merges(&self) -> anyhow::Result<Merges> {
        let mut merges = Merges::new();
        if let Some(name) = &self.merge_preset {
            merges = preset(name).map_err(|e| usage(anyhow!("--merge-preset: {e}")))?;
        }
        if let Some(text) = &self.label_merges {
            let Entries(given) = serde_json::from_str(text)
                .context("--label-merges: expected a JSON object {\"TARGET\": [\"SOURCE\", …]}")
                .map_err(usage)?;
            // In upper case before it meets the preset: "amount" takes the place of its AMOUNT.
            merges.extend(named_merges(given).map_err(|e| usage(anyhow!("--label-merges: {e}")))?);
        }
        let neither = self.merge_preset.is_none() && self.label_merges.is_none();
        let flags = [(self.merge_date_time, "date_time"), (self.merge_address_phone, "address_phone")];
        for (_, name) in flags.into_iter().filter(|(set, _)| *set && neither) {
            merges.extend(preset(name).map_err(usage)?);
        }
        if self.merge_amounts && !merges.contains_key("AMOUNT") {
            merges.extend(preset("amounts").map_err(usage)?);
        }
        Ok(merges)
    }
}

/// The entries of a JSON object as written: in a map the last of several with one key would win without a word.
struct Entries(Vec<(String, Vec<String>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A misspelt source would merge nothing, without a word.
fn refuse_unknown_sources(merges: &Merges, known: &BTreeSet<String>) -> anyhow::Result<()> {
    let sources = merges.iter().flat_map(|(target, sources)| sources.iter().map(move |s| (target, s)));
    for (target, source) in sources {
        let name = source.trim().to_uppercase();
        if !known.contains(&name) && !name.eq_ignore_ascii_case(target.trim()) {
            let all: Vec<&str> = known.iter().map(String::as_str).collect();
            return Err(usage(anyhow!(
                "--label-merges: unknown label {source:?} to merge into {target}; known are {}",
                all.join(" ")
            )));
        }
    }
    Ok(())
}
