//! Client certificates at the token endpoint (graph-contract.md, section 9, CERT).

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockstep_simulator::SimClock;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::Stage;

/// A key takes a while to make, and any will do.
static KEY: LazyLock<KeyPair> =
    LazyLock::new(|| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap());

fn certificate(from: i32, until: i32, name: &str) -> rcgen::Certificate {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params.self_signed(&*KEY).unwrap()
}

/// What the app says of itself, and how it signs it.
struct Assertion {
    header: Value,
    claims: Value,
}

impl Assertion {
    fn by(certificate: &rcgen::Certificate, stage: &Stage) -> Self {
        let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, certificate.der()));
        let now = stage.sim.clock().now_micros() / 1_000_000;
        let app = stage.tenant.client_id();
        let audience = format!("https://login.microsoftonline.com/{}/oauth2/v2.0/token", stage.tenant.id());
        Self {
            header: json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint}),
            claims: json!({
                "aud": audience, "iss": app, "sub": app, "jti": Uuid::new_v4(), "nbf": now, "iat": now, "exp": now + 300,
            }),
        }
    }

    fn with(mut self, claim: &str, value: impl Into<Value>) -> Self {
        self.claims[claim] = value.into();
        self
    }

    fn signed(&self) -> String {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(&self.header), encode(&self.claims));
        let key = RsaKeyPair::from_pkcs8(&KEY.serialize_der()).unwrap();
        let mut signature = vec![0; key.public_modulus_len()];
        let padding: &'static dyn aws_lc_rs::signature::RsaEncoding =
            if self.header["alg"] == "RS256" { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
        key.sign(padding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn ask(stage: &Stage, assertion: &str) -> (u16, Value) {
    let app = stage.tenant.client_id().to_string();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &app),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    let url = format!("{}/{}/oauth2/v2.0/token", stage.sim.url(), stage.tenant.id());
    let answer = stage.http.post(url).form(&form).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A stage on a still clock, early in 2026, with a certificate for 2025 to 2026 registered.
async fn stage() -> (Stage, rcgen::Certificate) {
    let clock = SimClock::starting_at(1_767_600_000_000_000);
    clock.set_scale(0.0);
    let stage = Stage::at(clock).await;
    let certificate = certificate(2025, 2027, "lockstep.example");
    stage.tenant.add_certificate(&certificate.pem()).unwrap();
    (stage, certificate)
}

#[tokio::test]
async fn an_assertion_signed_by_a_registered_certificate_gets_a_token() {
    let (mut stage, certificate) = stage().await;
    let (status, answer) = ask(&stage, &Assertion::by(&certificate, &stage).signed()).await;
    assert_eq!(status, 200, "{answer}");
    stage.token = answer["access_token"].as_str().unwrap().to_owned();
    assert_eq!(stage.get("organization").await.0, 200);

    let path = format!("applications(appId='{}')?$select=keyCredentials", stage.tenant.client_id());
    let (_, app) = stage.get(&path).await;
    assert_eq!(app["keyCredentials"][0]["endDateTime"], "2027-01-01T00:00:00Z");
}

#[tokio::test]
async fn the_older_form_with_a_sha1_thumbprint_is_taken_as_well() {
    let (stage, certificate) = stage().await;
    let mut assertion = Assertion::by(&certificate, &stage);
    let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.der());
    let thumbprint = URL_SAFE_NO_PAD.encode(thumbprint);
    for named in [thumbprint.clone(), format!("{thumbprint}=")] {
        assertion.header = json!({"alg": "RS256", "typ": "JWT", "x5t": named});
        assertion.claims["jti"] = json!(Uuid::new_v4());
        assert_eq!(ask(&stage, &assertion.signed()).await.0, 200);
    }
    assertion.header["x5t"] = json!(thumbprint.to_lowercase());
    assert_eq!(ask(&stage, &assertion.signed()).await.1["error_codes"], json!([700_027]));
}

#[tokio::test]
async fn the_endpoint_is_known_by_its_own_address_and_by_configured_names() {
    let (stage, certificate) = stage().await;
    let assertion = |base: &str| {
        let audience = format!("{base}/contoso.example/oauth2/v2.0/token");
        Assertion::by(&certificate, &stage).with("aud", audience).signed()
    };
    assert_eq!(ask(&stage, &assertion(&stage.sim.url())).await.0, 200);
    assert_eq!(ask(&stage, &assertion("https://login.invalid")).await.0, 401);
    stage.sim.change_settings(|settings| settings.login_hosts = vec!["login.invalid".to_owned()]);
    assert_eq!(ask(&stage, &assertion("https://login.invalid")).await.0, 200);
}

/// What is wrong, the assertion, and the expected code and words.
type Wrong<'a> = (Assertion, u32, &'a str);

#[tokio::test]
async fn what_does_not_fit_is_refused_by_its_own_code() {
    let (stage, good) = stage().await;
    let now = stage.sim.clock().now_micros() / 1_000_000;
    let assertion = || Assertion::by(&good, &stage);
    let stranger = certificate(2025, 2027, "stranger.example");
    let other_tenant = format!("https://login.microsoftonline.com/{}/oauth2/v2.0/token", Uuid::nil());
    let mut unsigned = assertion();
    unsigned.header["alg"] = json!("none");
    let cases: [Wrong<'_>; 8] = [
        (Assertion::by(&stranger, &stage), 700_027, "[Reason - The key was not found.]"),
        (assertion().with("nbf", now - 4000).with("exp", now - 3700), 700_024, "not within its valid time range"),
        (
            assertion().with("nbf", now + 600).with("exp", now + 900),
            700_024,
            "valid from 2026-01-05T08:10:00.0000000Z, expiry time of assertion 2026-01-05T08:15:00.0000000Z.",
        ),
        (assertion().with("iss", "somebody"), 700_021, "application identifier"),
        (assertion().with("sub", Uuid::nil().to_string()), 700_021, "application identifier"),
        (assertion().with("aud", other_tenant), 700_023, "audience"),
        (assertion().with("aud", "https://login.example/contoso.example/oauth2/v2.0/token"), 700_023, "audience"),
        (unsigned, 50_027, "malformed"),
    ];
    for (assertion, code, words) in cases {
        let (status, answer) = ask(&stage, &assertion.signed()).await;
        assert!(status == 401 || code == 50_027, "{answer}");
        assert_eq!(answer["error_codes"], json!([code]), "{answer}");
        assert!(answer["error_description"].as_str().unwrap().contains(words), "{answer}");
    }
    for nonsense in ["", "a.b", "a.b.c", "e30.e30.e30"] {
        assert_eq!(ask(&stage, nonsense).await.1["error_codes"], json!([50_027]), "{nonsense}");
    }
}

#[tokio::test]
async fn clocks_may_be_five_minutes_apart() {
    let (stage, certificate) = stage().await;
    let now = stage.sim.clock().now_micros() / 1_000_000;
    let early = Assertion::by(&certificate, &stage).with("nbf", now + 299).with("exp", now + 900);
    let late = Assertion::by(&certificate, &stage).with("nbf", now - 900).with("exp", now - 299);
    let fractions = Assertion::by(&certificate, &stage).with("exp", now as f64 + 300.5);
    assert_eq!(ask(&stage, &fractions.signed()).await.0, 200);
    assert_eq!(ask(&stage, &early.signed()).await.0, 200);
    assert_eq!(ask(&stage, &late.signed()).await.0, 200);
}

#[tokio::test]
async fn a_changed_claim_or_a_second_use_is_found_out() {
    let (stage, certificate) = stage().await;
    let signed = Assertion::by(&certificate, &stage).signed();
    let (header, rest) = signed.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let other = Assertion::by(&certificate, &stage);
    let forged = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(other.claims.to_string()));
    let (_, answer) = ask(&stage, &forged).await;
    assert_eq!(answer["error_codes"], json!([700_027]));
    assert!(answer["error_description"].as_str().unwrap().contains("did not match the expected signature value"));

    assert_eq!(ask(&stage, &signed).await.0, 200);
    assert_eq!(ask(&stage, &signed).await.0, 200, "Microsoft's Python library uses one for minutes");
    stage.sim.change_settings(|settings| settings.assertions_once = true);
    assert_eq!(ask(&stage, &signed).await.0, 200);
    assert_eq!(ask(&stage, &signed).await.0, 401, "an assertion is good once where that is asked for");
}

#[tokio::test]
async fn an_expired_certificate_is_named_with_its_dates() {
    let (stage, certificate) = stage().await;
    stage.sim.clock().advance(Duration::from_secs(366 * 24 * 3600));
    let (status, answer) = ask(&stage, &Assertion::by(&certificate, &stage).signed()).await;
    assert_eq!((status, &answer["error_codes"]), (401, &json!([700_027])));
    let thumbprint: String = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.der())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let expected = format!(
        "AADSTS700027: Client assertion contains an invalid signature. [Reason - The key used is expired., Thumbprint of key used by client: '{thumbprint}', Found key 'Start=01/01/2025 00:00:00, End=01/01/2027 00:00:00'] Trace ID: "
    );
    assert!(answer["error_description"].as_str().unwrap().starts_with(&expected), "{answer}");
}

#[tokio::test]
async fn certificates_are_registered_by_the_control_api_and_nonsense_is_refused() {
    let (stage, certificate) = stage().await;
    let change = async |certificates: Value| {
        let request = stage.http.patch(format!("{}/sim/app", stage.sim.url()));
        stage.send(request.body(json!({"certificates": certificates}).to_string())).await.0
    };
    assert_eq!(change(json!(["no certificate"])).await, 400);
    assert_eq!(change(json!([KEY.serialize_pem()])).await, 400, "a key is no certificate");
    assert_eq!(change(json!([])).await, 204);
    let signed = || Assertion::by(&certificate, &stage).signed();
    assert_eq!(ask(&stage, &signed()).await.0, 401);
    assert_eq!(change(json!([certificate.pem()])).await, 204);
    assert_eq!(ask(&stage, &signed()).await.0, 200);
}
