//! `lockstep serve` as a process of its own.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockstep_simulator::Simulator;

use crate::cost::{Cost, peak_mib, resident_mib};
use crate::error::{BenchError, During as _};
use crate::load;
use crate::place::Place;

const READY_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One process; killed when dropped, as by kill -9.
pub(crate) struct Serve {
    /// Where its receiver listens, if it has one.
    pub receiver: SocketAddr,
    admin: SocketAddr,
    child: Child,
}

impl Serve {
    /// Started, and ready. No role named: all of them.
    pub async fn start(place: &Place, roles: &[&str], graph: Option<&Simulator>) -> Result<Self, BenchError> {
        Self::start_on(place, &place.queue_url, roles, graph).await
    }

    /// The same with another way to the queue.
    pub async fn start_on(
        place: &Place,
        queue_url: &str,
        roles: &[&str],
        graph: Option<&Simulator>,
    ) -> Result<Self, BenchError> {
        let mut serve = Self::spawn(place, queue_url, roles, graph)?;
        let began = Instant::now();
        while load::get(serve.admin, "/readyz").await != Some(200) {
            if let Ok(Some(status)) = serve.child.try_wait() {
                return Err(BenchError::Failed {
                    attempt: "starting lockstep serve".to_owned(),
                    source: format!("it ended with {status}; with RUST_LOG=info it says why").into(),
                });
            }
            wait(began, "lockstep serve", READY_WITHIN).await?;
        }
        Ok(serve)
    }

    /// Started only: for whoever measures the start.
    pub fn spawn(
        place: &Place,
        queue_url: &str,
        roles: &[&str],
        graph: Option<&Simulator>,
    ) -> Result<Self, BenchError> {
        let here = std::env::current_exe().during("finding this program")?;
        let (receiver, admin) = (free_address()?, free_address()?);
        // The program itself; a measurement that is a program of its own stands beside it.
        let mut command = Command::new(here.with_file_name("lockstep"));
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("LOCKSTEP_")) {
            command.env_remove(name);
        }
        command.arg("serve").args(roles.iter().flat_map(|role| ["--role", role]));
        command.envs(place.environment()).env("LOCKSTEP_QUEUE_URL", queue_url).current_dir(place.folder());
        command.env("LOCKSTEP_PUBLIC_BIND", receiver.to_string()).env("LOCKSTEP_ADMIN_BIND", admin.to_string());
        if let Some(graph) = graph.map(Simulator::url) {
            command.env("LOCKSTEP_GRAPH_URL", &graph).env("LOCKSTEP_LOGIN_URL", &graph);
            command.env("LOCKSTEP_PUBLIC_URL", format!("http://{receiver}"));
        }
        let log = if std::env::var_os("RUST_LOG").is_some() { Stdio::inherit() } else { Stdio::null() };
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        Ok(Self { receiver, admin, child: child.during("starting lockstep serve")? })
    }

    /// What it cost so far.
    pub fn cost(&self) -> Cost {
        Cost::of(self.child.id())
    }

    /// The most memory it held so far, MiB.
    pub fn peak_mib(&self) -> f64 {
        peak_mib(self.child.id())
    }

    /// The memory it holds now, MiB.
    pub fn resident_mib(&self) -> f64 {
        resident_mib(self.child.id())
    }

    /// kill -9; it is gone when this returns.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A little while, but not for ever.
pub(crate) async fn wait(began: Instant, what: &str, patience: Duration) -> Result<(), BenchError> {
    if began.elapsed() > patience {
        return Err(BenchError::TooLate { what: what.to_owned(), patience });
    }
    tokio::time::sleep(LOOK_EVERY).await;
    Ok(())
}

/// An address nobody listens on.
fn free_address() -> Result<SocketAddr, BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").during("finding a free port")?;
    listener.local_addr().during("finding a free port")
}
