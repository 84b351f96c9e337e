//! The classes a model gets: those the training examples show, or all that its scheme allows.

use std::collections::BTreeSet;

use layoutlm_core::label::{CORE_LABELS, LabelError, LabelScheme, LabelSet};

/// `O`, then every tag that occurs, sorted by code point. A label that never continues gets no `I-` class.
///
/// # Errors
/// [`LabelError`] for something that is no BIO tag.
pub fn observed_labels<'a>(examples: impl IntoIterator<Item = &'a [String]>) -> Result<LabelSet, LabelError> {
    let tags: BTreeSet<&str> =
        examples.into_iter().flatten().map(String::as_str).filter(|t| *t != "O").collect();
    LabelSet::new(std::iter::once("O").chain(tags).map(String::from).collect())
}

/// `O`, then `B-` and `I-` of every entity type the scheme lets through.
///
/// Without an allow list these are the known receipt labels after merging, and the merges' targets.
///
/// # Errors
/// [`LabelError`] when there are too many.
pub fn allowed_labels(scheme: &LabelScheme) -> Result<LabelSet, LabelError> {
    let names: BTreeSet<String> = match scheme.allowed() {
        Some(allowed) => allowed.clone(),
        None => CORE_LABELS.iter().map(|l| l.to_string()).chain(scheme.merges().keys().cloned()).collect(),
    };
    // A name that is merged away can't come out.
    let kept = names.iter().filter_map(|name| scheme.entity(name)).filter(|name| names.contains(*name));
    LabelSet::from_entities(kept.map(String::from).collect::<BTreeSet<_>>())
}

/// Entity types that occur among source labels after merging and the allow list, sorted.
pub fn resulting_labels<'a>(scheme: &LabelScheme, sources: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let kinds: BTreeSet<&str> = sources.into_iter().filter_map(|source| scheme.entity(source)).collect();
    kinds.into_iter().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use layoutlm_core::label::{core_labels, preset};

    use super::*;

    #[test]
    fn observed_tags_are_sorted_by_code_point_with_all_b_before_all_i() {
        let rows = [vec!["B-TIME".to_string(), "O".into()], vec!["B-DATE".into(), "I-DATE".into()]];
        let set = observed_labels(rows.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(set.tags(), ["O", "B-DATE", "B-TIME", "I-DATE"]);
        assert!(observed_labels([["DATE".to_string()].as_slice()]).is_err());
    }

    #[test]
    fn allowed_labels_leave_out_what_is_merged_away() {
        let allowed = ["DATE", "AMOUNT", "TAX"].map(String::from).to_vec();
        let scheme = LabelScheme::new(preset("amounts").unwrap(), Some(allowed), &core_labels()).unwrap();
        assert_eq!(
            allowed_labels(&scheme).unwrap().tags(),
            ["O", "B-AMOUNT", "B-DATE", "I-AMOUNT", "I-DATE"]
        );
        let open = LabelScheme::new(preset("amounts").unwrap(), None, &core_labels()).unwrap();
        assert_eq!(allowed_labels(&open).unwrap().entities().len(), 22 - 4 + 1);
        assert_eq!(resulting_labels(&scheme, ["TAX", "TIME", "DATE", "LINE_TOTAL"]), ["AMOUNT", "DATE"]);
    }
}
