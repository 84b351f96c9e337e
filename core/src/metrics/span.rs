//! Tag sequences → entity spans, under the two readings of seqeval.
//!
//! Default: the rules of the CoNLL scorer, which make something of any tag: `I-X` may begin an entity, `E-`/`S-` end
//! one, a type change begins a new one. Strict IOB2: an entity is a `B-X` and the `I-X` right after it, all other `I-`
//! count as nothing, and tags that are not IOB2 are refused.
//!
//! Source: conlleval (Tjong Kim Sang and De Meulder 2003) as seqeval 1.2.2 implements it.

use serde::{Deserialize, Serialize};

use super::error::MetricError;

/// How tags are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// seqeval without `mode`: lenient, any prefix.
    #[default]
    Default,
    /// seqeval with `mode="strict", scheme=IOB2`.
    StrictIob2,
}

/// One entity of a tag sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span<'a> {
    /// Entity type; `_` for a tag without one.
    pub kind: &'a str,
    /// Index of its first tag.
    pub first: usize,
    /// Index of its last tag, inclusive.
    pub last: usize,
}

/// The entities of one tag sequence, in order of their end.
///
/// # Errors
/// [`MetricError::EmptyTag`]; in strict mode also [`MetricError::NotIob2`].
pub fn spans<'a>(tags: &[&'a str], mode: Mode) -> Result<Vec<Span<'a>>, MetricError> {
    check_tags(tags, mode, 0)?;
    Ok(match mode {
        Mode::Default => lenient(tags.iter().copied()),
        Mode::StrictIob2 => strict(tags, 0),
    })
}

/// The entities of all sequences, at offsets into them laid end to end with one `O` between.
///
/// The default mode reads them in one go, as seqeval does: for odd tags (`X`, `.`) what the last sequence left behind
/// has an effect on the next.
///
/// # Errors
/// As [`spans`], naming the sequence.
pub(super) fn spans_of_all<'a>(rows: &[Vec<&'a str>], mode: Mode) -> Result<Vec<Span<'a>>, MetricError> {
    for (sequence, tags) in rows.iter().enumerate() {
        check_tags(tags, mode, sequence)?;
    }
    Ok(match mode {
        Mode::Default => lenient(rows.iter().flat_map(|tags| tags.iter().copied().chain(["O"]))),
        Mode::StrictIob2 => {
            let mut start = 0;
            let mut all = Vec::new();
            for tags in rows {
                all.extend(strict(tags, start));
                start += tags.len() + 1;
            }
            all
        }
    })
}

fn check_tags(tags: &[&str], mode: Mode, sequence: usize) -> Result<(), MetricError> {
    for (position, tag) in tags.iter().enumerate() {
        match tag.chars().next() {
            None => return Err(MetricError::EmptyTag { sequence, position }),
            Some('O' | 'B' | 'I') => {}
            Some(_) if mode == Mode::Default => {}
            Some(_) => return Err(MetricError::NotIob2 { sequence, position, tag: tag.to_string() }),
        }
    }
    Ok(())
}

fn or_untyped(kind: &str) -> &str {
    if kind.is_empty() { "_" } else { kind }
}

/// First character and type of a tag; the type is what follows the first hyphen after the prefix.
fn prefix_and_kind(tag: &str) -> (char, &str) {
    let mut rest = tag.chars();
    let prefix = rest.next().unwrap_or('O');
    let rest = rest.as_str();
    (prefix, or_untyped(rest.split_once('-').map_or(rest, |(_, kind)| kind)))
}

fn lenient<'a>(tags: impl Iterator<Item = &'a str>) -> Vec<Span<'a>> {
    let mut spans = Vec::new();
    let (mut before, mut kind_before, mut first) = ('O', "", 0);
    for (i, tag) in tags.chain(["O"]).enumerate() {
        let (prefix, kind) = prefix_and_kind(tag);
        let changed = kind != kind_before;
        if ends_before(before, prefix, changed) {
            // Nothing can end before the first tag: `before` is O there.
            spans.push(Span { kind: kind_before, first, last: i.saturating_sub(1) });
        }
        if begins_at(before, prefix, changed) {
            first = i;
        }
        (before, kind_before) = (prefix, kind);
    }
    spans
}

/// Whether an entity ended with the tag before.
fn ends_before(before: char, now: char, kind_changed: bool) -> bool {
    match (before, now) {
        ('E' | 'S', _) | ('B' | 'I', 'B' | 'S' | 'O') => true,
        ('O' | '.', _) => false,
        _ => kind_changed,
    }
}

/// Whether an entity begins with this tag.
fn begins_at(before: char, now: char, kind_changed: bool) -> bool {
    match (before, now) {
        (_, 'B' | 'S') | ('E' | 'S' | 'O', 'E' | 'I') => true,
        (_, 'O' | '.') => false,
        _ => kind_changed,
    }
}

/// `B-X I-X*` runs of checked tags; positions count from `start`.
fn strict<'a>(tags: &[&'a str], start: usize) -> Vec<Span<'a>> {
    let mut spans: Vec<Span<'a>> = Vec::new();
    for (i, tag) in (start..).zip(tags) {
        // Unlike the default mode, hyphens are taken off both ends of the type.
        let kind = or_untyped(tag.get(1..).unwrap_or_default().trim_matches('-'));
        match spans.last_mut() {
            _ if tag.starts_with('B') => spans.push(Span { kind, first: i, last: i }),
            Some(open) if tag.starts_with('I') && open.kind == kind && open.last + 1 == i => open.last = i,
            _ => {}
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(tags: &[&'a str], mode: Mode) -> Vec<(&'a str, usize, usize)> {
        spans(tags, mode).unwrap().into_iter().map(|s| (s.kind, s.first, s.last)).collect()
    }

    #[test]
    fn inside_after_outside_begins_an_entity_only_in_the_default_mode() {
        let tags = ["O", "I-X", "I-X", "I-Y", "B-Y", "I-X"];
        assert_eq!(found(&tags, Mode::Default), [("X", 1, 2), ("Y", 3, 3), ("Y", 4, 4), ("X", 5, 5)]);
        assert_eq!(found(&tags, Mode::StrictIob2), [("Y", 4, 4)]);
    }

    #[test]
    fn types_may_hold_hyphens_and_only_strict_mode_trims_them() {
        assert_eq!(found(&["B--A-B-"], Mode::Default), [("-A-B-", 0, 0)]);
        assert_eq!(found(&["B--A-B-"], Mode::StrictIob2), [("A-B", 0, 0)]);
        assert_eq!(found(&["B", "I-", "I-_"], Mode::StrictIob2), [("_", 0, 2)]);
    }

    #[test]
    fn the_default_mode_makes_something_of_end_single_and_untyped_tags() {
        let tags = ["B-X", "S-X", "E-X", "I-X", "E-X", "E-X", "O", "E-X", "I-X", "S-X"];
        let expected = [(0, 0), (1, 1), (2, 2), (3, 4), (5, 5), (7, 7), (8, 8), (9, 9)];
        assert_eq!(found(&tags, Mode::Default), expected.map(|(first, last)| ("X", first, last)));
        assert_eq!(found(&["O", "I", "I", "O", "E"], Mode::Default), [("_", 1, 2), ("_", 4, 4)]);
    }

    #[test]
    fn odd_tags_are_refused_by_name_and_place() {
        let e = spans(&["O", "S-X"], Mode::StrictIob2).unwrap_err();
        assert_eq!(e, MetricError::NotIob2 { sequence: 0, position: 1, tag: "S-X".into() });
        assert!(e.to_string().contains("tag 1") && e.to_string().contains("\"S-X\""));
        assert_eq!(
            spans(&[""], Mode::Default).unwrap_err(),
            MetricError::EmptyTag { sequence: 0, position: 0 }
        );
        assert_eq!(found(&["é-X", "."], Mode::Default), [("X", 0, 0)]);
    }
}
