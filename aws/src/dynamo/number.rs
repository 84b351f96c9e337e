//! Numbers as the table's other writers spell them. DynamoDB keeps the value, not the spelling.

use aws_sdk_dynamodb::types::AttributeValue;

/// A whole number.
pub fn integer(value: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

/// A float in its shortest form, spelled as Python's `str` does (`0.1`, `5e-05`, `12.0`); `None` for NaN and
/// infinities, which DynamoDB does not know.
pub fn float(value: f64) -> Option<AttributeValue> {
    value.is_finite().then(|| AttributeValue::N(python_float(value)))
}

/// `str(float)` of Python for a finite value: plain from 1e-4 to below 1e16, else with an exponent of two digits.
pub(crate) fn python_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

/// Reads plain, exponent and trailing-zero forms; finite.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|v| v.is_finite())
}

/// Reads a whole number in any of those forms.
pub(crate) fn parse_integer(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().or_else(|| {
        let value = parse_float(text)?;
        (value.fract() == 0.0 && value.abs() < 9e15).then_some(value as i64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_spelled_as_the_other_client_spells_them() {
        for (value, text) in [
            (0.1, "0.1"),
            (5e-5, "5e-05"),
            (6e-5, "6e-05"),
            (1e-30, "1e-30"),
            (12.0, "12.0"),
            (0.0, "0.0"),
            (0.0001, "0.0001"),
            (1e16, "1e+16"),
            (123_456_789.25, "123456789.25"),
            (-0.75, "-0.75"),
            (66.666_666_666_666_67, "66.66666666666667"),
        ] {
            assert_eq!(python_float(value), text);
        }
        assert!(float(f64::NAN).is_none() && float(f64::INFINITY).is_none());
    }

    #[test]
    fn every_spelling_of_a_number_is_read() {
        for text in ["12", "12.0", "1.2e1", "12.000", "120E-1"] {
            assert_eq!((parse_float(text), parse_integer(text)), (Some(12.0), Some(12)), "{text}");
        }
        assert_eq!(parse_integer("12.5"), None);
        assert_eq!(parse_float("NaN"), None);
    }
}
