//! Labels: source labels → merged entity types → BIO tags → class ids.
//!
//! A [`LabelSet`] is the model's tags in id order and always starts with `O`. A [`LabelScheme`] says which source
//! labels become which entity type (merges, allow list). Merging happens here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The labels the receipt database knows.
pub const CORE_LABELS: [&str; 22] = [
    "MERCHANT_NAME",
    "STORE_HOURS",
    "PHONE_NUMBER",
    "WEBSITE",
    "LOYALTY_ID",
    "ADDRESS_LINE",
    "DATE",
    "TIME",
    "PAYMENT_METHOD",
    "COUPON",
    "DISCOUNT",
    "PRODUCT_NAME",
    "QUANTITY",
    "UNIT_PRICE",
    "LINE_TOTAL",
    "SUBTOTAL",
    "TAX",
    "TIP",
    "GRAND_TOTAL",
    "CHANGE",
    "CASH_BACK",
    "REFUND",
];

/// The labels of a product's line: what `product_detail_macro_f1` averages over.
pub const PRODUCT_DETAIL_LABELS: [&str; 4] = ["PRODUCT_NAME", "QUANTITY", "UNIT_PRICE", "LINE_TOTAL"];

/// Why labels were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// The tag list does not start with `O`.
    #[error("the label list must start with O, but starts with {0:?}")]
    OutsideFirst(Option<String>),
    /// A tag occurs twice.
    #[error("the label {0} occurs twice in the label list")]
    Duplicate(String),
    /// Neither `O` nor `B-X` nor `I-X`.
    #[error("{0:?} is no BIO tag: expected O, B-<TYPE> or I-<TYPE>")]
    NotATag(String),
    /// More tags than an id can count.
    #[error("{0} labels are too many (at most 4096)")]
    TooMany(usize),
    /// One source label merged into two targets.
    #[error("contradictory merges: {source_label} would become both {first} and {second}")]
    ContradictoryMerge {
        /// The label merged twice.
        source_label: String,
        /// Its first target.
        first: String,
        /// Its second target.
        second: String,
    },
    /// A label that is merged away and merged into.
    #[error("contradictory merges: {label} would become {target}, but other labels become {label}")]
    ChainedMerge {
        /// The label in the middle.
        label: String,
        /// What it is merged into.
        target: String,
    },
    /// One merge target given more than once, perhaps in different case.
    #[error("the merge target {0} is given twice: list all of its sources once")]
    RepeatedTarget(String),
    /// A merge target that can't be an entity type.
    #[error("{target:?} can't be a merge target: it {fault}; expected an entity type without B-/I- prefix")]
    NoTarget {
        /// The target as given.
        target: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A merge preset of an unknown name.
    #[error("unknown merge preset {0:?}: expected amounts, date_time, address_phone, sroie or none")]
    UnknownPreset(String),
    /// An allow-list entry that no merge target and no known label has.
    #[error("unknown label {label:?} in the allow list; known are {known}")]
    UnknownLabel {
        /// The name given.
        label: String,
        /// What could have been meant.
        known: String,
    },
}

/// A class id, an index into a [`LabelSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelId(u16);

impl LabelId {
    /// The id of `O` in every label set.
    pub const OUTSIDE: Self = Self(0);

    /// The id as an index into logits.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The role of a word in an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag<'a> {
    /// Outside every entity.
    Outside,
    /// First word of an entity of this type.
    Begin(&'a str),
    /// Later word of an entity of this type.
    Inside(&'a str),
}

impl<'a> Tag<'a> {
    /// Reads `O`, `B-X` or `I-X`.
    pub fn parse(tag: &'a str) -> Option<Self> {
        match tag.split_once('-') {
            None if tag == "O" => Some(Self::Outside),
            Some(("B", kind)) if !kind.is_empty() => Some(Self::Begin(kind)),
            Some(("I", kind)) if !kind.is_empty() => Some(Self::Inside(kind)),
            _ => None,
        }
    }

    /// The entity type, if any.
    pub fn entity(self) -> Option<&'a str> {
        match self {
            Self::Outside => None,
            Self::Begin(kind) | Self::Inside(kind) => Some(kind),
        }
    }
}

impl std::fmt::Display for Tag<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Outside => f.write_str("O"),
            Self::Begin(kind) => write!(f, "B-{kind}"),
            Self::Inside(kind) => write!(f, "I-{kind}"),
        }
    }
}

/// The model's tags in class-id order; id 0 is `O`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct LabelSet {
    tags: Vec<String>,
    ids: BTreeMap<String, LabelId>,
}

impl LabelSet {
    /// Checks tags given in id order.
    ///
    /// # Errors
    /// [`LabelError`] unless the first is `O`, all are BIO tags and none repeats.
    pub fn new(tags: Vec<String>) -> Result<Self, LabelError> {
        if tags.first().map(String::as_str) != Some("O") {
            return Err(LabelError::OutsideFirst(tags.into_iter().next()));
        }
        if tags.len() > 4096 {
            return Err(LabelError::TooMany(tags.len()));
        }
        let mut ids = BTreeMap::new();
        for (i, tag) in tags.iter().enumerate() {
            if Tag::parse(tag).is_none() {
                return Err(LabelError::NotATag(tag.clone()));
            }
            if ids.insert(tag.clone(), LabelId(i as u16)).is_some() {
                return Err(LabelError::Duplicate(tag.clone()));
            }
        }
        Ok(Self { tags, ids })
    }

    /// `O`, then `B-X` for every type, then `I-X` for every type, each sorted by name.
    ///
    /// # Errors
    /// [`LabelError`] on repeated or empty types.
    pub fn from_entities(entities: impl IntoIterator<Item = String>) -> Result<Self, LabelError> {
        let types: BTreeSet<String> = entities.into_iter().collect();
        let tagged = |prefix: &'static str| types.iter().map(move |t| format!("{prefix}-{t}"));
        Self::new(std::iter::once("O".to_string()).chain(tagged("B")).chain(tagged("I")).collect())
    }

    /// Tags in id order.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// Never true: there is always `O`.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The tag of a class.
    pub fn tag(&self, id: LabelId) -> Tag<'_> {
        self.tags.get(id.index()).and_then(|t| Tag::parse(t)).unwrap_or(Tag::Outside)
    }

    /// The tag of a class as text, e.g. `B-DATE`.
    pub fn name(&self, id: LabelId) -> &str {
        self.tags.get(id.index()).map_or("O", String::as_str)
    }

    /// The class of a tag, if the model has it.
    pub fn id(&self, tag: &str) -> Option<LabelId> {
        self.ids.get(tag).copied()
    }

    /// The class at an index, if there is one.
    pub fn at(&self, index: usize) -> Option<LabelId> {
        (index < self.tags.len()).then_some(LabelId(index as u16))
    }

    /// The class of a [`Tag`]; an `I-X` the model lacks falls back to `B-X`, an unknown type to `O`.
    pub fn id_of(&self, tag: Tag<'_>) -> LabelId {
        let found = match tag {
            Tag::Outside => None,
            Tag::Begin(kind) => self.id(&format!("B-{kind}")),
            Tag::Inside(kind) => self.id(&format!("I-{kind}")).or_else(|| self.id(&format!("B-{kind}"))),
        };
        found.unwrap_or(LabelId::OUTSIDE)
    }

    /// Entity types the model knows, sorted.
    pub fn entities(&self) -> Vec<&str> {
        let types: BTreeSet<&str> = self.tags.iter().filter_map(|t| Tag::parse(t)?.entity()).collect();
        types.into_iter().collect()
    }
}

impl TryFrom<Vec<String>> for LabelSet {
    type Error = LabelError;
    fn try_from(tags: Vec<String>) -> Result<Self, LabelError> {
        Self::new(tags)
    }
}

impl From<LabelSet> for Vec<String> {
    fn from(set: LabelSet) -> Self {
        set.tags
    }
}

/// Merge target → source labels, all upper case.
pub type Merges = BTreeMap<String, Vec<String>>;

/// What keeps a name from being an entity type, as the end of a sentence; `None` when nothing does.
pub(crate) fn type_fault(name: &str) -> Option<&'static str> {
    let name = name.trim();
    let starts = |prefix: &str| name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if name.is_empty() {
        Some("is empty")
    } else if starts("B-") || starts("I-") {
        Some("has a BIO prefix")
    } else if name.contains(char::is_control) {
        // Lists of tags are kept one a line.
        Some("holds a line break or another control character")
    } else {
        None
    }
}

/// Merges in upper case from targets and their sources as given.
///
/// # Errors
/// [`LabelError::NoTarget`] for a target that is no entity type, [`LabelError::RepeatedTarget`] when one occurs twice:
/// the sources of one of them would be lost.
pub fn named_merges(given: impl IntoIterator<Item = (String, Vec<String>)>) -> Result<Merges, LabelError> {
    let upper = |s: &str| s.trim().to_uppercase();
    let mut merges = Merges::new();
    for (target, sources) in given {
        let name = upper(&target);
        let fault = type_fault(&name).or((name == "O").then_some("is what words of no entity are called"));
        if let Some(fault) = fault {
            return Err(LabelError::NoTarget { target, fault });
        }
        if merges.insert(name.clone(), sources.iter().map(|s| upper(s)).collect()).is_some() {
            return Err(LabelError::RepeatedTarget(name));
        }
    }
    Ok(merges)
}

/// The merges of a named preset.
///
/// # Errors
/// [`LabelError::UnknownPreset`].
pub fn preset(name: &str) -> Result<Merges, LabelError> {
    let amounts = ("AMOUNT", vec!["LINE_TOTAL", "SUBTOTAL", "TAX", "GRAND_TOTAL"]);
    let date_time = ("DATE", vec!["TIME"]);
    let address_phone = ("ADDRESS", vec!["PHONE_NUMBER", "ADDRESS_LINE"]);
    let chosen = match name {
        "none" => vec![],
        "amounts" => vec![amounts],
        "date_time" => vec![date_time],
        "address_phone" => vec![address_phone],
        "sroie" => vec![amounts, date_time, address_phone],
        other => return Err(LabelError::UnknownPreset(other.into())),
    };
    let owned = |(t, s): (&str, Vec<&str>)| (t.to_string(), s.into_iter().map(String::from).collect());
    Ok(chosen.into_iter().map(owned).collect())
}

/// Which source labels become which entity type.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LabelScheme {
    merges: Merges,
    allowed: Option<BTreeSet<String>>,
}

impl LabelScheme {
    /// Builds a scheme; labels are upper-cased, merge targets are allowed by themselves.
    ///
    /// `allowed` names labels *after* merging; `None` allows every label.
    ///
    /// # Errors
    /// Those of [`named_merges`]; [`LabelError::ContradictoryMerge`] when a label has two targets,
    /// [`LabelError::ChainedMerge`] when one is both source and target, [`LabelError::UnknownLabel`] for an allowed
    /// name that is neither a merge target nor in `known`.
    pub fn new(
        merges: Merges,
        allowed: Option<Vec<String>>,
        known: &BTreeSet<String>,
    ) -> Result<Self, LabelError> {
        let upper = |s: &str| s.trim().to_uppercase();
        let merges = named_merges(merges)?;
        refuse_contradictions(&merges)?;
        let allowed = allowed
            .map(|names| {
                let mut set: BTreeSet<String> = merges.keys().cloned().collect();
                for name in names.iter().map(|n| upper(n)) {
                    if !known.contains(&name) && !merges.contains_key(&name) {
                        let all: Vec<_> = known.iter().chain(merges.keys()).map(String::as_str).collect();
                        return Err(LabelError::UnknownLabel { label: name, known: all.join(" ") });
                    }
                    set.insert(name);
                }
                Ok(set)
            })
            .transpose()?;
        Ok(Self { merges, allowed })
    }

    /// The entity type of a source label after merging and the allow list; `None` is `O`.
    pub fn entity<'a>(&'a self, source: &'a str) -> Option<&'a str> {
        if source == "O" || source.is_empty() {
            return None;
        }
        let target = self.merges.iter().find(|(_, sources)| sources.iter().any(|s| s == source));
        let merged = target.map_or(source, |(target, _)| target.as_str());
        match &self.allowed {
            Some(allowed) if !allowed.contains(merged) => None,
            _ => Some(merged),
        }
    }

    /// Target → sources.
    pub fn merges(&self) -> &Merges {
        &self.merges
    }

    /// Allowed labels after merging; `None` allows all.
    pub fn allowed(&self) -> Option<&BTreeSet<String>> {
        self.allowed.as_ref()
    }

    /// BIO tags of words in reading order, from their source labels.
    ///
    /// A word continues an entity when its label *before merging* equals the previous word's, so LINE_TOTAL next to
    /// TAX makes two AMOUNT entities.
    pub fn bio<'a>(&'a self, source_labels: impl IntoIterator<Item = &'a str>) -> Vec<Tag<'a>> {
        let mut previous: Option<&str> = None;
        source_labels
            .into_iter()
            .map(|source| match self.entity(source) {
                None => {
                    previous = None;
                    Tag::Outside
                }
                Some(kind) if previous == Some(source) => Tag::Inside(kind),
                Some(kind) => {
                    previous = Some(source);
                    Tag::Begin(kind)
                }
            })
            .collect()
    }
}

impl LabelScheme {
    /// BIO tags of the words of one line: as [`Self::bio`], but a word continues an entity when its label *after*
    /// merging equals the previous word's, so LINE_TOTAL next to TAX makes one AMOUNT entity.
    pub fn bio_merged<'a>(&'a self, source_labels: impl IntoIterator<Item = &'a str>) -> Vec<Tag<'a>> {
        let mut previous: Option<&str> = None;
        let tag = |source: &'a str| {
            let kind = self.entity(source);
            let tag = match kind {
                None => Tag::Outside,
                Some(kind) if previous == Some(kind) => Tag::Inside(kind),
                Some(kind) => Tag::Begin(kind),
            };
            previous = kind;
            tag
        };
        source_labels.into_iter().map(tag).collect()
    }
}

fn refuse_contradictions(merges: &Merges) -> Result<(), LabelError> {
    let mut target_of: BTreeMap<&str, &str> = BTreeMap::new();
    for (target, sources) in merges {
        for source in sources {
            match target_of.insert(source, target) {
                Some(first) if first != target => {
                    let (source_label, second) = (source.clone(), target.clone());
                    return Err(LabelError::ContradictoryMerge { source_label, first: first.into(), second });
                }
                _ => {}
            }
            if source != target && merges.contains_key(source) {
                return Err(LabelError::ChainedMerge { label: source.clone(), target: target.clone() });
            }
        }
    }
    Ok(())
}

/// The known labels as a set, for [`LabelScheme::new`].
pub fn core_labels() -> BTreeSet<String> {
    CORE_LABELS.iter().map(|l| l.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts() -> LabelScheme {
        LabelScheme::new(preset("amounts").unwrap(), None, &core_labels()).unwrap()
    }

    #[test]
    fn neighbours_of_one_merged_type_stay_two_entities_when_their_source_differs() {
        let scheme = amounts();
        let tags = scheme.bio(["LINE_TOTAL", "LINE_TOTAL", "TAX", "O", "TAX"]);
        use Tag::*;
        assert_eq!(tags, [Begin("AMOUNT"), Inside("AMOUNT"), Begin("AMOUNT"), Outside, Begin("AMOUNT")]);
    }

    #[test]
    fn a_label_with_two_targets_is_refused() {
        let mut m = preset("amounts").unwrap();
        m.insert("MONEY".into(), vec!["tax".into()]);
        let e = LabelScheme::new(m, None, &core_labels()).unwrap_err();
        assert!(matches!(e, LabelError::ContradictoryMerge { source_label, .. } if source_label == "TAX"));
        let mut m = preset("date_time").unwrap();
        m.insert("WHEN".into(), vec!["DATE".into()]);
        let e = LabelScheme::new(m, None, &core_labels()).unwrap_err();
        assert!(matches!(e, LabelError::ChainedMerge { label, .. } if label == "DATE"));
    }

    #[test]
    fn merge_targets_are_entity_types_and_given_once_whatever_their_case() {
        let scheme = |targets: &[&str]| {
            let merges =
                targets.iter().zip(["TAX", "SUBTOTAL"]).map(|(t, s)| (t.to_string(), vec![s.into()]));
            LabelScheme::new(merges.collect(), None, &core_labels())
        };
        for bad in ["O", "o", "", " ", "B-X", "i-x", "A\nB"] {
            let said = scheme(&[bad]).unwrap_err();
            assert!(matches!(said, LabelError::NoTarget { .. }), "{bad:?}: {said}");
        }
        let said = scheme(&["AMOUNT", "amount"]).unwrap_err();
        assert_eq!(said, LabelError::RepeatedTarget("AMOUNT".into()));
        assert_eq!(scheme(&["amount"]).unwrap().entity("TAX"), Some("AMOUNT"));
    }

    #[test]
    fn the_allow_list_works_on_merged_names_and_refuses_unknown_ones() {
        let allowed = Some(vec!["date".to_string()]);
        let s = LabelScheme::new(preset("amounts").unwrap(), allowed, &core_labels()).unwrap();
        assert_eq!(s.entity("TAX"), Some("AMOUNT"));
        assert_eq!(s.entity("TIME"), None);
        assert!(LabelScheme::new(Merges::new(), Some(vec!["NOPE".into()]), &core_labels()).is_err());
    }

    #[test]
    fn a_label_set_must_start_with_o_and_hold_bio_tags() {
        assert!(LabelSet::new(vec!["B-X".into()]).is_err());
        assert!(LabelSet::new(vec!["O".into(), "X".into()]).is_err());
        assert!(LabelSet::new(vec!["O".into(), "B-X".into(), "B-X".into()]).is_err());
        let set = LabelSet::new(vec!["O".into(), "B-X".into()]).unwrap();
        assert_eq!(set.id_of(Tag::Inside("X")), set.id("B-X").unwrap());
    }
}
