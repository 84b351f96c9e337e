//! A real Chromium for tests of pages, spoken to in W3C WebDriver over chromedriver.
//!
//! Where there is no chromedriver a test says so and passes, except with `CI` set: there it fails
//! (`scripts/install-browser.sh` installs what is needed).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use ureq::Agent;

/// What the page is looked at with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// 1280 × 900.
    Desktop,
    /// 390 × 844 at two pixels each, touch.
    Phone,
}

/// A browser window; closed when dropped.
pub struct Browser {
    driver: Child,
    session: String,
    agent: Agent,
}

impl Browser {
    /// Starts a browser; `None`, said on stderr, where there is none and `CI` is not set.
    pub fn start(screen: Screen, dark: bool) -> Option<Self> {
        let spawned = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn();
        let mut driver = match spawned {
            Ok(driver) => driver,
            Err(e) => {
                let ci = std::env::var_os("CI").is_some();
                assert!(!ci, "chromedriver: {e}; run scripts/install-browser.sh");
                eprintln!("skipped: chromedriver: {e} (scripts/install-browser.sh installs it)");
                return None;
            }
        };
        let port = port(&mut driver);
        let config = Agent::config_builder().http_status_as_error(false);
        let agent: Agent = config.timeout_global(Some(Duration::from_secs(120))).build().into();
        let mut browser = Self { driver, session: format!("http://127.0.0.1:{port}/session"), agent };
        let opened = browser.post("", &capabilities(screen));
        let id = opened["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {opened}"));
        browser.session = format!("{}/{id}", browser.session);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.post("/goog/cdp/execute", &json!({"cmd": "Emulation.setEmulatedMedia", "params": media}));
        Some(browser)
    }

    /// Goes to an address and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Goes to a file.
    pub fn open_file(&self, path: &Path) {
        self.open(&format!("file://{}", path.canonicalize().unwrap().display()));
    }

    /// Runs a script's body in the page and gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The value of an element's property found by a selector, e.g. `textContent`.
    pub fn property(&self, selector: &str, name: &str) -> Value {
        self.run(&format!("return document.querySelector({})?.{name};", json!(selector)))
    }

    /// Addresses that were asked for since this was last called.
    pub fn requests(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "performance"}));
        let url = |entry: &Value| -> Option<String> {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            (message["method"] == "Network.requestWillBeSent").then_some(())?;
            Some(message["params"]["request"]["url"].as_str()?.to_string())
        };
        log.as_array().into_iter().flatten().filter_map(url).collect()
    }

    /// Writes a picture of the whole page as PNG.
    pub fn screenshot(&self, path: &Path) {
        let wanted = json!({"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": true}});
        let answer = self.post("/goog/cdp/execute", &wanted);
        let data = answer["data"].as_str().unwrap_or_else(|| panic!("no picture: {answer}"));
        std::fs::write(path, base64::prelude::BASE64_STANDARD.decode(data).unwrap()).unwrap();
    }

    /// Sends one WebDriver command of this session and gives its value.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        let mut response = self.agent.post(format!("{}{path}", self.session)).send_json(body).unwrap();
        let text = response.body_mut().with_config().limit(256 << 20).read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert!(response.status().is_success(), "{path}: {}", answer["value"]["message"]);
        answer["value"].clone()
    }
}

fn capabilities(screen: Screen) -> Value {
    let mut options = json!({"args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
        "--hide-scrollbars", "--window-size=1280,900"]});
    if screen == Screen::Phone {
        let metrics = json!({"width": 390, "height": 844, "pixelRatio": 2.0, "mobile": true, "touch": true});
        options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
    }
    json!({"capabilities": {"alwaysMatch": {
        "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL"}
    }}})
}

/// chromedriver says on stdout which free port it took.
fn port(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
    // It first says that port 0 was asked for.
    let port = |line: String| {
        line.split("on port ").nth(1)?.trim().trim_end_matches('.').parse().ok().filter(|port| *port > 0)
    };
    let found = lines.by_ref().find_map(port).expect("chromedriver did not say its port");
    // Read on: a full pipe would stop it.
    std::thread::spawn(move || lines.for_each(drop));
    found
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
