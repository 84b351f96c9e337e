//! From the protocol's tensors to windows, one per row of the batch.

use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::config::ModelConfig;
use layoutlm_core::window::Window;

use super::error::OipError;
use super::protocol::RequestInput;
use super::tensor::Tensor;

/// The rows of a request.
#[derive(Debug)]
pub(super) struct Rows {
    /// One per row, without its padding.
    pub(super) windows: Vec<Window>,
    /// Tokens of a row with its padding.
    pub(super) sequence: usize,
}

/// The tensors a graph takes.
#[derive(Debug, Default)]
struct Inputs {
    input_ids: Option<Tensor>,
    bbox: Option<Tensor>,
    attention_mask: Option<Tensor>,
    token_type_ids: Option<Tensor>,
}

impl Inputs {
    fn take(inputs: Vec<RequestInput>, mut binary: &[u8]) -> Result<Self, OipError> {
        let mut out = Self::default();
        for input in inputs {
            let slot = match input.name.as_str() {
                "input_ids" => &mut out.input_ids,
                "bbox" => &mut out.bbox,
                "attention_mask" => &mut out.attention_mask,
                "token_type_ids" => &mut out.token_type_ids,
                other => {
                    let known = "input_ids, bbox, attention_mask, token_type_ids";
                    return Err(OipError::invalid(format!("unknown input {other:?}; expected {known}")));
                }
            };
            if slot.is_some() {
                return Err(OipError::invalid(format!("{} is given twice", input.name)));
            }
            *slot = Some(Tensor::take(input, &mut binary)?);
        }
        if !binary.is_empty() {
            return Err(OipError::invalid(format!("{} bytes belong to no input", binary.len())));
        }
        Ok(out)
    }
}

/// Reads the inputs. `attention_mask` is all ones and `token_type_ids` all zeros where left out.
///
/// # Errors
/// 400 naming tensor, row and what is wrong: rows of other lengths, more than `max_rows`, ids or boxes that the model
/// does not have, masks that are not ones followed by zeros.
pub(super) fn read(
    inputs: Vec<RequestInput>,
    binary: &[u8],
    model: &ModelConfig,
    max_rows: usize,
) -> Result<Rows, OipError> {
    let Inputs { input_ids, bbox, attention_mask, token_type_ids } = Inputs::take(inputs, binary)?;
    let missing = |name: &str| OipError::invalid(format!("the input {name} is missing"));
    let ids = input_ids.ok_or_else(|| missing("input_ids"))?;
    let boxes = bbox.ok_or_else(|| missing("bbox"))?;
    let [rows, sequence] = ids.shape[..] else {
        return Err(OipError::invalid(format!(
            "input_ids has shape {:?}; expected [batch, sequence]",
            ids.shape
        )));
    };
    let within = |value: u64, most: usize| usize::try_from(value).ok().filter(|v| (1..=most).contains(v));
    let longest = model.max_position_embeddings;
    let sequence = within(sequence, longest)
        .ok_or_else(|| OipError::invalid(format!("rows of {sequence} tokens; expected 1 to {longest}")))?;
    let rows = within(rows, max_rows)
        .ok_or_else(|| OipError::invalid(format!("a batch of {rows} rows; expected 1 to {max_rows}")))?;
    let shape = [rows as u64, sequence as u64];
    expect_shape("bbox", &boxes, &[shape[0], shape[1], 4])?;
    for (name, tensor) in [("attention_mask", &attention_mask), ("token_type_ids", &token_type_ids)] {
        if let Some(tensor) = tensor {
            expect_shape(name, tensor, &shape)?;
        }
    }
    if let Some(wrong) = token_type_ids.iter().flat_map(|t| &t.data).find(|id| **id != 0) {
        return Err(OipError::invalid(format!("token_type_ids holds {wrong}; the model knows one type, 0")));
    }
    let mut windows = Vec::with_capacity(rows);
    for row in 0..rows {
        let mask = attention_mask.as_ref().map(|mask| part(&mask.data, row, sequence));
        let length = mask.map_or(Ok(sequence), |mask| masked_length(mask, row))?;
        let ids = part(&ids.data, row, sequence).iter().take(length);
        let boxes = part(&boxes.data, row, sequence * 4).as_chunks::<4>().0.iter().take(length);
        windows.push(Window {
            word_indices: Vec::new(),
            input_ids: ids.map(|id| token(*id, row, model.vocab_size)).collect::<Result<_, _>>()?,
            bbox: boxes.map(|corners| grid_box(*corners, row)).collect::<Result<_, _>>()?,
            word_ids: vec![None; length],
        });
    }
    Ok(Rows { windows, sequence })
}

fn expect_shape(name: &str, tensor: &Tensor, expected: &[u64]) -> Result<(), OipError> {
    if tensor.shape == expected {
        return Ok(());
    }
    Err(OipError::invalid(format!("{name} has shape {:?}; expected {expected:?}", tensor.shape)))
}

fn part(data: &[i64], row: usize, width: usize) -> &[i64] {
    data.get(row * width..(row + 1) * width).unwrap_or_default()
}

fn masked_length(mask: &[i64], row: usize) -> Result<usize, OipError> {
    let length = mask.iter().take_while(|m| **m == 1).count();
    if length == 0 || mask.iter().skip(length).any(|m| *m != 0) {
        let text =
            format!("attention_mask, row {row}: expected ones for the tokens followed by zeros for padding");
        return Err(OipError::invalid(text));
    }
    Ok(length)
}

fn token(id: i64, row: usize, vocab: usize) -> Result<u32, OipError> {
    let known = u32::try_from(id).ok().filter(|id| (*id as usize) < vocab);
    known.ok_or_else(|| OipError::invalid(format!("input_ids, row {row}: {id} is no token of {vocab}")))
}

fn grid_box(corners: [i64; 4], row: usize) -> Result<NormalizedBox, OipError> {
    let wrong = || {
        let text = format!(
            "bbox, row {row}: {corners:?} is not [x0, y0, x1, y1] of 0 to 1000 with x0 <= x1, y0 <= y1"
        );
        OipError::invalid(text)
    };
    let mut small = [0u16; 4];
    for (small, corner) in small.iter_mut().zip(corners) {
        *small = u16::try_from(corner).map_err(|_| wrong())?;
    }
    NormalizedBox::new(small).map_err(|_| wrong())
}
