//! A server as a child process, with all that it starts below itself.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A killed process is gone from the table after this at the latest.
const GONE_WITHIN: Duration = Duration::from_secs(20);
/// A server answers after this at the latest. RabbitMQ looks for its modules by thousands of calls that one thread hands to
/// another: 2 s of processor time took it a minute and more where twenty others wanted the processor too.
const READY_WITHIN: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(20);

/// What a server is told by its parent.
#[derive(Clone, Copy)]
pub(super) enum Signal {
    Kill,
    Stop,
    Continue,
}

impl Signal {
    fn flag(self) -> &'static str {
        match self {
            Self::Kill => "-KILL",
            Self::Stop => "-STOP",
            Self::Continue => "-CONT",
        }
    }
}

/// A running server; dropping it kills it and everything below it.
pub(super) struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Program {
    pub fn start(name: &'static str, command: &mut Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log).expect("the log opens");
        let both = file.try_clone().expect("the log opens twice");
        let child = command.stdin(Stdio::null()).stdout(both).stderr(file).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name, child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server says that it can be used.
    pub fn wait_until(&mut self, ready: impl Fn() -> bool) {
        let deadline = Instant::now() + READY_WITHIN;
        while !ready() {
            let ended = self.child.try_wait().expect("the child can be asked");
            assert!(ended.is_none() && Instant::now() < deadline, "{} is not ready: {}", self.name, self.last_words());
            std::thread::sleep(POLL);
        }
    }

    /// Sends a signal to the server and to all that it started, parents first: a stopped parent starts nothing more.
    pub fn signal(&self, signal: Signal) -> Vec<u32> {
        let family = family(self.id());
        let pids = family.iter().map(u32::to_string);
        // One of them may have ended since it was listed, which makes `kill` complain.
        let _ = Command::new("kill").arg(signal.flag()).args(pids).stderr(Stdio::null()).status();
        family
    }

    /// kill -9, without a last word; returns when nothing of it is left.
    pub fn kill(&mut self) {
        self.signal(Signal::Stop);
        let family = self.signal(Signal::Kill);
        let _ = self.child.wait();
        let deadline = Instant::now() + GONE_WITHIN;
        while family.iter().any(|pid| processes().contains_key(pid)) {
            assert!(Instant::now() < deadline, "{} survives kill -9", self.name);
            std::thread::sleep(POLL);
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the child can be asked").is_some()
    }

    /// All that it wrote, with what those before it wrote.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let text = self.said();
        let start = text.len().saturating_sub(2000);
        text.get(start..).unwrap_or(&text).to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Living processes and their parents; what only waits to be collected does not count.
fn processes() -> BTreeMap<u32, u32> {
    let listing = Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat="]).output().expect("ps runs");
    let text = String::from_utf8_lossy(&listing.stdout).into_owned();
    text.lines().filter_map(living).collect()
}

fn living(line: &str) -> Option<(u32, u32)> {
    let mut words = line.split_whitespace();
    let (pid, parent, state) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
    (!state.starts_with('Z')).then_some((pid, parent))
}

/// The process and all below it, parents first.
fn family(head: u32) -> Vec<u32> {
    let processes = processes();
    let mut family = vec![head];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(processes.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

/// A port that nobody listens on, below the range from which the kernel takes the ports of outgoing connections: while
/// the server is down, nobody else may come to sit on its address.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let candidate = std::process::id().wrapping_mul(31).wrapping_add(step) % 10_000 + 10_000;
        let port = u16::try_from(candidate).expect("below 20000");
        if TcpListener::bind(loopback(port)).is_ok() {
            return port;
        }
    }
}

pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The first of these that is a file, or the program of that name on the PATH.
pub(super) fn find_program(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>();
    folders.iter().chain(&on_path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
