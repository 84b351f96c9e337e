//! Integer tensors out of JSON or bytes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;

use super::error::OipError;
use super::protocol::RequestInput;

/// Numbers of a JSON tensor in row-major order, whether they were nested or not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TensorData(pub(super) Vec<i64>);

impl<'de> Deserialize<'de> for TensorData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut data = Self::default();
        deserializer.deserialize_seq(Flatten(&mut data.0))?;
        Ok(data)
    }
}

/// Collects numbers from nested lists.
struct Flatten<'v>(&'v mut Vec<i64>);

impl<'de> DeserializeSeed<'de> for Flatten<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flatten<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("whole numbers, flat or nested")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Flatten(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.0.push(value);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let value = i64::try_from(value)
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &"a 64-bit integer"))?;
        self.visit_i64(value)
    }
}

/// An `INT64` tensor whose data fits its shape.
#[derive(Debug)]
pub(super) struct Tensor {
    /// Dimensions.
    pub(super) shape: Vec<u64>,
    /// Row-major.
    pub(super) data: Vec<i64>,
}

impl Tensor {
    /// Takes an input's numbers from its JSON or from the bytes behind it; what is used of `binary` is taken off.
    ///
    /// # Errors
    /// 400 naming the tensor.
    pub(super) fn take(input: RequestInput, binary: &mut &[u8]) -> Result<Self, OipError> {
        let RequestInput { name, shape, datatype, parameters, data } = input;
        if datatype != "INT64" {
            return Err(OipError::invalid(format!("{name} has datatype {datatype}; expected INT64")));
        }
        let data = match (data, parameters.get("binary_data_size")) {
            (Some(data), None) => data.0,
            (None, Some(size)) => from_bytes(&name, size, binary)?,
            (None, None) => return Err(OipError::invalid(format!("{name} has no data"))),
            (Some(_), Some(_)) => {
                return Err(OipError::invalid(format!("{name} has both data and binary_data_size")));
            }
        };
        let elements = shape.iter().try_fold(1u64, |product, dimension| product.checked_mul(*dimension));
        if elements != Some(data.len() as u64) {
            let found = data.len();
            return Err(OipError::invalid(format!("{name} has shape {shape:?}, but {found} numbers")));
        }
        Ok(Self { shape, data })
    }
}

fn from_bytes(name: &str, size: &Value, binary: &mut &[u8]) -> Result<Vec<i64>, OipError> {
    let wrong = |reason: &str| OipError::invalid(format!("{name}: binary_data_size {size} {reason}"));
    let size =
        size.as_u64().and_then(|size| usize::try_from(size).ok()).ok_or_else(|| wrong("is no size"))?;
    let (own, rest) = binary.split_at_checked(size).ok_or_else(|| wrong("is more than the body holds"))?;
    let (numbers, left) = own.as_chunks::<8>();
    if !left.is_empty() {
        return Err(wrong("is no multiple of 8"));
    }
    *binary = rest;
    Ok(numbers.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_and_flat_numbers_are_the_same() {
        let read = |text| serde_json::from_str::<TensorData>(text).map(|data| data.0);
        assert_eq!(read("[[1,2],[3,4]]").unwrap(), read("[1,2,3,4]").unwrap());
        assert_eq!(read("[[[[-5]]]]").unwrap(), [-5]);
        for wrong in ["[1.5]", "[\"1\"]", "[true]", "[null]", "[9223372036854775808]", "1", "[{}]"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
