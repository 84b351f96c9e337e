//! The answer in the shape of Amazon Textract's AnalyzeExpense, for pipelines written against it.
//!
//! | ours | theirs |
//! |---|---|
//! | `MERCHANT_NAME`, `PHONE_NUMBER`, `WEBSITE`, `DATE` | `VENDOR_NAME`, `VENDOR_PHONE`, `VENDOR_URL`, `INVOICE_RECEIPT_DATE` |
//! | all of `ADDRESS_LINE`, `ADDRESS` | one `VENDOR_ADDRESS`, lines parted by line feeds |
//! | amounts below the items | `SUBTOTAL`, `DISCOUNT`, `TAX`, `GRATUITY`, `TOTAL` |
//! | line items | `ITEM`, `QUANTITY`, `UNIT_PRICE`, `PRICE`, `EXPENSE_ROW` |
//! | everything else | `OTHER`, its entity type as `LabelDetection` |

mod document;
mod layout;

use std::collections::BTreeSet;

use layoutlm_core::entity::Entity;
use layoutlm_core::line_items::{self, LineItem, Sale, SummaryKind};
use layoutlm_core::predict::ReceiptPrediction;
use layoutlm_core::receipt::Receipt;
use layoutlm_core::value::currency;

pub(super) use document::AnalyzeExpense;
use document::{
    Currency, Detection, DocumentMetadata, ExpenseDocument, ExpenseField, FieldType, LineItemFields,
    LineItemGroup,
};
use layout::Layout;

/// Puts labelled receipts into AnalyzeExpense's shape; summary fields below `least` confidence (0..=1) are left out.
pub(super) fn analyze_expense<'a>(
    labelled: impl Iterator<Item = (&'a Receipt, &'a ReceiptPrediction)>,
    least: f64,
) -> AnalyzeExpense {
    let documents: Vec<ExpenseDocument> = labelled
        .enumerate()
        .map(|(index, (receipt, prediction))| document(receipt, prediction, index + 1, least))
        .collect();
    AnalyzeExpense {
        document_metadata: DocumentMetadata { pages: documents.len() },
        expense_documents: documents,
    }
}

fn document(receipt: &Receipt, prediction: &ReceiptPrediction, index: usize, least: f64) -> ExpenseDocument {
    let layout = Layout::new(receipt, index);
    let sale = line_items::group(receipt, prediction);
    let confident = |field: &ExpenseField| f64::from(field.r#type.confidence) >= 100.0 * least;
    let line_items: Vec<_> = sale.items.iter().map(|item| item_fields(&layout, item)).collect();
    let group = LineItemGroup { line_item_group_index: 1, line_items };
    ExpenseDocument {
        expense_index: index,
        summary_fields: summary(&layout, prediction, &sale).into_iter().filter(confident).collect(),
        line_item_groups: if group.line_items.is_empty() { Vec::new() } else { vec![group] },
        blocks: layout.blocks(),
    }
}

/// Everything that is no line item, in reading order; the address stands where its first line does.
fn summary(layout: &Layout<'_>, prediction: &ReceiptPrediction, sale: &Sale) -> Vec<ExpenseField> {
    let in_items: BTreeSet<usize> = sale
        .items
        .iter()
        .flat_map(LineItem::parts)
        .flat_map(|part| part.word_indices.iter().copied())
        .collect();
    let mut fields = Vec::new();
    let mut address = address(layout, prediction);
    for entity in &prediction.entities {
        if entity.word_indices.iter().all(|word| in_items.contains(word)) {
            continue;
        }
        let inside = |part: &Entity| part.word_indices.iter().all(|word| entity.word_indices.contains(word));
        let amounts: Vec<_> = sale.summary.iter().filter(|summary| inside(&summary.amount)).collect();
        if is_address(entity) {
            fields.extend(address.take());
        } else if amounts.is_empty() {
            let kind = vendor_type(&entity.kind);
            let mut field = field(layout, kind.unwrap_or("OTHER"), entity);
            if kind.is_none() {
                let detection = detection(layout, entity);
                field.label_detection = Some(Detection { text: entity.kind.clone(), ..detection });
            }
            fields.push(field);
        } else {
            fields.extend(amounts.iter().map(|s| field(layout, amount_type(s.kind), &s.amount)));
        }
    }
    fields
}

fn vendor_type(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "MERCHANT_NAME" => "VENDOR_NAME",
        "PHONE_NUMBER" => "VENDOR_PHONE",
        "WEBSITE" => "VENDOR_URL",
        "DATE" => "INVOICE_RECEIPT_DATE",
        _ => return None,
    })
}

fn amount_type(kind: SummaryKind) -> &'static str {
    match kind {
        SummaryKind::Subtotal => "SUBTOTAL",
        SummaryKind::Discount => "DISCOUNT",
        SummaryKind::Tax => "TAX",
        SummaryKind::Tip => "GRATUITY",
        SummaryKind::Total => "TOTAL",
        SummaryKind::Rounding => "OTHER",
    }
}

fn is_address(entity: &Entity) -> bool {
    matches!(entity.kind.as_str(), "ADDRESS_LINE" | "ADDRESS")
}

/// All address entities as one field.
fn address(layout: &Layout<'_>, prediction: &ReceiptPrediction) -> Option<ExpenseField> {
    let lines = prediction.entities.iter().filter(|entity| is_address(entity)).cloned();
    let whole = lines.reduce(|mut whole, line| {
        whole.text = format!("{}\n{}", whole.text, line.text);
        whole.confidence = whole.confidence.min(line.confidence);
        whole.word_indices.extend(line.word_indices);
        whole
    })?;
    Some(field(layout, "VENDOR_ADDRESS", &whole))
}

fn item_fields(layout: &Layout<'_>, item: &LineItem) -> LineItemFields {
    let parts = [
        ("ITEM", &item.product),
        ("QUANTITY", &item.quantity),
        ("UNIT_PRICE", &item.unit_price),
        ("PRICE", &item.total),
    ];
    let mut fields: Vec<ExpenseField> = parts
        .into_iter()
        .filter_map(|(kind, part)| {
            // AnalyzeExpense names currencies in summary fields only.
            part.as_ref().map(|part| ExpenseField { currency: None, ..field(layout, kind, part) })
        })
        .collect();
    let words: Vec<usize> = item.parts().flat_map(|part| part.word_indices.iter().copied()).collect();
    let row = layout.rows_of(&words);
    let confidence = percent(item.confidence);
    fields.push(ExpenseField {
        r#type: FieldType { text: "EXPENSE_ROW".into(), confidence },
        label_detection: None,
        value_detection: Detection { text: layout.text(&row), geometry: layout.geometry(&row), confidence },
        page_number: layout.page(),
        currency: None,
    });
    LineItemFields { line_item_expense_fields: fields }
}

fn field(layout: &Layout<'_>, kind: &str, entity: &Entity) -> ExpenseField {
    let is_amount =
        entity.value.is_some() && !matches!(entity.kind.as_str(), "DATE" | "TIME" | "PHONE_NUMBER");
    let code = currency(&entity.text).filter(|_| is_amount);
    let confidence = percent(entity.confidence);
    ExpenseField {
        r#type: FieldType { text: kind.into(), confidence },
        label_detection: None,
        value_detection: detection(layout, entity),
        page_number: layout.page(),
        currency: code.map(|code| Currency { code: code.into(), confidence }),
    }
}

fn detection(layout: &Layout<'_>, entity: &Entity) -> Detection {
    let geometry = layout.geometry(&entity.word_indices);
    Detection { text: entity.text.clone(), geometry, confidence: percent(entity.confidence) }
}

/// 0..=1 as 0..=100.
fn percent(confidence: f32) -> f32 {
    (100.0 * confidence).clamp(0.0, 100.0)
}
