//! What `lockstep serve` weighs: size of the binary, start to the first 202, memory at rest.
//!
//! `cargo build --release && cargo run --release -p lockstep-benches --bin footprint`

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockstep_benches::statistics::median;

const STARTS: usize = 5;

fn main() {
    let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/lockstep");
    let size = std::fs::metadata(&binary).expect("build it first: cargo build --release").len();
    println!("binary: {:.1} MiB", mib(size));
    let mut starts = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..STARTS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (first, kib) = start_and_weigh(&binary, folder.path());
        starts.push(first.as_secs_f64() * 1000.0);
        #[expect(clippy::cast_precision_loss)]
        resident.push(kib as f64 / 1024.0);
    }
    println!(
        "start to the first answer of the receiver: {:.0} ms (median of {STARTS}, on an empty folder)",
        median(&mut starts)
    );
    println!(
        "memory at rest, everything in one process: {:.1} MiB (median of {STARTS}, 5 s after the start)",
        median(&mut resident)
    );
}

fn start_and_weigh(binary: &Path, folder: &Path) -> (Duration, u64) {
    let address = free_address();
    let started = Instant::now();
    let mut child = Command::new(binary)
        .arg("serve")
        .current_dir(folder)
        .env("LOCKSTEP_PUBLIC_BIND", &address)
        .env("LOCKSTEP_ADMIN_BIND", free_address())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("lockstep starts");
    while !answers(&address) {
        assert!(started.elapsed() < Duration::from_secs(20), "no answer within 20 s");
        std::thread::sleep(Duration::from_millis(1));
    }
    let first = started.elapsed();
    // Memory at rest wants rest.
    std::thread::sleep(Duration::from_secs(5));
    let kib = resident_kib(&child);
    stop(&mut child);
    (first, kib)
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

fn answers(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}

fn resident_kib(child: &Child) -> u64 {
    let status = std::fs::File::open(format!("/proc/{}/status", child.id())).expect("it runs");
    let lines = BufReader::new(status).lines().map_while(Result::ok);
    let line = lines.into_iter().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

#[expect(clippy::cast_precision_loss)]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}
