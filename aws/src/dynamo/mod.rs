//! The receipt table: its items, their keys and number formats, and the requests that read and write them.

mod fields;
mod json;
mod keys;
mod label;
mod number;
mod receipt;
mod table;
mod word;
mod write;

pub use fields::{Fields, Item, ItemError};
pub(crate) use json::plain_map;
pub use json::{from_json, item_from_json, item_to_json, plain_to_value, to_json, value_to_plain};
pub use keys::{ItemKey, ReceiptKey, WordKey};
pub(crate) use label::status_name;
pub use label::{Label, LabelStatus};
pub(crate) use number::python_float;
pub use number::{float, integer};
pub use receipt::{Place, ReceiptHead};
pub use table::{Query, Table};
pub use word::TableWord;
pub use write::{PutCondition, Written};
