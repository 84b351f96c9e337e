//! The structure of an AnalyzeExpense answer. Confidences are 0..=100, geometry is 0..=1 of the page from its top left.

use serde::Serialize;
use utoipa::ToSchema;

/// The whole answer: one document per receipt of the call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct AnalyzeExpense {
    pub(super) document_metadata: DocumentMetadata,
    pub(super) expense_documents: Vec<ExpenseDocument>,
}

/// How much was read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DocumentMetadata {
    /// One page per receipt.
    pub(super) pages: usize,
}

/// One receipt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ExpenseDocument {
    /// 1-based place in the call.
    pub(super) expense_index: usize,
    /// Everything that is no line item.
    pub(super) summary_fields: Vec<ExpenseField>,
    /// One group with all line items; none where there are none.
    pub(super) line_item_groups: Vec<LineItemGroup>,
    /// The page, its lines and its words.
    pub(super) blocks: Vec<Block>,
}

/// One field.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ExpenseField {
    pub(super) r#type: FieldType,
    /// For fields of type `OTHER`: the entity type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label_detection: Option<Detection>,
    pub(super) value_detection: Detection,
    /// 1-based place of the receipt in the call.
    pub(super) page_number: usize,
    /// Where one is printed beside an amount; summary fields only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) currency: Option<Currency>,
}

/// The kind of a field, e.g. `TOTAL`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FieldType {
    pub(super) text: String,
    pub(super) confidence: f32,
}

/// Text as printed, and where.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Detection {
    pub(super) text: String,
    pub(super) geometry: Geometry,
    pub(super) confidence: f32,
}

/// ISO 4217.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = ExpenseCurrency)]
pub(super) struct Currency {
    pub(super) code: String,
    pub(super) confidence: f32,
}

/// Line items that belong together.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LineItemGroup {
    pub(super) line_item_group_index: usize,
    pub(super) line_items: Vec<LineItemFields>,
}

/// One line item.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LineItemFields {
    /// `ITEM`, `QUANTITY`, `UNIT_PRICE`, `PRICE` as far as found, and the whole row as `EXPENSE_ROW`.
    pub(super) line_item_expense_fields: Vec<ExpenseField>,
}

/// Where something is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Geometry {
    pub(super) bounding_box: BoundingBox,
    pub(super) polygon: [Point; 4],
}

/// An upright box.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BoundingBox {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) left: f64,
    pub(super) top: f64,
}

/// A corner.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

impl From<[f64; 4]> for Geometry {
    /// From `[x0, y0, x1, y1]`, 0..=1.
    fn from([x0, y0, x1, y1]: [f64; 4]) -> Self {
        let corner = |x, y| Point { x, y };
        Self {
            bounding_box: BoundingBox { width: x1 - x0, height: y1 - y0, left: x0, top: y0 },
            polygon: [corner(x0, y0), corner(x1, y0), corner(x1, y1), corner(x0, y1)],
        }
    }
}

/// A page, a line or a word.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Block {
    pub(super) block_type: BlockType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text_type: Option<TextType>,
    pub(super) geometry: Geometry,
    /// Unique in the answer.
    pub(super) id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) relationships: Vec<Relationship>,
    /// 1-based place of the receipt in the call.
    pub(super) page: usize,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum BlockType {
    Page,
    Line,
    Word,
}

/// How a text was made.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum TextType {
    Printed,
}

/// What a block holds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Relationship {
    /// Always `CHILD`.
    pub(super) r#type: &'static str,
    /// Lines of a page, words of a line.
    pub(super) ids: Vec<String>,
}
