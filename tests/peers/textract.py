"""AnalyzeExpense's public response parser reads the server's answers.

usage: textract.py HOST:PORT
"""

import sys

import requests
from trp.trp2_expense import TAnalyzeExpenseDocumentSchema

words = []
rows = [["CORNER", "BAKERY"], ["12", "Mill", "Lane"], ["03/14/2024", "18:42"], ["Sourdough", "6.50"], ["TOTAL", "$6.50"]]
for line, row in enumerate(rows):
    for i, text in enumerate(row):
        box = [20 + 120 * i, 20 + 30 * line, 120 + 120 * i, 40 + 30 * line]
        words.append({"line_id": line, "word_id": i, "text": text, "box": box})
receipt = {"image_id": "r", "width": 400, "height": 200, "words": words}
url = f"http://{sys.argv[1]}/v1/classify"
native = requests.post(url, json=receipt, params={"line_items": "true"}, timeout=30).json()
answer = requests.post(url, json=[receipt, receipt], params={"format": "textract"}, timeout=30)
assert answer.ok, answer.text
document = TAnalyzeExpenseDocumentSchema().load(answer.json())
assert document.document_metadata.pages == 2
assert [expense.expense_idx for expense in document.expenses_documents] == [1, 2]
expense = document.get_expensedocument_by_id(1)
ours = {"MERCHANT_NAME": "VENDOR_NAME", "DATE": "INVOICE_RECEIPT_DATE", "PHONE_NUMBER": "VENDOR_PHONE"}
expected = sorted((ours[e["type"]], e["text"]) for e in native["entities"] if e["type"] in ours)
found = [(field.ftype.text, field.valuedetection.text) for field in expense.summaryfields]
assert sorted(f for f in found if f[0] in ours.values()) == expected, (found, expected)
items = [item for group in expense.lineitemgroups for item in group.lineitems]
assert len(items) == len(native["line_items"]), (items, native["line_items"])
for item, own in zip(items, native["line_items"]):
    fields = {field.ftype.text: field.valuedetection.text for field in item.lineitem_expensefields}
    assert "EXPENSE_ROW" in fields, fields
    assert fields.get("ITEM") == (own["product"] or {}).get("text"), (fields, own)
    assert fields.get("PRICE") == (own["total"] or {}).get("text"), (fields, own)
for field in expense.summaryfields:
    assert 0 <= field.valuedetection.geometry.bounding_box.left <= 1
lines = [block.text for block in expense.blocks if block.block_type == "LINE"]
assert lines == [" ".join(row) for row in rows], lines
print(f"trp2_expense: {len(found)} summary fields, {len(items)} line items, {len(expense.blocks)} blocks")
