//! Connecting with a certificate instead of a secret, and what is said before it ends (C1, C3).

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lockstep_store::Clock;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};

use crate::workbench::{Ran, Team, Workbench, blocking};

struct Made {
    certificate: String,
    key: String,
}

/// A self-signed certificate that ends so many days from now, at midnight.
fn certificate(days: i64) -> Made {
    with_key(&KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(), days)
}

fn with_key(key: &KeyPair, days: i64) -> Made {
    let span = Duration::from_secs(24 * 3600 * days.unsigned_abs());
    let now = Timestamp::from_microsecond(Clock::system().now().micros()).unwrap();
    let end = if days < 0 { now - span } else { now + span };
    let end = end.to_zoned(TimeZone::UTC).date();
    let mut params = CertificateParams::new(vec!["lockstep.example".to_owned()]).unwrap();
    params.not_after = date_time_ymd(end.year().into(), end.month().unsigned_abs(), end.day().unsigned_abs());
    Made { certificate: params.self_signed(key).unwrap().pem(), key: key.serialize_pem() }
}

fn connect(bench: &Workbench, team: &Team, pem: &str) -> Ran {
    bench.write("app.pem", pem);
    let (tenant, client) = (team.tenant.id().to_string(), team.tenant.client_id().to_string());
    let to = ["connection", "add", "contoso", "--tenant", &tenant, "--client-id", &client];
    bench.run(&[&to[..], &["--certificate-file", "app.pem"]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_tenant_is_connected_with_a_certificate() {
    let team = Team::start().await;
    let made = certificate(400);
    team.tenant.add_certificate(&made.certificate).unwrap();
    team.tenant.set_client_secret("nobody here knows it");
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        let added = connect(&bench, &team, &format!("{}{}", made.certificate, made.key));
        assert_eq!(added.code, 0, "{}", added.stderr);
        let shown = bench.json(&["connection", "show", "contoso"]);
        assert_eq!(shown["credential"]["kind"], "certificate");
        assert!(shown["credential"]["expires_at"].is_string(), "{shown}");

        let checks = bench.json(&["connection", "check", "contoso"]);
        let of = |name: &str| checks.as_array().unwrap().iter().find(|check| check["check"] == name).cloned().unwrap();
        assert!(of("credential (certificate)")["detail"].as_str().unwrap().starts_with("good until"), "{checks}");
        bench.write("rules.toml", &team.rules());
        assert_eq!(bench.json(&["rule", "plan", "contoso", "rules.toml"])["created"]["count"], Team::SIZE);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_the_check_says_that_a_certificate_will_end() {
    let team = Team::start().await;
    let made = certificate(10);
    team.tenant.add_certificate(&made.certificate).unwrap();
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        assert_eq!(connect(&bench, &team, &format!("{}{}", made.key, made.certificate)).code, 0);
        let checked = bench.run(&["connection", "check", "contoso"]);
        assert_eq!(checked.code, 0, "it still works: {}", checked.stderr);
        assert!(checked.stdout.contains("runs out in 9 days"), "{}", checked.stdout);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_microsoft_does_not_know_stores_nothing() {
    let team = Team::start().await;
    let made = certificate(400);
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        let refused = connect(&bench, &team, &format!("{}{}", made.certificate, made.key));
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("AADSTS700027"), "{}", refused.stderr);
        assert_eq!(bench.json(&["connection", "list"]), serde_json::json!([]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_certificate_file_is_said_without_repeating_it() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        let (made, other, over) = (certificate(400), certificate(400), certificate(-2));
        let elliptic = with_key(&KeyPair::generate().unwrap(), 400);
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for (pem, code, word) in [
            (String::new(), 2, "no private key"),
            (made.certificate.clone(), 2, "no private key"),
            (made.key.clone(), 2, "no certificate"),
            (format!("{}{}", made.certificate, other.key), 2, "does not belong"),
            (format!("{}{locked}", made.certificate), 2, "openssl pkey"),
            (format!("{}{}", elliptic.certificate, elliptic.key), 2, "RSA"),
            (format!("{}{}", over.certificate, over.key), 1, "ran out on"),
        ] {
            let refused = connect(&bench, &team, &pem);
            assert_eq!(refused.code, code, "{}", refused.stderr);
            assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
            assert!(!refused.stderr.contains("-----BEGIN"), "{}", refused.stderr);
        }
        assert_eq!(bench.json(&["connection", "list"]), serde_json::json!([]));
    })
    .await;
}

#[test]
fn exactly_one_credential_is_wanted() {
    let bench = Workbench::fresh();
    let to = ["connection", "add", "contoso", "--tenant", "contoso.example", "--client-id", "x"];
    assert_eq!(bench.run(&to).code, 2);
    let both = ["--client-secret-file", "a", "--certificate-file", "b"];
    assert_eq!(bench.run(&[&to[..], &both].concat()).code, 2);
    let missing = bench.run(&[&to[..], &["--certificate-file", "missing.pem"]].concat());
    assert!(missing.code == 1 && missing.stderr.contains("missing.pem"), "{}", missing.stderr);
}
