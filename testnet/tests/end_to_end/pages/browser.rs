//! Debian's Chromium, without a window, driven over a pipe by the DevTools protocol: JSON, each message ended by a
//! zero byte. There is no port and so no other program that could drive it.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::PATIENCE;

const MISSING: &str = "chromium is missing: ./scripts/test installs it, or: apt-get install chromium";
/// It reads what it is told from descriptor 3, and answers to 4.
const START: &str = r#"exec chromium "$@" 3<&0 4>&1 </dev/null >/dev/null"#;
/// It runs as root where tests do, has little shared memory in containers, and is not to ask its maker anything.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-lcd-text",
    "--remote-debugging-pipe",
];

/// A browser with one page; it ends with this.
pub(super) struct Browser {
    process: Child,
    input: ChildStdin,
    output: Receiver<Value>,
    /// How many messages it was sent.
    sent: u64,
    /// The page, once it is there.
    session: Option<String>,
    /// What the page has asked for: addresses.
    asked: Vec<String>,
    /// What went wrong in it, or was kept from happening.
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    pub(super) fn start() -> Self {
        let found = Command::new("chromium").arg("--version").output().expect(MISSING);
        assert!(found.status.success(), "{MISSING}");
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", START, "sh"]).args(FLAGS);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let (input, said) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (tell, output) = channel();
        thread::spawn(move || {
            let messages = BufReader::new(said).split(0).map_while(Result::ok);
            messages.map(|text| serde_json::from_slice(&text).unwrap()).try_for_each(|one| tell.send(one))
        });
        let mut browser = Self {
            process,
            input,
            output,
            sent: 0,
            session: None,
            asked: Vec::new(),
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Network", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Has it do something; what came of it.
    pub(super) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.input.write_all(&bytes).unwrap_or_else(|gone| panic!("chromium has ended: {gone}"));
        loop {
            let Ok(message) = self.output.recv_timeout(PATIENCE) else {
                panic!("chromium does not answer to {method}")
            };
            if message["id"] == self.sent {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.hear(&message);
        }
    }

    fn hear(&mut self, message: &Value) {
        let told = &message["params"];
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                self.asked.push(told["request"]["url"].as_str().unwrap().to_owned());
            }
            Some("Runtime.exceptionThrown") => self.complaints.push(told.to_string()),
            // An answer of another code than 200 is no fault of the page.
            Some("Log.entryAdded")
                if told["entry"]["level"] == "error" && told["entry"]["source"] != "network" =>
            {
                self.complaints.push(told["entry"].to_string());
            }
            _ => {}
        }
    }

    /// What the page has asked for since this was asked last; nothing may have gone wrong in it.
    pub(super) fn asked(&mut self) -> Vec<String> {
        assert!(self.complaints.is_empty(), "{:#?}", self.complaints);
        std::mem::take(&mut self.asked)
    }

    pub(super) fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({ "url": url }));
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
    }

    /// What an expression comes to in the page, waited for where that takes time.
    pub(super) fn js(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let ran = self.call("Runtime.evaluate", asked);
        assert!(ran.get("exceptionDetails").is_none(), "{expression}: {ran}");
        ran["result"]["value"].clone()
    }

    /// Shows the page in a window of this size, to somebody who wants it light or dark.
    pub(super) fn view(&mut self, width: u32, height: u32, theme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let wish = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.call("Emulation.setEmulatedMedia", wish);
    }

    /// Clicks in the middle of an element, with a mouse.
    pub(super) fn click(&mut self, selector: &str) {
        let place = self.js(&format!(
            "(() => {{ const one = document.querySelector({}); one.scrollIntoView({{ block: \"center\" }}); \
             const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(selector)
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Goes to an element and presses Enter, as somebody without a mouse does.
    pub(super) fn enter(&mut self, selector: &str) {
        self.js(&format!("document.querySelector({}).focus()", json!(selector)));
        for (kind, text) in [("keyDown", "\r"), ("keyUp", "")] {
            let key = json!({ "type": kind, "text": text, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13 });
            self.call("Input.dispatchKeyEvent", key);
        }
    }

    /// Writes down what it shows, as a PNG file.
    pub(super) fn picture(&mut self, file: &Path) {
        let taken = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = data_encoding::BASE64.decode(taken["data"].as_str().unwrap().as_bytes()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
