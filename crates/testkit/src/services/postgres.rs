//! A PostgreSQL server of the test's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use uuid::Uuid;

use super::program::{Program, Signal, find_program, free_port, loopback};
use super::skip;
use super::small_disk::SmallDisk;

const DEBIAN: &str = "/usr/lib/postgresql";
const DATA: &str = "data";
const DISK: &str = "disk";

/// A PostgreSQL server with data and a port of its own, durable as a real one is (`fsync` on).
pub struct OwnPostgres {
    programs: PathBuf,
    port: u16,
    password: String,
    /// `None` between a kill and the next start. Goes first, then its disk, then the folder of both.
    running: Option<Program>,
    disk: Option<SmallDisk>,
    folder: TempDir,
}

impl OwnPostgres {
    /// A fresh server that answers; `None`, with a word why, on a machine without PostgreSQL.
    pub async fn start() -> Option<Self> {
        tokio::task::spawn_blocking(|| Self::start_blocking(None)).await.expect("PostgreSQL starts")
    }

    /// The same on a disk of so many MiB that [`OwnPostgres::fill_disk`] fills; `None` also where nothing may be mounted.
    pub async fn start_on_a_small_disk(mebibytes: u32) -> Option<Self> {
        tokio::task::spawn_blocking(move || Self::start_blocking(Some(mebibytes))).await.expect("PostgreSQL starts")
    }

    fn start_blocking(disk: Option<u32>) -> Option<Self> {
        let Some(programs) = programs() else {
            skip(&"PostgreSQL (`postgres`, `initdb`) is not on this machine");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("lockstep-postgres.").tempdir().expect("a temporary folder");
        let disk = match disk {
            Some(mebibytes) => Some(SmallDisk::mounted_on(&folder.path().join(DISK), mebibytes)?),
            None => None,
        };
        let password = Uuid::new_v4().simple().to_string();
        let mut server = Self { programs, port: free_port(), password, running: None, disk, folder };
        server.make_data();
        server.running = Some(run(server.server(), &server.data(), server.folder.path()));
        Some(server)
    }

    /// Where to connect, as a superuser who may make databases and roles.
    pub fn url(&self) -> String {
        self.url_at(self.addr())
    }

    /// The same through another address, as that of a proxy.
    pub fn url_at(&self, addr: SocketAddr) -> String {
        format!("postgres://lockstep:{}@{addr}/postgres", self.password)
    }

    /// Where it listens, before and after each restart.
    pub fn addr(&self) -> SocketAddr {
        loopback(self.port)
    }

    /// kill -9 of the server and all its backends, as when the machine loses power.
    pub async fn kill(&mut self) {
        let running = self.running.take();
        tokio::task::spawn_blocking(move || drop(running)).await.expect("PostgreSQL is killed");
    }

    /// Starts it again after [`OwnPostgres::kill`], on the same data and port; returns when it takes queries again.
    pub async fn start_again(&mut self) {
        let (command, data, folder) = (self.server(), self.data(), self.folder.path().to_path_buf());
        let starting = tokio::task::spawn_blocking(move || run(command, &data, &folder));
        self.running = Some(starting.await.expect("PostgreSQL starts again"));
    }

    /// Nothing more fits onto its disk (FA-10).
    pub fn fill_disk(&self) {
        self.disk.as_ref().expect("a small disk").fill(0);
    }

    /// Its disk has room again. PostgreSQL ends by itself when it cannot write its log; then somebody starts it.
    pub async fn clear_disk(&mut self) {
        self.disk.as_ref().expect("a small disk").clear();
        if self.running.as_mut().is_none_or(Program::has_ended) {
            self.kill().await;
            self.start_again().await;
        }
    }

    /// What it wrote into its log.
    pub fn log(&self) -> String {
        self.running.as_ref().map(Program::said).unwrap_or_default()
    }

    /// SIGSTOP to all of it: connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.signal(Signal::Stop);
    }

    /// SIGCONT: it goes on where it stood.
    pub fn thaw(&self) {
        self.signal(Signal::Continue);
    }

    fn signal(&self, signal: Signal) {
        self.running.as_ref().expect("PostgreSQL runs").signal(signal);
    }

    fn data(&self) -> PathBuf {
        let folder = self.folder.path();
        if self.disk.is_some() { folder.join(DISK).join(DATA) } else { folder.join(DATA) }
    }

    fn make_data(&self) {
        let (data, secret) = (self.data(), self.folder.path().join("password"));
        std::fs::create_dir(&data).expect("the data folder");
        std::fs::write(&secret, &self.password).expect("the password file");
        open_to_its_user(self.folder.path(), &data, &secret);
        let mut initdb = as_its_user(&self.programs.join("initdb"));
        initdb.current_dir(&data).arg("--pgdata").arg(&data).arg("--pwfile").arg(&secret);
        // A plain password on loopback: SCRAM costs every connection of an unoptimised test tens of milliseconds.
        initdb.args(["--username=lockstep", "--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let output = initdb.output().expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn server(&self) -> Command {
        let data = self.data();
        let mut command = as_its_user(&self.programs.join("postgres"));
        command.current_dir(&data).arg("-D").arg(&data).arg("-p").arg(self.port.to_string());
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"] {
            command.args(["-c", setting]);
        }
        command
    }
}

fn run(mut command: Command, data: &Path, folder: &Path) -> Program {
    let mut program = Program::start("postgres", &mut command, folder);
    let (status, pid) = (data.join("postmaster.pid"), program.id());
    program.wait_until(|| says_ready(&status, pid));
    program
}

/// What `pg_ctl` looks at: the server's own note, which may also be that of a killed one before it.
fn says_ready(status: &Path, pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(status) else { return false };
    let mut lines = text.lines();
    lines.next().is_some_and(|first| first.trim() == pid.to_string())
        && lines.nth(6).is_some_and(|word| word.trim() == "ready")
}

/// The newest that Debian's packages installed, or the one on the PATH.
fn programs() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    let folders: Vec<PathBuf> = versions.into_iter().rev().map(|(_, folder)| folder).collect();
    let postgres = find_program("postgres", &folders)?;
    let beside = postgres.parent()?.to_path_buf();
    beside.join("initdb").is_file().then_some(beside)
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// PostgreSQL refuses to run as root: there it runs as the system user that its package made.
fn as_its_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

fn open_to_its_user(folder: &Path, data: &Path, secret: &Path) {
    if !is_root() {
        return;
    }
    let opened = Command::new("chmod").arg("711").arg(folder).status();
    let given = Command::new("chown").arg("postgres").args([data, secret]).status();
    assert!(opened.is_ok_and(|status| status.success()) && given.is_ok_and(|status| status.success()));
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// One statement through PostgreSQL's own client; `None` when it was not answered within two seconds.
    async fn ask(server: &OwnPostgres, sql: &str) -> Option<String> {
        let mut psql = Command::new("timeout");
        psql.arg("2").arg(server.programs.join("psql")).args(["--no-psqlrc", "-qAtc", sql]).arg(server.url());
        let output = tokio::task::spawn_blocking(move || psql.output()).await.expect("psql ends").expect("psql runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    #[tokio::test]
    async fn a_killed_server_comes_back_with_what_it_had_committed() {
        let Some(mut server) = OwnPostgres::start().await else { return };
        ask(&server, "CREATE TABLE kept (number INT); INSERT INTO kept VALUES (7)").await.expect("written");
        server.kill().await;
        assert!(TcpStream::connect(server.addr()).is_err(), "a killed server refuses");
        server.start_again().await;
        assert_eq!(ask(&server, "SELECT number FROM kept").await.as_deref(), Some("7"));
    }

    #[tokio::test]
    async fn a_frozen_server_is_silent_until_it_is_thawed() {
        let Some(server) = OwnPostgres::start().await else { return };
        server.freeze();
        assert!(TcpStream::connect(server.addr()).is_ok(), "the port still answers");
        assert_eq!(ask(&server, "SELECT 1").await, None);
        server.thaw();
        assert_eq!(ask(&server, "SELECT 1").await.as_deref(), Some("1"));
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_server_when_its_test_ends() {
        let Some(server) = OwnPostgres::start().await else { return };
        let (addr, folder) = (server.addr(), server.folder.path().to_path_buf());
        drop(server);
        assert!(TcpStream::connect(addr).is_err());
        assert!(!folder.exists());
    }
}
