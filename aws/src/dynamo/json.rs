//! DynamoDB JSON (`{"S": "…"}`) as files hold it, and plain JSON as maps inside items.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Number, Value, json};

use super::fields::Item;
use super::number::{float, parse_float};

/// An attribute as DynamoDB JSON. Binary attributes, which these tables do not use, become `NULL`.
pub fn to_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        AttributeValue::Ss(set) => json!({ "SS": set }),
        AttributeValue::Ns(set) => json!({ "NS": set }),
        AttributeValue::L(list) => json!({ "L": list.iter().map(to_json).collect::<Vec<_>>() }),
        AttributeValue::M(map) => json!({ "M": item_to_json(map) }),
        _ => json!({ "NULL": true }),
    }
}

/// An attribute from DynamoDB JSON; the reason where it is none.
///
/// # Errors
/// What is wrong with it.
pub fn from_json(value: &Value) -> Result<AttributeValue, String> {
    let one = value.as_object().filter(|m| m.len() == 1).and_then(|m| m.iter().next());
    let Some((kind, inner)) = one else {
        return Err(format!("expected {{\"<type>\": value}}, found {}", shortened(value)));
    };
    let wrong = || format!("{} is no value of type {kind}", shortened(inner));
    let text = |v: &Value| v.as_str().map(String::from).ok_or_else(wrong);
    let texts = || inner.as_array().ok_or_else(wrong)?.iter().map(text).collect::<Result<Vec<_>, _>>();
    Ok(match kind.as_str() {
        "S" => AttributeValue::S(text(inner)?),
        "N" => AttributeValue::N(text(inner)?),
        "BOOL" => AttributeValue::Bool(inner.as_bool().ok_or_else(wrong)?),
        "NULL" => AttributeValue::Null(true),
        "SS" => AttributeValue::Ss(texts()?),
        "NS" => AttributeValue::Ns(texts()?),
        "L" => AttributeValue::L(
            inner.as_array().ok_or_else(wrong)?.iter().map(from_json).collect::<Result<_, _>>()?,
        ),
        "M" => AttributeValue::M(item_from_json(inner)?),
        "B" => AttributeValue::B(Blob::new(text(inner)?)),
        _ => return Err(format!("{kind} is no attribute type")),
    })
}

/// A whole item as DynamoDB JSON.
pub fn item_to_json(item: &Item) -> Value {
    let sorted: std::collections::BTreeMap<&String, Value> =
        item.iter().map(|(name, value)| (name, to_json(value))).collect();
    json!(sorted)
}

/// A whole item from DynamoDB JSON.
///
/// # Errors
/// What is wrong, and in which attribute.
pub fn item_from_json(value: &Value) -> Result<Item, String> {
    let map = value.as_object().ok_or_else(|| format!("expected an object, found {}", shortened(value)))?;
    map.iter()
        .map(|(name, v)| Ok((name.clone(), from_json(v).map_err(|e| format!("{name}: {e}"))?)))
        .collect()
}

/// Plain JSON as an attribute, e.g. a job's configuration. Whole numbers keep being whole; what is not finite has
/// become `null` on its way into JSON and so becomes `NULL`.
pub fn plain_to_value(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(list) => AttributeValue::L(list.iter().map(plain_to_value).collect()),
        Value::Object(map) => {
            AttributeValue::M(map.iter().map(|(name, v)| (name.clone(), plain_to_value(v))).collect())
        }
        Value::Number(number) if number.is_f64() => {
            number.as_f64().and_then(float).unwrap_or(AttributeValue::Null(true))
        }
        Value::Number(number) => AttributeValue::N(number.to_string()),
    }
}

/// The way back. A number is whole when its spelling is, so `1.0` that came back as `1` is whole.
pub fn value_to_plain(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!(text),
        AttributeValue::Bool(flag) => json!(flag),
        AttributeValue::N(text) => plain_number(text),
        AttributeValue::L(list) => Value::Array(list.iter().map(value_to_plain).collect()),
        AttributeValue::M(map) => Value::Object(plain_map(map)),
        AttributeValue::Ss(set) => json!(set),
        AttributeValue::Ns(set) => Value::Array(set.iter().map(|n| plain_number(n)).collect()),
        _ => Value::Null,
    }
}

pub(crate) fn plain_map(map: &HashMap<String, AttributeValue>) -> Map<String, Value> {
    map.iter().map(|(name, value)| (name.clone(), value_to_plain(value))).collect()
}

/// Integers beyond 64 bits become floats: nothing here counts that far.
fn plain_number(text: &str) -> Value {
    let number = text.parse::<i64>().map(Number::from).ok();
    number.or_else(|| parse_float(text).and_then(Number::from_f64)).map_or(Value::Null, Value::Number)
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(60).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamodb_json_goes_there_and_back_unchanged() {
        let text = json!({
            "a": {"S": ""}, "b": {"N": "1e-30"}, "c": {"BOOL": false}, "d": {"NULL": true},
            "e": {"L": [{"N": "1"}, {"M": {"x": {"S": "é"}}}]}, "f": {"SS": ["p", "q"]},
        });
        assert_eq!(item_to_json(&item_from_json(&text).unwrap()), text);
    }

    #[test]
    fn what_is_no_item_is_refused_by_attribute() {
        let refusal = |v: Value| item_from_json(&v).unwrap_err();
        assert!(refusal(json!({"width": {"N": 7}})).starts_with("width: 7 is no value of type N"));
        assert!(refusal(json!({"width": 7})).contains("expected {\"<type>\": value}"));
        assert!(refusal(json!([])).contains("expected an object"));
    }

    #[test]
    fn plain_json_survives_as_far_as_numbers_are_whole_or_not() {
        let plain = json!({"lr": 6e-5, "epochs": 3, "none": null, "list": ["a", true, 0.5]});
        assert_eq!(value_to_plain(&plain_to_value(&plain)), plain);
        assert_eq!(value_to_plain(&AttributeValue::N("1e2".into())), json!(100.0));
    }
}
