//! The parts of an evaluation's receipts that are scored by themselves.

use std::collections::{BTreeMap, BTreeSet};

use layoutlm_core::evaluate::Group;
use layoutlm_core::receipt::Receipt;

use crate::data::merchant_of;

/// Merchants that get a slice of their own, those with most receipts first.
const MERCHANTS: usize = 20;

/// Groups of receipts by length (`windows[i]` of receipt `i`), by whether their merchant was trained on (`trained`, as
/// merchant keys, where known), and by merchant. Groups that hold every receipt or none are left out.
pub fn slice_groups(
    receipts: &[Receipt],
    windows: &[usize],
    trained: Option<&BTreeSet<String>>,
) -> Vec<Group> {
    let merchants: Vec<Option<String>> = receipts.iter().map(merchant_of).collect();
    let mut groups = Vec::new();
    let mut add = |by: &str, value: &str, keep: &dyn Fn(usize) -> bool| {
        let chosen: Vec<usize> = (0..receipts.len()).filter(|&i| keep(i)).collect();
        if !chosen.is_empty() && chosen.len() < receipts.len() {
            groups.push(Group { by: by.into(), value: value.into(), receipts: chosen });
        }
    };
    let long = |i: usize| windows.get(i).is_some_and(|&n| n > 1);
    add("length", "one window", &|i| !long(i));
    add("length", "several windows", &long);
    if let Some(trained) = trained.filter(|t| !t.is_empty()) {
        let merchant = |i: usize| merchants.get(i).and_then(Option::as_ref);
        add("merchant in training", "seen", &|i| merchant(i).is_some_and(|m| trained.contains(m)));
        add("merchant in training", "unseen", &|i| merchant(i).is_some_and(|m| !trained.contains(m)));
        add("merchant in training", "unknown", &|i| merchant(i).is_none());
    }
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    merchants.iter().flatten().for_each(|m| *sizes.entry(m).or_default() += 1);
    let mut largest: Vec<(&str, usize)> = sizes.into_iter().filter(|(_, n)| *n > 1).collect();
    largest.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    for (name, _) in largest.into_iter().take(MERCHANTS) {
        add("merchant", name, &|i| merchants.get(i).and_then(Option::as_deref) == Some(name));
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_grouped_by_length_and_by_merchants_seen_in_training() {
        let receipt = |id: &str, merchant: &str| {
            let json = format!(r#"{{"image_id":"{id}","merchant":"{merchant}","words":[]}}"#);
            Receipt::from_json(&json).unwrap()
        };
        let receipts = [receipt("a", "Uno"), receipt("b", "Due"), receipt("c", "UNO"), receipt("d", "")];
        let groups = slice_groups(&receipts, &[1, 1, 2, 1], Some(&["UNO".to_string()].into()));
        let of = |value: &str| groups.iter().find(|g| g.value == value).map(|g| g.receipts.clone());
        assert_eq!(of("several windows"), Some(vec![2]));
        assert_eq!(
            (of("seen"), of("unseen"), of("unknown")),
            (Some(vec![0, 2]), Some(vec![1]), Some(vec![3]))
        );
        assert_eq!((of("UNO"), of("DUE")), (Some(vec![0, 2]), None));
        assert_eq!(slice_groups(&receipts[..1], &[1], None), [], "one part that is all of it says nothing");
    }
}
