//! Constant tensors of a graph: small ones held here, weights only described, so that a graph costs no memory.
//!
//! The writer asks for the bytes when their turn comes. All bytes are little-endian and row-major, as ONNX has them.

use std::io::{self, Write};

use half::f16;
use layoutlm_trainer::weights::{Array, Weights};

use crate::onnx_proto::tensor_proto::DataType;
use crate::quantize::quantize;

/// How a weight lies in the file. Linear weights come as `[out, in]` and products want `[in, out]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Storage {
    /// f32 as it is.
    Float,
    /// f32 `[in, out]` of a weight `[out, in]`.
    FloatTransposed,
    /// f16 as it is.
    Half,
    /// Signed int8 as it is, one scale per row, `[rows]`.
    Int8Rows(Vec<f32>),
    /// Signed int8 `[in, out]` of a weight `[out, in]`, one scale per output channel, `[out]`; input channels are
    /// multiplied first, where `columns` `[in]` is not empty.
    Int8Transposed {
        /// Scale of each output channel.
        scales: Vec<f32>,
        /// Factor of each input channel, or nothing.
        columns: Vec<f32>,
    },
}

impl Storage {
    fn data_type(&self) -> DataType {
        match self {
            Self::Float | Self::FloatTransposed => DataType::Float,
            Self::Half => DataType::Float16,
            Self::Int8Rows(_) | Self::Int8Transposed { .. } => DataType::Int8,
        }
    }

    fn transposes(&self) -> bool {
        matches!(self, Self::FloatTransposed | Self::Int8Transposed { .. })
    }
}

/// Where the elements come from.
#[derive(Debug, Clone, PartialEq)]
enum Values {
    /// Held here.
    Inline(Vec<u8>),
    /// A tensor of the checkpoint.
    Weight(Storage),
}

/// A named constant tensor. A weight carries the name of its tensor in the checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Initializer {
    /// Name in the graph.
    pub(crate) name: String,
    /// Name of the tensor in the checkpoint, for weights.
    tensor: String,
    /// Size of each dimension as written.
    pub(crate) dims: Vec<i64>,
    /// Element type as written.
    pub(crate) data_type: DataType,
    values: Values,
}

impl Initializer {
    /// A small f32 constant.
    pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> Self {
        Self::inline(name, dims, DataType::Float, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A small constant stored as f16.
    pub(crate) fn halves(name: &str, dims: &[i64], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        Self::inline(name, dims, DataType::Float16, bytes)
    }

    /// A small int64 constant.
    pub(crate) fn integers(name: &str, dims: &[i64], values: &[i64]) -> Self {
        Self::inline(name, dims, DataType::Int64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A small int8 constant.
    pub(crate) fn bytes(name: &str, dims: &[i64], values: &[i8]) -> Self {
        Self::inline(name, dims, DataType::Int8, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn inline(name: &str, dims: &[i64], data_type: DataType, bytes: Vec<u8>) -> Self {
        let values = Values::Inline(bytes);
        Self { name: name.into(), tensor: String::new(), dims: dims.to_vec(), data_type, values }
    }

    /// The tensor `tensor` of shape `shape` in the checkpoint.
    pub(crate) fn weight(name: String, tensor: &str, shape: &[usize], storage: Storage) -> Self {
        let mut dims: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
        if storage.transposes() {
            dims.reverse();
        }
        let data_type = storage.data_type();
        Self { name, tensor: tensor.into(), dims, data_type, values: Values::Weight(storage) }
    }

    /// Bytes of all elements.
    pub(crate) fn byte_len(&self) -> u64 {
        match &self.values {
            Values::Inline(bytes) => bytes.len() as u64,
            Values::Weight(_) => {
                let elements: u64 = self.dims.iter().map(|&d| d as u64).product();
                elements * element_size(self.data_type)
            }
        }
    }

    /// Writes all elements, exactly [`Initializer::byte_len`] bytes.
    ///
    /// # Errors
    /// What the writer reports; `NotFound` when `weights` has no such tensor.
    pub(crate) fn write(&self, weights: &Weights, to: &mut dyn Write) -> io::Result<()> {
        match &self.values {
            Values::Inline(bytes) => to.write_all(bytes),
            Values::Weight(storage) => {
                let missing =
                    || io::Error::new(io::ErrorKind::NotFound, format!("no tensor {}", self.tensor));
                write_weight(weights.get(&self.tensor).ok_or_else(missing)?, storage, to)
            }
        }
    }
}

fn element_size(data_type: DataType) -> u64 {
    match data_type {
        DataType::Int64 => 8,
        DataType::Float16 => 2,
        DataType::Int8 => 1,
        _ => 4,
    }
}

/// Rows of a transposed weight that are gathered in one go: a cache line of the array.
const TOGETHER: usize = 16;

/// Writes a weight some rows of the *written* layout at a time, so that no second copy of it is made.
fn write_weight(array: &Array, storage: &Storage, to: &mut dyn Write) -> io::Result<()> {
    let at = |list: &[f32], index: usize| list.get(index).copied().unwrap_or(1.0);
    match storage {
        Storage::Float => write_rows(array, to, |value, _| value.to_le_bytes()),
        Storage::Half => write_rows(array, to, |value, _| f16::from_f32(value).to_le_bytes()),
        Storage::Int8Rows(scales) => {
            write_rows(array, to, |value, row| quantize(value, at(scales, row)).to_le_bytes())
        }
        Storage::FloatTransposed => write_columns(array, to, |value, _, _| value.to_le_bytes()),
        Storage::Int8Transposed { scales, columns } => write_columns(array, to, |value, row, column| {
            quantize(value * at(columns, column), at(scales, row)).to_le_bytes()
        }),
    }
}

fn columns_of(array: &Array) -> usize {
    array.shape.last().copied().unwrap_or(1).max(1)
}

/// Writes an array as it lies; `element` gets a value and its row.
fn write_rows<const N: usize>(
    array: &Array,
    to: &mut dyn Write,
    element: impl Fn(f32, usize) -> [u8; N],
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(columns_of(array) * N);
    for (r, row) in array.data.chunks(columns_of(array)).enumerate() {
        buffer.clear();
        row.iter().for_each(|&value| buffer.extend_from_slice(&element(value, r)));
        to.write_all(&buffer)?;
    }
    Ok(())
}

/// Writes an array column by column; `element` gets a value, its row and its column.
fn write_columns<const N: usize>(
    array: &Array,
    to: &mut dyn Write,
    element: impl Fn(f32, usize, usize) -> [u8; N],
) -> io::Result<()> {
    let columns = columns_of(array);
    let rows = array.data.len() / columns;
    let mut buffer = Vec::new();
    for start in (0..columns).step_by(TOGETHER) {
        let width = TOGETHER.min(columns - start);
        buffer.resize(width * rows * N, 0);
        for (r, row) in array.data.chunks(columns).enumerate() {
            for (c, &value) in row.iter().skip(start).take(width).enumerate() {
                let place = (c * rows + r) * N;
                if let Some(bytes) = buffer.get_mut(place..place + N) {
                    bytes.copy_from_slice(&element(value, r, start + c));
                }
            }
        }
        to.write_all(&buffer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[2, 3]`: two outputs of three inputs.
    fn weights() -> Weights {
        let array = Array { shape: vec![2, 3], data: vec![1.0, 2.0, 3.0, -4.0, 5.0, 127.0] };
        [("w".to_string(), array)].into_iter().collect()
    }

    fn written(storage: Storage) -> (Initializer, Vec<u8>) {
        let initializer = Initializer::weight("w".into(), "w", &[2, 3], storage);
        let mut bytes = Vec::new();
        initializer.write(&weights(), &mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, initializer.byte_len());
        (initializer, bytes)
    }

    #[test]
    fn a_transposed_weight_is_written_input_by_input() {
        let (initializer, bytes) = written(Storage::FloatTransposed);
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        assert_eq!(values, [1.0, -4.0, 2.0, 5.0, 3.0, 127.0]);
        assert_eq!(initializer.dims, [3, 2]);
    }

    #[test]
    fn int8_weights_use_the_scale_of_their_output_channel() {
        let (_, bytes) =
            written(Storage::Int8Transposed { scales: vec![3.0 / 127.0, 1.0], columns: Vec::new() });
        let values: Vec<i8> = bytes.iter().map(|&b| b as i8).collect();
        assert_eq!(values, [42, -4, 85, 5, 127, 127]);
        let doubled =
            Storage::Int8Transposed { scales: vec![6.0 / 127.0, 2.0], columns: vec![1.0, 2.0, 2.0] };
        assert_eq!(
            written(doubled).1.iter().map(|&b| b as i8).collect::<Vec<_>>(),
            [21, -2, 85, 5, 127, 127]
        );
        let (_, rows) = written(Storage::Int8Rows(vec![1.0, 1.0]));
        assert_eq!(rows, [1, 2, 3, 252, 5, 127]);
    }

    #[test]
    fn a_wide_weight_is_transposed_whole() {
        let (rows, columns) = (3, 2 * TOGETHER + 5);
        let data: Vec<f32> = (0..rows * columns).map(|v| v as f32).collect();
        let mut bytes = Vec::new();
        write_weight(&Array { shape: vec![rows, columns], data }, &Storage::FloatTransposed, &mut bytes)
            .unwrap();
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let expected: Vec<f32> =
            (0..columns).flat_map(|c| (0..rows).map(move |r| (r * columns + c) as f32)).collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn half_precision_takes_two_bytes_an_element() {
        let (_, bytes) = written(Storage::Half);
        let values: Vec<f16> = bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b)).collect();
        assert_eq!(values.last().map(|v| v.to_f32()), Some(127.0));
    }

    #[test]
    fn a_missing_tensor_is_named() {
        let initializer = Initializer::weight("x".into(), "nowhere", &[1], Storage::Float);
        assert!(initializer.write(&weights(), &mut Vec::new()).unwrap_err().to_string().contains("nowhere"));
    }
}
