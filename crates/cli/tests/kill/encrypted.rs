//! TH-19: the way to RabbitMQ over TLS, with a certificate of an authority that no machine knows.

use std::process::Stdio;
use std::time::{Duration, Instant};

use lockstep_testkit::OwnRabbit;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::stand::Stand;
use crate::workbench::{SOON, Workbench, blocking};

/// Whom the certificate is for.
const NAME: &str = "localhost";
/// In the folder of the processes.
const AUTHORITY: &str = "authority.pem";

struct Certificates {
    authority: String,
    shown: String,
    key: String,
}

fn certificates() -> Certificates {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let shown = CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    Certificates { authority: authority.pem(), shown: shown.pem(), key: key.serialize_pem() }
}

/// TH-19: hints go through a broker that proves to be the one of the queue URL.
#[tokio::test(flavor = "multi_thread")]
async fn services_th_19_changes_arrive_through_a_broker_behind_tls() {
    let made = certificates();
    let Some(rabbit) = OwnRabbit::start_with_certificate(&made.shown, &made.key).await else { return };
    let mut stand = Stand::build_on(&format!("queue_url = \"{}\"\n", rabbit.encrypted_url(NAME))).await;
    blocking(move || {
        stand.bench.write(AUTHORITY, &made.authority);
        stand.bench.extra.push(("SSL_CERT_FILE", AUTHORITY));
        stand.settle();
        (0..5).for_each(|_| stand.change());
        stand.conclude();
    })
    .await;
}

/// TH-19: to one that does not, nothing is sent; the start says what is wrong and what to do.
#[tokio::test(flavor = "multi_thread")]
async fn services_th_19_a_broker_that_cannot_prove_itself_is_refused() {
    let made = certificates();
    let Some(rabbit) = OwnRabbit::start_with_certificate(&made.shown, &made.key).await else { return };
    blocking(move || {
        let mut bench = Workbench::fresh();
        bench.write(AUTHORITY, &made.authority);
        let unknown = refusal(&bench, &rabbit.encrypted_url(NAME));
        assert!(unknown.contains("UnknownIssuer") && unknown.contains("SSL_CERT_FILE"), "{unknown}");
        bench.extra.push(("SSL_CERT_FILE", AUTHORITY));
        let misnamed = refusal(&bench, &rabbit.encrypted_url("127.0.0.1"));
        assert!(misnamed.contains("not valid for name"), "{misnamed}");
        let no_tls = refusal(&bench, &rabbit.url().replace("amqp:", "amqps:"));
        assert!(no_tls.contains("TLS"), "{no_tls}");
    })
    .await;
}

/// What `serve` says before it ends by itself.
fn refusal(bench: &Workbench, queue_url: &str) -> String {
    let mut command = bench.command();
    command.args(["serve", "--role", "worker"]).env("LOCKSTEP_QUEUE_URL", queue_url);
    let mut serve = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + SOON;
    while serve.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            serve.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = serve.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(!said.contains("lockstep:"), "G-27: the password is not shown: {said}");
    said
}
