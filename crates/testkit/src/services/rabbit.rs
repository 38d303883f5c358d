//! A RabbitMQ broker of the test's own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

use super::program::{Program, Signal, find_program, free_port, loopback};
use super::skip;
use super::small_disk::SmallDisk;

/// RabbitMQ's own scripts: Debian's wrappers on the PATH insist on the machine's user and folders.
const DEBIAN: &str = "/usr/lib/rabbitmq/bin";
const SERVER: &str = "rabbitmq-server";
const DATA: &str = "data";
/// What a client says first (AMQP 0-9-1 §4.2.2); a broker in order answers it with its first frame.
const GREETING: &[u8] = b"AMQP\x00\x00\x09\x01";
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// More than any disk has free: the alarm goes on. A little: it goes off.
const MORE_THAN_FREE: &str = "1000000000000000";
const LESS_THAN_FREE: &str = "1000000";
/// Bytes; on a disk of its own.
const FREE_AT_ALARM: u64 = 32 * 1024 * 1024;

/// A RabbitMQ broker with data, a port, a name and a port mapper of its own.
pub struct OwnRabbit {
    programs: PathBuf,
    ports: Ports,
    password: String,
    /// `None` between a kill and the next start.
    running: Option<Program>,
    /// Lives through the broker's restarts. Both go before the disk, and that before the folder.
    _port_mapper: Program,
    disk: Option<SmallDisk>,
    folder: TempDir,
}

/// What a broker has that others have not.
#[derive(Default)]
struct Extras {
    /// Certificate and key, PEM: it speaks TLS too.
    certificate: Option<(String, String)>,
    /// MiB of the disk of its own.
    disk: Option<u32>,
}

#[derive(Clone, Copy)]
struct Ports {
    amqp: u16,
    amqps: u16,
    nodes: u16,
    mapper: u16,
}

impl OwnRabbit {
    /// A fresh broker that answers; `None`, with a word why, on a machine without RabbitMQ.
    pub async fn start() -> Option<Self> {
        Self::start_with(Extras::default()).await
    }

    /// The same, which speaks TLS too and shows this certificate; both are PEM.
    pub async fn start_with_certificate(certificate: &str, key: &str) -> Option<Self> {
        let certificate = Some((certificate.to_owned(), key.to_owned()));
        Self::start_with(Extras { certificate, ..Extras::default() }).await
    }

    /// The same on a disk of so many MiB that [`OwnRabbit::fill_disk`] fills; `None` also where nothing may be mounted.
    pub async fn start_on_a_small_disk(mebibytes: u32) -> Option<Self> {
        Self::start_with(Extras { disk: Some(mebibytes), ..Extras::default() }).await
    }

    async fn start_with(extras: Extras) -> Option<Self> {
        tokio::task::spawn_blocking(|| Self::start_blocking(extras)).await.expect("RabbitMQ starts")
    }

    fn start_blocking(extras: Extras) -> Option<Self> {
        let (Some(server), Some(mapper)) =
            (find_program(SERVER, &[DEBIAN.into()]), find_program("epmd", &["/usr/lib/erlang/bin".into()]))
        else {
            skip(&"RabbitMQ (`rabbitmq-server`, `epmd`) is not on this machine");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("lockstep-rabbitmq.").tempdir().expect("a temporary folder");
        let disk = match extras.disk {
            Some(mebibytes) => Some(SmallDisk::mounted_on(&folder.path().join(DATA), mebibytes)?),
            None => None,
        };
        let ports = Ports { amqp: free_port(), amqps: free_port(), nodes: free_port(), mapper: free_port() };
        let password = Uuid::new_v4().simple().to_string();
        write_settings(folder.path(), ports, &password, extras);
        let mut broker = Self {
            programs: server.parent().expect("a program lies in a folder").to_path_buf(),
            _port_mapper: start_port_mapper(&mapper, ports, folder.path()),
            disk,
            folder,
            ports,
            password,
            running: None,
        };
        broker.running = Some(run(broker.command(SERVER), broker.folder.path(), broker.addr()));
        Some(broker)
    }

    /// Where to connect, as a user who may do everything.
    pub fn url(&self) -> String {
        self.url_at(self.addr())
    }

    /// The same through another address, as that of a proxy.
    pub fn url_at(&self, addr: SocketAddr) -> String {
        format!("amqp://lockstep:{}@{addr}/%2f", self.password)
    }

    /// Over TLS, by this name.
    pub fn encrypted_url(&self, host: &str) -> String {
        format!("amqps://lockstep:{}@{host}:{}/%2f", self.password, self.ports.amqps)
    }

    /// Where it listens, before and after each restart.
    pub fn addr(&self) -> SocketAddr {
        loopback(self.ports.amqp)
    }

    /// kill -9 (FA-03).
    pub async fn kill(&mut self) {
        let running = self.running.take();
        tokio::task::spawn_blocking(move || drop(running)).await.expect("RabbitMQ is killed");
    }

    /// Starts it again after [`OwnRabbit::kill`], on the same data and port; returns when it answers clients.
    pub async fn start_again(&mut self) {
        let (command, folder, addr) = (self.command(SERVER), self.folder.path().to_path_buf(), self.addr());
        let starting = tokio::task::spawn_blocking(move || run(command, &folder, addr));
        self.running = Some(starting.await.expect("RabbitMQ starts again"));
    }

    /// Whether files of a quorum queue lie in its folder: one was made, and is perhaps not yet in the broker's books.
    pub fn has_files_of_a_queue(&self) -> bool {
        let folders = |of: PathBuf| std::fs::read_dir(of).into_iter().flatten().flatten().map(|entry| entry.path());
        let nodes = folders(self.folder.path().join(DATA)).flat_map(|node| folders(node.join("quorum")));
        nodes.flat_map(folders).any(|path| path.is_dir())
    }

    /// SIGSTOP to all of it: connections stay open, nothing answers (FA-02).
    pub fn freeze(&self) {
        self.signal(Signal::Stop);
    }

    /// SIGCONT: it goes on where it stood.
    pub fn thaw(&self) {
        self.signal(Signal::Continue);
    }

    /// The disk counts as full: the broker blocks every connection that publishes (FA-04).
    pub async fn raise_disk_alarm(&self) {
        self.control_in_order(&["set_disk_free_limit", MORE_THAN_FREE]).await;
    }

    /// The disk has room again.
    pub async fn clear_disk_alarm(&self) {
        self.control_in_order(&["set_disk_free_limit", LESS_THAN_FREE]).await;
    }

    /// Nothing more fits onto its disk, and it has not noticed yet (FA-10).
    pub fn fill_disk(&self) {
        self.disk.as_ref().expect("a small disk").fill(0);
    }

    /// So little fits onto its disk that it gives its alarm, and enough for what it writes meanwhile (FA-04).
    pub fn fill_disk_nearly(&self) {
        self.disk.as_ref().expect("a small disk").fill(FREE_AT_ALARM / 2);
    }

    /// Its disk has room again.
    pub fn clear_disk(&self) {
        self.disk.as_ref().expect("a small disk").clear();
    }

    /// What it wrote into its log.
    pub fn log(&self) -> String {
        self.running.as_ref().map(Program::said).unwrap_or_default()
    }

    /// `rabbitmqctl` for this broker. It takes a second or more, for it starts an Erlang machine.
    pub async fn control(&self, arguments: &[&str]) -> Output {
        let mut command = self.command("rabbitmqctl");
        command.args(arguments);
        let outcome = tokio::task::spawn_blocking(move || command.output()).await.expect("rabbitmqctl ends");
        outcome.expect("rabbitmqctl runs")
    }

    async fn control_in_order(&self, arguments: &[&str]) {
        let output = self.control(arguments).await;
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn signal(&self, signal: Signal) {
        self.running.as_ref().expect("RabbitMQ runs").signal(signal);
    }

    fn command(&self, program: &str) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", folder).env("LANG", "C.UTF-8");
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1").env("ERL_EPMD_PORT", self.ports.mapper.to_string());
        command.env("RABBITMQ_NODENAME", format!("lockstep-{}@localhost", self.ports.amqp));
        command.env("RABBITMQ_DIST_PORT", self.ports.nodes.to_string());
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}");
        command.env("RABBITMQ_LOGS", "-");
        for (name, file) in [
            ("RABBITMQ_CONF_ENV_FILE", "none.conf"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "advanced.config"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_MNESIA_BASE", DATA),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_PID_FILE", "pid"),
        ] {
            command.env(name, folder.join(file));
        }
        command
    }
}

fn run(mut command: Command, folder: &Path, addr: SocketAddr) -> Program {
    let mut program = Program::start("rabbitmq", &mut command, folder);
    program.wait_until(|| answers(addr));
    program
}

fn write_settings(folder: &Path, ports: Ports, password: &str, extras: Extras) {
    let alarm = if extras.disk.is_some() { FREE_AT_ALARM.to_string() } else { LESS_THAN_FREE.to_owned() };
    let mut settings = format!(
        "listeners.tcp.1 = 127.0.0.1:{}\ndefault_user = lockstep\ndefault_pass = {password}\nlog.console = true\n\
         disk_free_limit.absolute = {alarm}\n",
        ports.amqp
    );
    if let Some((certificate, key)) = extras.certificate {
        let (shown, secret) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&shown, certificate).expect("the broker's certificate");
        std::fs::write(&secret, key).expect("the broker's key");
        settings += &format!(
            "listeners.ssl.1 = 127.0.0.1:{}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
             ssl_options.verify = verify_none\n",
            ports.amqps,
            shown.display(),
            secret.display()
        );
    }
    std::fs::write(folder.join("rabbitmq.conf"), settings).expect("the broker's settings");
    std::fs::write(folder.join("enabled_plugins"), "[].").expect("no plugins");
}

/// Its own, so that no test touches the machine's, and ended with the test instead of staying as a daemon.
fn start_port_mapper(program: &Path, ports: Ports, folder: &Path) -> Program {
    let mut command = Command::new(program);
    command.args(["-address", "127.0.0.1", "-port", &ports.mapper.to_string()]);
    let mut mapper = Program::start("epmd", &mut command, folder);
    mapper.wait_until(|| TcpStream::connect(loopback(ports.mapper)).is_ok());
    mapper
}

/// An open port is not enough: a stopped broker's kernel goes on accepting for it.
fn answers(addr: SocketAddr) -> bool {
    let greeted = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&addr, ANSWER_WITHIN)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.write_all(GREETING)?;
        stream.read_exact(&mut [0])
    };
    greeted().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn alarm_is_on(broker: &OwnRabbit) -> bool {
        // The one place where the broker itself says so to a program: a list of alarms, empty or not.
        let output = broker.control(&["eval", "rabbit_alarm:get_alarms()."]).await;
        String::from_utf8_lossy(&output.stdout).contains("disk")
    }

    #[tokio::test]
    async fn a_broker_is_killed_and_comes_back_with_its_queues() {
        let Some(mut broker) = OwnRabbit::start().await else { return };
        let declare = "rabbit_amqqueue:declare({resource, <<\"/\">>, queue, <<\"kept\">>}, true, false, \
                       [{<<\"x-queue-type\">>, longstr, <<\"quorum\">>}], none, <<\"tests\">>).";
        assert!(broker.control(&["eval", declare]).await.status.success());
        broker.kill().await;
        assert!(TcpStream::connect(broker.addr()).is_err(), "a killed broker refuses");
        broker.start_again().await;
        let queues = broker.control(&["list_queues", "--silent", "name"]).await;
        assert_eq!(String::from_utf8_lossy(&queues.stdout).trim(), "kept");
    }

    #[tokio::test]
    async fn a_frozen_broker_is_silent_and_a_full_disk_is_an_alarm() {
        let Some(broker) = OwnRabbit::start().await else { return };
        broker.freeze();
        assert!(TcpStream::connect(broker.addr()).is_ok(), "the port still answers");
        assert!(!answers(broker.addr()), "but nobody behind it");
        broker.thaw();
        assert!(answers(broker.addr()));
        broker.raise_disk_alarm().await;
        assert!(alarm_is_on(&broker).await);
        broker.clear_disk_alarm().await;
        assert!(!alarm_is_on(&broker).await);
    }
}
