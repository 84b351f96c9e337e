//! A person's hand on a page: pointer, keys, files dropped, and waiting for what comes of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::Browser;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file that is dropped onto a page.
pub struct Dropped<'a> {
    /// File name.
    pub name: &'a str,
    /// Media type.
    pub kind: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

impl Browser {
    /// Waits until a script's value is true and gives it.
    pub fn wait_for(&self, what: &str, script: &str) -> Value {
        let begun = Instant::now();
        loop {
            let value = self.run(script);
            if !matches!(&value, Value::Null | Value::Bool(false)) {
                return value;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the page never had {what}: {}",
                self.property("#error", "textContent")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Moves the pointer onto the middle of an element, scrolled into view.
    pub fn hover(&self, selector: &str) {
        let [x, y] = self.middle(selector);
        self.pointer(json!([{"type": "pointerMove", "duration": 0, "x": x, "y": y}]));
    }

    /// Presses and releases the pointer on an element.
    pub fn click(&self, selector: &str) {
        let [x, y] = self.middle(selector);
        self.pointer(json!([
            {"type": "pointerMove", "duration": 0, "x": x, "y": y},
            {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        ]));
    }

    /// Presses and releases a key; WebDriver's code points stand for keys without a character.
    pub fn press(&self, key: char) {
        let key = key.to_string();
        let actions = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        self.post("/actions", &json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]}));
    }

    /// Drops files onto the page.
    pub fn drop_files(&self, files: &[Dropped<'_>]) {
        let script = "const transfer = new DataTransfer();
            for (const [name, kind, hex] of arguments[0]) {
              const bytes = new Uint8Array(hex.match(/../g).map((pair) => parseInt(pair, 16)));
              transfer.items.add(new File([bytes], name, { type: kind }));
            }
            for (const event of ['dragover', 'drop']) {
              document.body.dispatchEvent(new DragEvent(event, { bubbles: true, cancelable: true, dataTransfer: transfer }));
            }";
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let files: Vec<Value> = files.iter().map(|f| json!([f.name, f.kind, hex(f.bytes)])).collect();
        self.post("/execute/sync", &json!({"script": script, "args": [files]}));
    }

    fn pointer(&self, actions: Value) {
        let pointer = json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions});
        self.post("/actions", &json!({"actions": [pointer]}));
    }

    fn middle(&self, selector: &str) -> [i64; 2] {
        let found = self.run(&format!(
            "const element = document.querySelector({});
             element.scrollIntoView({{ block: 'center', behavior: 'instant' }});
             const box = element.getBoundingClientRect();
             return [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)];",
            json!(selector)
        ));
        [0, 1].map(|i| found[i].as_i64().unwrap_or_else(|| panic!("{selector} is not on the page")))
    }
}
