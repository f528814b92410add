//! A testnet for a test, the program as a test runs it, and waiting.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use session_testnet::{Folder, Options, Testnet};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The program under test.
pub(crate) fn binary() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/session");
    let path = std::env::var_os("SESSION_BIN").map_or(built, PathBuf::from);
    path.canonicalize()
        .unwrap_or_else(|_| panic!("{} is missing: run cargo build --release -p session-cli", path.display()))
}

/// A folder of a test's own, with a home and a testnet that goes down with it.
pub(crate) struct Place {
    folder: Option<TempDir>,
    pub(crate) testnet: Testnet,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let testnet = Testnet::new(Folder::new(Some(&folder.path().join("net"))).unwrap(), binary());
        Self { folder: Some(folder), testnet }
    }

    /// A testnet of twelve nodes that are ready.
    pub(crate) async fn up() -> Self {
        let place = Self::new();
        let options = Options { nodes: Some(12), ..Options::default() };
        place.testnet.up(&options, &mut |_, _| {}).await.unwrap_or_else(|error| panic!("{error}"));
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// The program, with this place as its home, its testnet and nothing else around it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(std::env::var_os("SESSION_ANVIL").map(|path| ("SESSION_ANVIL", path)));
        command.env("SESSION_HOME", self.path().join("home"));
        command.env("SESSION_TESTNET_DIR", self.path().join("net"));
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ended(command.spawn().unwrap(), &format!("`session {}`", arguments.join(" ")))
    }

    /// Runs the program with `--json`; returns its data.
    pub(crate) fn data(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{arguments:?}: {} {}", ran.out, ran.err);
        ran.json()["data"].clone()
    }

    /// Runs the program with `--json`; returns its exit code and its error.
    pub(crate) fn error(&self, arguments: &[&str]) -> (i32, Value) {
        let ran = self.run(&[arguments, &["--json"]].concat());
        let error = ran.json()["error"].clone();
        for field in ["code", "message", "remedy"] {
            assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{arguments:?}: {}", ran.out);
        }
        (ran.code, error)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let keep = std::thread::panicking();
        let down: &[&str] = if keep { &["testnet", "down", "--keep"] } else { &["testnet", "down"] };
        let _ = self.command(down).output();
        if let Some(folder) = self.folder.take().filter(|_| keep) {
            eprintln!("logs and data are in {}", folder.keep().display());
        }
    }
}

/// What a run of the program came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The one line of standard output, as JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "one envelope: {:?} {:?}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Whether the system does what only its owner may ask for; says so where not. Where everything is to be tried
/// (`CI=true`) that is a failure.
pub(crate) fn allowed(program: &str, arguments: &[&str]) -> bool {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let why = match ran {
        Ok(ran) if ran.status.success() => return true,
        Ok(ran) => String::from_utf8_lossy(&ran.stderr).trim().to_owned(),
        Err(cause) => cause.to_string(),
    };
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{program}: {why}");
    eprintln!("skipped: {program}: {why}");
    false
}

/// Waits for a program to end, and kills it when it does not.
pub(crate) fn ended(child: Child, what: &str) -> Ran {
    ended_within(child, what, PATIENCE)
}

/// Waits so long for a program to end, and kills it when it does not.
pub(crate) fn ended_within(child: Child, what: &str, patience: Duration) -> Ran {
    let pid = rustix::process::Pid::from_child(&child);
    let (tell, output) = channel();
    thread::spawn(move || tell.send(child.wait_with_output()));
    let output = output.recv_timeout(patience).unwrap_or_else(|_| {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        panic!("{what} did not end within {} s", patience.as_secs())
    });
    Ran::new(output.unwrap())
}

/// The lines of a stream as they come; reading them has an end with [`Receiver::recv_timeout`].
pub(crate) fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, lines) = channel();
    thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
    });
    lines
}

/// Waits for what `look` waits for.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {} s for {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a node answers over HTTP; none while it does not.
pub(crate) async fn get(door: &str, path: &str) -> Option<Value> {
    let mut stream = tokio::net::TcpStream::connect(door).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {door}\r\n\r\n").as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
}
