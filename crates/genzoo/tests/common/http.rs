//! A page asked by hand, and a browser that is driven.

#![allow(dead_code)]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The status and the body of an answer from 127.0.0.1. `headers` are whole lines.
pub(crate) fn ask(
    port: u16,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let timeout = Some(Duration::from_secs(120));
    stream.set_read_timeout(timeout).unwrap();
    let mut lines = vec![format!("{method} {path} HTTP/1.1")];
    if !headers.iter().any(|line| line.starts_with("Host:")) {
        lines.push(format!("Host: 127.0.0.1:{port}"));
    }
    lines.extend(headers.iter().map(|line| (*line).to_owned()));
    lines.push(format!("Content-Length: {}", body.len()));
    lines.push("Connection: close".into());
    write!(stream, "{}\r\n\r\n{body}", lines.join("\r\n")).unwrap();
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    let code = status.split(' ').nth(1).unwrap().parse().unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(found) = line.strip_prefix("content-length:") {
            length = found.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (code, String::from_utf8(body).unwrap())
}

/// A headless browser, ended with this value.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// None where there is no browser; that is said aloud.
    pub(crate) fn start() -> Option<Browser> {
        let port = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(driver) = driver else {
            eprintln!("SKIPPED: there is no chromedriver to drive a browser with");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Browser {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "chromedriver does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        let profile = format!("--user-data-dir={}", browser._profile.path().display());
        let options = json!({
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--window-size=1100,1400", profile,
            ]},
        });
        let body = json!({ "capabilities": { "alwaysMatch": options } });
        let (code, answer) = ask(port, "POST", "/session", &[], &body.to_string());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        if code != 200 {
            eprintln!(
                "SKIPPED: the browser does not start: {}",
                answer["value"]["message"]
            );
            return None;
        }
        browser.session = answer["value"]["sessionId"].as_str().unwrap().into();
        Some(browser)
    }

    fn post(&self, what: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{what}", self.session);
        let (code, answer) = ask(self.port, "POST", &path, &[], &body.to_string());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(code, 200, "{what}: {}", answer["value"]["message"]);
        answer["value"].clone()
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// What the body of a function of the page returns.
    pub(crate) fn script(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression of the page is true.
    #[track_caller]
    pub(crate) fn until(&self, expression: &str) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.script(&format!("return Boolean({expression});")) != json!(true) {
            assert!(Instant::now() < deadline, "{expression} does not come true");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn element(&self, selector: &str) -> Value {
        let body = json!({ "using": "css selector", "value": selector });
        self.post("element", &body)
    }

    /// Clicks on what a selector of CSS finds.
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        let id = element
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .as_str()
            .unwrap();
        self.post(&format!("element/{id}/click"), &json!({}));
    }

    /// Drags the pointer over an element, between two places relative to its middle.
    pub(crate) fn drag(&self, selector: &str, from: [i32; 2], to: [i32; 2]) {
        let element = self.element(selector);
        let go = |[x, y]: [i32; 2]| json!({ "type": "pointerMove", "duration": 50, "origin": element, "x": x, "y": y });
        self.post("actions", &json!({ "actions": [{
            "type": "pointer", "id": "mouse",
            "actions": [
                go(from), { "type": "pointerDown", "button": 0 }, go(to), { "type": "pointerUp", "button": 0 },
            ],
        }]}));
    }

    /// What the console has said that is an error.
    pub(crate) fn errors(&self) -> Vec<String> {
        let list = self.post("se/log", &json!({ "type": "browser" }));
        let entries = list.as_array().unwrap().iter();
        entries
            .filter(|entry| entry["level"] == "SEVERE")
            .map(|entry| entry["message"].to_string())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let path = format!("/session/{}", self.session);
            ask(self.port, "DELETE", &path, &[], "");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
