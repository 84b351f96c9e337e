//! Words with tags → entities: runs of words of one type, with their text, value, box and confidence.
//!
//! Groups as the CoNLL scorer does: `B-X` begins an entity, `I-X` continues one of the same type and begins one after
//! `O` or another type. So entities here are the spans that [`crate::metrics`] counts in its default mode.

use serde::{Deserialize, Serialize};

use crate::label::Tag;
use crate::receipt::{Receipt, Word};
use crate::value;

/// One field as found on a receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// Entity type, e.g. `DATE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its words in reading order, joined by single spaces.
    pub text: String,
    /// The text in one agreed form, see [`value::normalize`]; `None` when the type has none or the text does not parse.
    pub value: Option<String>,
    /// Mean confidence of its words, 0..=1.
    pub confidence: f32,
    /// Its words as indices into the receipt, in reading order.
    pub word_indices: Vec<usize>,
    /// `[x0, y0, x1, y1]` around all its words, in the receipt's unit and origin.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
}

/// One word on its way into an entity.
struct Member<'a> {
    index: usize,
    word: &'a Word,
    confidence: f32,
}

/// Groups a receipt's words into entities.
///
/// `order` (indices into `receipt.words`), `tags` and `confidence` are `[words]` in reading order; what one of them
/// has beyond the shortest is left out, as are indices the receipt does not have.
pub fn group(receipt: &Receipt, order: &[usize], tags: &[Tag<'_>], confidence: &[f32]) -> Vec<Entity> {
    let mut entities = Vec::new();
    let mut open: Option<(&str, Vec<Member<'_>>)> = None;
    for ((&index, &tag), &confidence) in order.iter().zip(tags).zip(confidence) {
        let Some(word) = receipt.words.get(index) else { continue };
        let member = Member { index, word, confidence };
        match (tag, &mut open) {
            (Tag::Inside(kind), Some((current, members))) if kind == *current => members.push(member),
            _ => {
                entities.extend(open.take().and_then(|(kind, members)| entity(kind, &members)));
                open = tag.entity().map(|kind| (kind, vec![member]));
            }
        }
    }
    entities.extend(open.and_then(|(kind, members)| entity(kind, &members)));
    entities
}

fn entity(kind: &str, members: &[Member<'_>]) -> Option<Entity> {
    let bbox = members.iter().map(|m| upright(m.word.bbox)).reduce(union)?;
    let texts: Vec<&str> = members.iter().map(|m| m.word.text.as_str()).collect();
    let text = texts.join(" ");
    let finite = |c: f32| if c.is_finite() { f64::from(c) } else { 0.0 };
    let confidence = members.iter().map(|m| finite(m.confidence)).sum::<f64>() / members.len() as f64;
    Some(Entity {
        kind: kind.to_string(),
        value: value::normalize(kind, &text),
        text,
        confidence: confidence as f32,
        word_indices: members.iter().map(|m| m.index).collect(),
        bbox,
    })
}

impl Entity {
    /// One entity of some of a receipt's words, in the order given; `None` when it has none of them.
    ///
    /// `confidence` is asked for each word by its index.
    pub(crate) fn of_words(
        receipt: &Receipt,
        kind: &str,
        words: &[usize],
        confidence: impl Fn(usize) -> f32,
    ) -> Option<Self> {
        let member = |&index: &usize| {
            let word = receipt.words.get(index)?;
            Some(Member { index, word, confidence: confidence(index) })
        };
        entity(kind, &words.iter().filter_map(member).collect::<Vec<_>>())
    }
}

fn upright([x0, y0, x1, y1]: [f64; 4]) -> [f64; 4] {
    [x0.min(x1), y0.min(y1), x0.max(x1), y0.max(y1)]
}

/// The smallest upright box around two.
pub(crate) fn union(a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
    let ([ax0, ay0, ax1, ay1], [bx0, by0, bx1, by1]) = (a, b);
    [ax0.min(bx0), ay0.min(by0), ax1.max(bx1), ay1.max(by1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bbox::Origin;
    use crate::receipt::ValidationStatus;

    fn receipt(texts: &[&str]) -> Receipt {
        let word = |(i, text): (usize, &&str)| Word {
            line_id: 0,
            word_id: i as u32,
            text: text.to_string(),
            bbox: [10.0 * i as f64, 5.0 - i as f64, 10.0 * i as f64 + 8.0, 9.5],
            label: None,
            validation_status: ValidationStatus::default(),
            source_label: None,
            entity_id: None,
        };
        Receipt {
            image_id: "r".into(),
            receipt_id: 1,
            width: None,
            height: None,
            origin: Origin::TopLeft,
            merchant: None,
            words: texts.iter().enumerate().map(word).collect(),
        }
    }

    #[test]
    fn an_entity_has_the_text_box_confidence_and_value_of_its_words_in_reading_order() {
        use Tag::*;
        let r = receipt(&["2025", "TOTAL", "13,", "Nov"]);
        let tags = [Outside, Begin("DATE"), Inside("DATE"), Inside("DATE")];
        let found = group(&r, &[1, 3, 2, 0], &tags, &[0.1, 0.5, 0.75, 1.0]);
        let expected = Entity {
            kind: "DATE".into(),
            text: "Nov 13, 2025".into(),
            value: Some("2025-11-13".into()),
            confidence: 0.75,
            word_indices: vec![3, 2, 0],
            bbox: [0.0, 2.0, 38.0, 9.5],
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn inside_tags_begin_an_entity_after_o_or_another_type_and_begin_tags_split() {
        use Tag::*;
        let r = receipt(&["a", "b", "c", "d", "e"]);
        let tags = [Inside("X"), Inside("Y"), Begin("Y"), Outside, Inside("Y")];
        let found = group(&r, &[0, 1, 2, 3, 4], &tags, &[0.5; 5]);
        let spans: Vec<_> = found.iter().map(|e| (e.kind.as_str(), e.word_indices.as_slice())).collect();
        assert_eq!(spans, [("X", &[0][..]), ("Y", &[1]), ("Y", &[2]), ("Y", &[4])]);
    }

    #[test]
    fn swapped_corners_unknown_words_and_broken_confidences_do_no_harm() {
        let mut r = receipt(&["a", "b"]);
        r.words[0].bbox = [8.0, 9.0, 1.0, 2.0];
        let found = group(&r, &[0, 7, 1], &[Tag::Begin("X"); 3], &[f32::NAN, 1.0, 1.0]);
        assert_eq!((found.len(), found[0].bbox, found[0].confidence), (2, [1.0, 2.0, 8.0, 9.0], 0.0));
    }

    #[test]
    fn the_json_has_the_documented_field_names() {
        let found = group(&receipt(&["a"]), &[0], &[Tag::Begin("X")], &[0.5]);
        let json = serde_json::to_value(&found[0]).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"type": "X", "text": "a", "value": null, "confidence": 0.5,
            "word_indices": [0], "box": [0.0, 5.0, 8.0, 9.5]})
        );
    }
}
