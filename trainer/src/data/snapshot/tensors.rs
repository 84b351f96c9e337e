//! Encoded examples as one safetensors file.
//!
//! Ragged rows are flat arrays with offsets. Tags are numbers into a list kept in the file's metadata, so that tags
//! the model does not know survive.

use std::collections::{BTreeMap, HashMap};

use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::window::Window;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::SnapshotPart;
use crate::data::encode::EncodedExample;
use crate::data::examples::ExampleKind;

/// `word_ids` of a special token.
const NO_WORD: u32 = u32::MAX;

const KINDS: [ExampleKind; 3] = [ExampleKind::Window, ExampleKind::Line, ExampleKind::ItemWindow];

/// Flat arrays; offsets have one entry more than there are examples.
#[derive(Default)]
struct Columns {
    /// `[examples]`, index into the part's receipts.
    receipt: Vec<u32>,
    /// `[examples]`, index into [`KINDS`].
    kind: Vec<u32>,
    /// `[examples + 1]`.
    token_offsets: Vec<u32>,
    /// `[tokens]`.
    input_ids: Vec<u32>,
    /// `[tokens]`.
    word_ids: Vec<u32>,
    /// `[tokens, 4]`.
    bbox: Vec<u32>,
    /// `[examples + 1]`.
    word_offsets: Vec<u32>,
    /// `[words]`.
    word_indices: Vec<u32>,
    /// `[words]`, index into the tag list.
    tags: Vec<u32>,
}

impl Columns {
    /// Names and arrays, with the length of a row where it is not 1.
    fn all(&self) -> [(&'static str, &Vec<u32>, usize); 9] {
        [
            ("receipt", &self.receipt, 1),
            ("kind", &self.kind, 1),
            ("token_offsets", &self.token_offsets, 1),
            ("input_ids", &self.input_ids, 1),
            ("word_ids", &self.word_ids, 1),
            ("bbox", &self.bbox, 4),
            ("word_offsets", &self.word_offsets, 1),
            ("word_indices", &self.word_indices, 1),
            ("tags", &self.tags, 1),
        ]
    }
}

/// The bytes of a part's examples.
pub(super) fn pack(part: &SnapshotPart) -> Result<Vec<u8>, String> {
    let numbers: HashMap<String, u32> = part.receipts.iter().map(Receipt::key).zip(0..).collect();
    let mut tag_ids: BTreeMap<&str, u32> = BTreeMap::new();
    for tag in part.examples.iter().flat_map(|e| &e.tags) {
        if tag.contains('\n') {
            return Err(format!("the tag {tag:?} holds a line break: name its label without one"));
        }
        let next = tag_ids.len() as u32;
        tag_ids.entry(tag).or_insert(next);
    }
    let mut columns = Columns { token_offsets: vec![0], word_offsets: vec![0], ..Columns::default() };
    for example in &part.examples {
        let receipt = numbers
            .get(&example.key)
            .ok_or_else(|| format!("an example of {} has no receipt", example.key))?;
        columns.receipt.push(*receipt);
        columns.kind.push(KINDS.iter().position(|k| *k == example.kind).unwrap_or(0) as u32);
        let window = &example.window;
        columns.input_ids.extend(&window.input_ids);
        columns.word_ids.extend(window.word_ids.iter().map(|w| w.unwrap_or(NO_WORD)));
        columns.bbox.extend(window.bbox.iter().flat_map(|b| b.corners().map(u32::from)));
        columns.word_indices.extend(window.word_indices.iter().map(|&w| w as u32));
        columns.tags.extend(example.tags.iter().filter_map(|t| tag_ids.get(t.as_str())));
        columns.token_offsets.push(columns.input_ids.len() as u32);
        columns.word_offsets.push(columns.word_indices.len() as u32);
    }
    let mut by_id: Vec<(&str, u32)> = tag_ids.into_iter().collect();
    by_id.sort_by_key(|(_, id)| *id);
    let list: Vec<&str> = by_id.into_iter().map(|(tag, _)| tag).collect();
    let bytes: Vec<(&str, Vec<u8>, Vec<usize>)> = columns
        .all()
        .into_iter()
        .map(|(name, values, row)| {
            let shape = if row == 1 { vec![values.len()] } else { vec![values.len() / row, row] };
            (name, values.iter().flat_map(|v| v.to_le_bytes()).collect(), shape)
        })
        .collect();
    let views: Result<Vec<(&str, TensorView<'_>)>, String> = bytes
        .iter()
        .map(|(name, data, shape)| {
            let view = TensorView::new(Dtype::U32, shape.clone(), data).map_err(|e| e.to_string())?;
            Ok((*name, view))
        })
        .collect();
    let metadata = HashMap::from([("tags".to_string(), list.join("\n"))]);
    safetensors::serialize(views?, Some(metadata)).map_err(|e| e.to_string())
}

/// The examples in a part's bytes.
pub(super) fn unpack(bytes: &[u8], receipts: &[Receipt]) -> Result<Vec<EncodedExample>, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let tags = header.metadata().as_ref().and_then(|m| m.get("tags")).cloned().unwrap_or_default();
    let tags: Vec<&str> = tags.split('\n').collect();
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let column = |name: &str| -> Result<Vec<u32>, String> {
        let tensor = file.tensor(name).map_err(|e| format!("{name}: {e}"))?;
        if tensor.dtype() != Dtype::U32 {
            return Err(format!("{name}: {:?} where U32 is expected", tensor.dtype()));
        }
        let word = |b: &[u8]| b.try_into().map(u32::from_le_bytes).unwrap_or_default();
        Ok(tensor.data().chunks_exact(4).map(word).collect())
    };
    let columns = Columns {
        receipt: column("receipt")?,
        kind: column("kind")?,
        token_offsets: column("token_offsets")?,
        input_ids: column("input_ids")?,
        word_ids: column("word_ids")?,
        bbox: column("bbox")?,
        word_offsets: column("word_offsets")?,
        word_indices: column("word_indices")?,
        tags: column("tags")?,
    };
    let short = || "its arrays do not fit each other".to_string();
    (0..columns.receipt.len()).map(|i| columns.example(i, receipts, &tags).ok_or_else(short)).collect()
}

impl Columns {
    /// One example; `None` when an offset or number points nowhere.
    fn example(&self, index: usize, receipts: &[Receipt], tags: &[&str]) -> Option<EncodedExample> {
        let range = |offsets: &[u32], row: usize| {
            Some(*offsets.get(index)? as usize * row..*offsets.get(index + 1)? as usize * row)
        };
        let tokens = range(&self.token_offsets, 1)?;
        let words = range(&self.word_offsets, 1)?;
        let corners = self.bbox.get(range(&self.token_offsets, 4)?)?;
        let bbox: Option<Vec<NormalizedBox>> = corners
            .chunks_exact(4)
            .map(|c| {
                let corners: Result<Vec<u16>, _> = c.iter().map(|&v| u16::try_from(v)).collect();
                NormalizedBox::new(corners.ok()?.try_into().ok()?).ok()
            })
            .collect();
        let window = Window {
            word_indices: self.word_indices.get(words.clone())?.iter().map(|&w| w as usize).collect(),
            input_ids: self.input_ids.get(tokens.clone())?.to_vec(),
            bbox: bbox?,
            word_ids: self.word_ids.get(tokens)?.iter().map(|&w| (w != NO_WORD).then_some(w)).collect(),
        };
        let tag = |id: &u32| tags.get(*id as usize).map(|t| (*t).to_string());
        Some(EncodedExample {
            key: receipts.get(*self.receipt.get(index)? as usize)?.key(),
            kind: *KINDS.get(*self.kind.get(index)? as usize)?,
            window,
            tags: self.tags.get(words)?.iter().map(tag).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_with_a_line_break_is_refused_rather_than_read_back_as_two() {
        let window = Window { word_indices: vec![], input_ids: vec![], bbox: vec![], word_ids: vec![] };
        let tags = vec!["B-DA\nTE".to_string()];
        let example = EncodedExample { key: "a#00001".into(), kind: ExampleKind::Window, window, tags };
        let said = pack(&SnapshotPart { receipts: vec![], examples: vec![example] }).unwrap_err();
        assert!(said.contains("line break"), "{said}");
    }
}
