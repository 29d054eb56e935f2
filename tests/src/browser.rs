//! A browser: Chromium, driven over the WebDriver protocol.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::sleep,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// The name by which WebDriver returns an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser at a time: each of them takes hundreds of megabytes.
static TURN: Mutex<()> = Mutex::const_new(());

/// Tab, as WebDriver writes it.
pub const TAB: &str = "\u{e004}";
/// Enter, as WebDriver writes it.
pub const ENTER: &str = "\u{e007}";
/// Escape, as WebDriver writes it.
pub const ESCAPE: &str = "\u{e00c}";

/// A Chromium with a profile of its own, which ends when it is dropped.
pub struct Browser {
    driver: Child,
    client: reqwest::Client,
    /// The address of the session.
    session: String,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts a browser that prefers a language, with a window of this size. Returns `None` on a machine without Chromium
    /// and its driver.
    ///
    /// # Panics
    /// The browser does not start, or it is missing in CI.
    pub async fn start(language: &str, (width, height): (u32, u32)) -> Option<Self> {
        let (chromium, chromedriver) = programs()?;
        let turn = TURN.lock().await;
        let folder = TempDir::new().expect("a folder for the profile");
        let (driver, port) = start_driver(&chromedriver, folder.path());
        let mut browser = Self {
            driver,
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()
                .expect("a client"),
            session: format!("http://127.0.0.1:{port}/session"),
            folder,
            _turn: turn,
        };
        let options = json!({
            "binary": chromium,
            "args": [
                "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run",
                format!("--lang={language}"),
                format!("--window-size={width},{height}"),
                format!("--user-data-dir={}", browser.folder.path().join("profile").display()),
            ],
            "prefs": {
                "intl.accept_languages": language,
                "download.default_directory": browser.folder.path(),
            },
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = browser.send("", Some(wanted)).await;
        let id = answer["sessionId"].as_str().expect("a session has an id").to_owned();
        browser.session = format!("{}/{id}", browser.session);
        browser.show_light((width, height)).await;
        Some(browser)
    }

    /// Shows pages in a window of this size, in light.
    pub async fn show_light(&self, size: (u32, u32)) {
        self.show(size, "light").await;
    }

    /// Shows pages in a window of this size, in the dark.
    pub async fn show_dark(&self, size: (u32, u32)) {
        self.show(size, "dark").await;
    }

    async fn show(&self, (width, height): (u32, u32), scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        for (command, parameters) in [
            ("Emulation.setDeviceMetricsOverride", size),
            ("Emulation.setEmulatedMedia", scheme),
        ] {
            let body = json!({"cmd": command, "params": parameters});
            self.send("/goog/cdp/execute", Some(body)).await;
        }
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.send("/url", Some(json!({ "url": url }))).await;
    }

    /// Runs a script in the page and returns what it returns.
    pub async fn run(&self, script: &str, arguments: Value) -> Value {
        let body = json!({"script": script, "args": arguments});
        self.send("/execute/sync", Some(body)).await
    }

    /// Waits until a script returns something true, and returns that.
    ///
    /// # Panics
    /// It never does.
    pub async fn wait(&self, script: &str, arguments: Value) -> Value {
        let begun = Instant::now();
        loop {
            let found = self.run(script, arguments.clone()).await;
            if ![Value::Null, json!(false), json!("")].contains(&found) {
                return found;
            }
            if begun.elapsed() > PATIENCE {
                let page = self.run("return document.body.innerText", json!([])).await;
                panic!(
                    "{script} {arguments} is never true in:\n{}",
                    page.as_str().unwrap_or_default()
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the page shows a text.
    pub async fn sees(&self, text: &str) {
        let script = "return !document.querySelector('[aria-busy]') && document.body.innerText.includes(arguments[0])";
        self.wait(script, json!([text])).await;
    }

    /// Clicks on the button or link with this name, in the dialog that is open if there is one.
    pub async fn click(&self, name: &str) {
        self.click_in("", name).await;
    }

    /// Clicks on the button or link with this name in the row of a table that contains `row`.
    pub async fn click_in(&self, row: &str, name: &str) {
        let script = "
            const [row, name] = arguments;
            if (document.querySelector('[aria-busy]')) return null;
            const dialog = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document;
            const scope = row && [...dialog.querySelectorAll('tbody tr')].find((tr) => tr.textContent.includes(row));
            if (row && !scope) return null;
            const names = (e) => [e.textContent.trim(), e.getAttribute('aria-label')];
            return [...(scope || dialog).querySelectorAll('button, a, input[type=checkbox]')]
                .find((e) => e.getClientRects().length && !e.disabled && names(e).includes(name));";
        loop {
            let element = self.wait(script, json!([row, name])).await;
            let id = element[ELEMENT].as_str().expect("an element has an id");
            let clicked = self.try_send(&format!("/element/{id}/click"), Some(json!({}))).await;
            match clicked {
                // The page has drawn itself again meanwhile, and nothing was clicked.
                Err(answer) if answer["error"] == "stale element reference" => {}
                clicked => return drop(clicked.unwrap_or_else(|answer| panic!("{name}: {answer}"))),
            }
        }
    }

    /// Sets the field with this label.
    pub async fn fill(&self, label: &str, value: &str) {
        let script = "
            const [text, value] = arguments;
            if (document.querySelector('[aria-busy]')) return null;
            const scope = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document;
            const label = [...scope.querySelectorAll('label')].find((e) => e.firstChild.textContent === text);
            const field = label?.control;
            if (!field) return null;
            field.value = value;
            field.dispatchEvent(new Event('input', { bubbles: true }));
            field.dispatchEvent(new Event('change', { bubbles: true }));
            return true;";
        self.wait(script, json!([label, value])).await;
    }

    /// Chooses a file in the field with this label.
    ///
    /// # Panics
    /// The file cannot be written.
    pub async fn choose(&self, label: &str, name: &str, content: &str) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("a file to choose");
        let script = "
            const label = [...document.querySelectorAll('dialog[open] label')]
                .find((e) => e.firstChild.textContent === arguments[0]);
            return label?.control;";
        let element = self.wait(script, json!([label])).await;
        let id = element[ELEMENT].as_str().expect("an element has an id");
        let keys = json!({ "text": path.display().to_string() });
        self.send(&format!("/element/{id}/value"), Some(keys)).await;
    }

    /// Presses keys, as a person does who has no mouse.
    pub async fn press(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()})))
            .collect();
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.send("/actions", Some(body)).await;
    }

    /// The name of what has the focus.
    ///
    /// # Panics
    /// No one could see where the focus is.
    pub async fn focused(&self) -> String {
        let script = "
            const e = document.activeElement;
            const name = e.getAttribute('aria-label') ?? e.labels?.[0]?.firstChild.textContent ?? e.textContent.trim();
            const isVisible = e === document.body || e.matches('h1, main') || getComputedStyle(e).outlineStyle !== 'none';
            return [name, isVisible];";
        let found = self.run(script, json!([])).await;
        assert!(found[1] == true, "the focus on {} cannot be seen", found[0]);
        found[0].as_str().unwrap_or_default().to_owned()
    }

    /// Presses Tab until the focus is on what has this name.
    ///
    /// # Panics
    /// It never is.
    pub async fn tab_to(&self, name: &str) {
        let mut passed = Vec::new();
        for _ in 0..100 {
            self.press(TAB).await;
            let focused = self.focused().await;
            if focused == name {
                return;
            }
            passed.push(focused);
        }
        panic!("the focus never comes to {name}, but to {passed:?}");
    }

    /// What the browser has complained of since the last time: errors of scripts, and violations of the page's policy.
    /// Responses that are errors are left out: the page shows them.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.send("/se/log", Some(json!({"type": "browser"}))).await;
        let entries = log.as_array().expect("a list of entries");
        let complaints = entries
            .iter()
            .filter(|entry| entry["source"] != "network" && entry["level"] != "DEBUG");
        complaints.map(|entry| entry["message"].to_string()).collect()
    }

    /// The text of a file that was downloaded.
    ///
    /// # Panics
    /// There never is one of this name.
    pub async fn downloaded(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        let begun = Instant::now();
        while !path.exists() {
            assert!(begun.elapsed() < PATIENCE, "{name} is not downloaded");
            sleep(Duration::from_millis(20)).await;
        }
        std::fs::read_to_string(path).expect("a text")
    }

    /// Writes a picture of the window.
    ///
    /// # Panics
    /// The file cannot be written.
    pub async fn picture(&self, path: &Path) {
        let picture = self.send("/screenshot", None).await;
        let picture = BASE64_STANDARD
            .decode(picture.as_str().expect("base64"))
            .expect("base64");
        std::fs::write(path, picture).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Sends a command of the protocol: a POST with a body, a GET without one.
    async fn send(&self, command: &str, body: Option<Value>) -> Value {
        let answer = self.try_send(command, body).await;
        answer.unwrap_or_else(|answer| panic!("{command}: {answer}"))
    }

    /// Sends a command that the driver may refuse. Its error is an object with `error` and `message`.
    async fn try_send(&self, command: &str, body: Option<Value>) -> Result<Value, Value> {
        let url = format!("{}{command}", self.session);
        let request = match &body {
            Some(body) => self.client.post(&url).body(body.to_string()),
            None => self.client.get(&url),
        };
        let answer = request.header("content-type", "application/json").send().await;
        let answer = answer.unwrap_or_else(|error| panic!("{command}: {error:?}"));
        let status = answer.status();
        let text = answer.text().await.expect("a text");
        let mut answer: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{command}: {error}: {text}"));
        let value = answer["value"].take();
        if status.is_success() { Ok(value) } else { Err(value) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver leads the group of all processes of the browser.
        let group = format!("-{}", self.driver.id());
        Command::new("kill").args(["-KILL", "--", &group]).status().ok();
        self.driver.wait().ok();
    }
}

/// Starts the driver, and returns it with its port. A browser that is killed leaves its temporary files in the folder.
fn start_driver(program: &Path, folder: &Path) -> (Child, u16) {
    let mut driver = Command::new(program)
        .arg("--port=0")
        .env("TMPDIR", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let output = BufReader::new(driver.stdout.take().expect("it is piped"));
    let mut lines = output.lines().map_while(Result::ok);
    let port = lines.find_map(|line| {
        let (_, port) = line.split_once("successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    // The pipe stays open, and is read to its end.
    std::thread::spawn(move || lines.for_each(drop));
    (driver, port.expect("the driver names its port"))
}

/// The programs that `cargo xtask test` names, or this machine's.
fn programs() -> Option<(PathBuf, PathBuf)> {
    let find = |variable: &str, names: &[&str]| {
        let named = std::env::var_os(variable).map(PathBuf::from);
        let usual = names.iter().map(|name| Path::new("/usr/bin").join(name));
        named.into_iter().chain(usual).find(|program| program.is_file())
    };
    let chromium = find(
        "SUGANG_TEST_CHROMIUM",
        &["chromium", "chromium-browser", "google-chrome"],
    );
    let found = chromium.zip(find("SUGANG_TEST_CHROMEDRIVER", &["chromedriver"]));
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI needs Chromium and its driver");
        writeln!(
            std::io::stderr(),
            "there is no Chromium with its driver: nothing was tested"
        )
        .ok();
    }
    found
}
