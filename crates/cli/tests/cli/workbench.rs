//! A folder of its own, a simulator in this process, and the binary beside them.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lockstep_simulator::{NewGroup, NewUser, Simulator, SimulatorConfig, Tenant};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

/// Long enough for a slow machine, short enough for a test that must fail.
pub const SOON: Duration = Duration::from_secs(60);

/// Where commands run.
pub struct Workbench {
    pub folder: TempDir,
    pub simulator: Option<String>,
    public_bind: String,
    admin_bind: String,
    /// What Microsoft calls, when it is not the receiver itself.
    pub public_url: Option<String>,
    /// Added to the environment of every command.
    pub extra: Vec<(&'static str, &'static str)>,
}

/// What a command did.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Workbench {
    /// A fresh folder, no simulator.
    pub fn fresh() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            simulator: None,
            public_bind: free_address(),
            admin_bind: free_address(),
            public_url: None,
            extra: Vec::new(),
        }
    }

    /// A fresh folder and settings that name this simulator.
    pub fn with(simulator: &Simulator) -> Self {
        Self { simulator: Some(simulator.url()), ..Self::fresh() }
    }

    /// The binary, in this folder, with no settings from outside.
    pub fn command(&self) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lockstep"));
        command.current_dir(self.folder.path());
        let ours = |name: &str| ["LOCKSTEP_", "OTEL_"].iter().any(|begin| name.starts_with(begin));
        for (name, _) in std::env::vars_os().filter(|(name, _)| ours(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command
            .env_remove("RUST_LOG")
            .env("LOCKSTEP_PUBLIC_BIND", &self.public_bind)
            .env("LOCKSTEP_ADMIN_BIND", &self.admin_bind);
        if let Some(url) = &self.simulator {
            command.env("LOCKSTEP_GRAPH_URL", url).env("LOCKSTEP_LOGIN_URL", url);
            command.env("LOCKSTEP_PUBLIC_URL", self.public_url.clone().unwrap_or_else(|| self.receiver_url()));
        }
        command.envs(self.extra.iter().copied());
        command
    }

    /// Runs to the end.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.command().args(args).output().unwrap().into()
    }

    /// Runs to the end with `--output json`; the whole of stdout must be one JSON value.
    pub fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["--output", "json"]].concat());
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{args:?}: {error} in {}", ran.stdout))
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Connects the tenant as `contoso`.
    pub fn connect(&self, tenant: &Tenant) -> Ran {
        self.write("secret", &format!("{}\n", tenant.client_secret()));
        let (tenant_id, client_id) = (tenant.id().to_string(), tenant.client_id().to_string());
        self.run(&[
            "connection",
            "add",
            "contoso",
            "--tenant",
            &tenant_id,
            "--client-id",
            &client_id,
            "--client-secret-file",
            "secret",
        ])
    }

    /// Starts `serve` and waits until it is ready.
    pub fn serve(&self) -> Serving {
        self.start(self.command(), &["serve"], &self.admin_bind, "serve.log")
    }

    /// Starts `serve` with one role, an admin listener and a log of its own, and waits until it is ready.
    pub fn serve_role(&self, role: &str, log: &str) -> Serving {
        self.start(self.command(), &["serve", "--role", role], &free_address(), log)
    }

    /// Runs these words of a program and waits until it is ready.
    pub fn start(&self, mut command: Command, args: &[&str], admin_bind: &str, log: &str) -> Serving {
        let log = self.path(log);
        let file = std::fs::File::create(&log).unwrap();
        command.args(args).env("LOCKSTEP_ADMIN_BIND", admin_bind);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        let mut serving = Serving { child, admin: format!("http://{admin_bind}") };
        let deadline = Instant::now() + SOON;
        while !serving.is_ready() {
            assert!(Instant::now() < deadline, "serve is not ready: {}", read(&log));
            std::thread::sleep(Duration::from_millis(20));
        }
        serving
    }

    /// Where the receiver of this folder listens.
    pub fn receiver_url(&self) -> String {
        format!("http://{}", self.public_bind)
    }

    /// Asks until it is so.
    pub fn wait_for(&self, what: &str, within: Duration, met: impl Fn() -> bool) {
        let deadline = Instant::now() + within;
        while !met() {
            assert!(Instant::now() < deadline, "not within {within:?}: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks until the records satisfy the condition.
    pub fn wait_for_records(&self, what: &str, met: impl Fn(&[Value]) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            let records = self.json(&["record", "list"]);
            if met(records.as_array().unwrap()) {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {records:#} {}", read(&self.path("serve.log")));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A running `serve`; killed when dropped.
pub struct Serving {
    pub child: Child,
    pub admin: String,
}

impl Serving {
    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        self.child.wait().unwrap().code()
    }

    /// Asks it to stop (SIGTERM), and goes on.
    pub fn ask_to_stop(&self) {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
    }

    /// The exit code, once it has ended.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// The value of a metric's first series, if it is there.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let page = self.page("/metrics")?;
        let line = page.lines().find(|line| line.starts_with(series))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// The body of an admin page, if it answered 200.
    pub fn page(&self, path: &str) -> Option<String> {
        use std::io::{Read as _, Write as _};
        let address = self.admin.strip_prefix("http://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then(|| answer.split_once("\r\n\r\n").unwrap_or_default().1.to_owned())
    }

    fn is_ready(&mut self) -> bool {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("serve ended: {status}");
        }
        self.page("/readyz").is_some()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A tenant with [`Team::SIZE`] people in its one group and one outside.
pub struct Team {
    pub simulator: Simulator,
    pub tenant: Tenant,
    pub group: Uuid,
    pub ada: Uuid,
    pub alan: Uuid,
}

impl Team {
    /// With fewer than six, the brake would hold the second leaver.
    pub const SIZE: u64 = 8;

    pub async fn start() -> Self {
        let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
        let tenant = simulator.tenant();
        let group = tenant.create_group(NewGroup::named("Staff"));
        let hire = |name: &str| {
            let user = tenant.create_user(NewUser::named(name));
            tenant.add_member(group, user).unwrap();
            user
        };
        let (ada, alan) = (hire("Ada Lovelace"), hire("Alan Turing"));
        for number in 2..Self::SIZE {
            hire(&format!("Colleague {number}"));
        }
        tenant.create_user(NewUser::named("Eve Outside"));
        Self { simulator, tenant, group, ada, alan }
    }

    /// A workbench where this tenant is connected as `contoso` and its rules apply; nobody is at work.
    pub fn connected(&self) -> Workbench {
        self.connected_with("")
    }

    /// The same where the application had these records before, one JSON object a line.
    pub fn connected_with(&self, records: &str) -> Workbench {
        let bench = Workbench::with(&self.simulator);
        assert_eq!(bench.connect(&self.tenant).code, 0);
        if !records.is_empty() {
            bench.write("people.jsonl", records);
            assert_eq!(bench.run(&["record", "import", "people.jsonl", "--connection", "contoso"]).code, 0);
        }
        bench.write("rules.toml", &self.rules());
        assert_eq!(bench.run(&["rule", "apply", "contoso", "rules.toml"]).code, 0);
        bench
    }

    pub fn rules(&self) -> String {
        format!("[[rule]]\ngroup = \"{}\"\norder = 10\nkind = \"employee\"\nrole = \"Technician\"\n", self.group)
    }
}

/// Commands block; the simulator in this process needs its threads meanwhile.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// An address that nobody has now and that no other test of this run gets. It lies below the ports that the system
/// gives to outgoing connections: one of those was found there by the time `serve` came to listen.
pub fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let place = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id() * 10 + place) % 20_000;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
