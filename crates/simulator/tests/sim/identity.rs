//! Tokens and discovery (graph-contract.md, sections 9 and 13).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lockstep_simulator::{AppState, Fault, SimClock, Simulator, SimulatorConfig, Twist};
use serde_json::{Value, json};

use crate::stage::Stage;

async fn ask(stage: &Stage, tenant: &str, change: &[(&str, &str)]) -> (u16, Value) {
    let (app, secret) = (stage.tenant.client_id().to_string(), stage.tenant.client_secret());
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_id", &app),
        ("client_secret", &secret),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    form.retain(|(name, _)| change.iter().all(|(changed, _)| changed != name));
    form.extend(change.iter().filter(|(_, value)| !value.is_empty()));
    let url = format!("{}/{tenant}/oauth2/v2.0/token", stage.sim.url());
    let answer = stage.http.post(url).form(&form).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn a_token_is_given_by_tenant_id_in_any_case_and_by_domain() {
    let stage = Stage::set().await;
    for tenant in
        [stage.tenant.id().to_string(), stage.tenant.id().to_string().to_uppercase(), "Contoso.example".to_owned()]
    {
        let (status, answer) = ask(&stage, &tenant, &[]).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["token_type"], "Bearer");
        assert_eq!(answer["expires_in"], 3599);
    }
}

/// Tenant, changed fields of the form, and the expected status, error and code.
type TokenCase<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'a str, u32);

#[tokio::test]
async fn token_errors_are_those_of_the_samples() {
    let stage = Stage::set().await;
    let tenant = stage.tenant.id().to_string();
    let stranger = uuid::Uuid::new_v4().to_string();
    let cases: [TokenCase<'_>; 5] = [
        (&tenant, &[("client_secret", "wrong")], 401, "invalid_client", 7_000_215),
        (&tenant, &[("client_secret", "")], 401, "invalid_client", 7_000_218),
        (&tenant, &[("client_id", &stranger)], 400, "unauthorized_client", 700_016),
        (&tenant, &[("scope", "https://graph.example/.default")], 400, "invalid_scope", 70_011),
        (&stranger, &[], 400, "invalid_request", 90_002),
    ];
    for (tenant, change, status, error, code) in cases {
        let (answered, body) = ask(&stage, tenant, change).await;
        assert_eq!((answered, body["error"].as_str()), (status, Some(error)));
        assert_eq!(body["error_codes"], json!([code]));
        let description = body["error_description"].as_str().unwrap();
        assert!(description.starts_with(&format!("AADSTS{code}: ")), "{description}");
        assert!(description.contains(" Trace ID: ") && description.contains(" Timestamp: "), "{description}");
        assert!(body["trace_id"].is_string() && body["correlation_id"].is_string());
    }
    let missing = &[("client_secret", "")];
    assert!(ask(&stage, &tenant, missing).await.1.to_string().contains("'client_assertion' or 'client_secret'"));
}

#[tokio::test]
async fn an_expired_secret_can_be_played() {
    let stage = Stage::set().await;
    stage.sim.set_fault(Fault { aadsts: Some(7_000_222), ..Fault::on("token") });
    let (status, body) = ask(&stage, &stage.tenant.id().to_string(), &[]).await;
    assert_eq!((status, &body["error_codes"]), (401, &json!([7_000_222])));
}

#[tokio::test]
async fn a_rotated_secret_refuses_the_old_one_but_not_tokens_given_out() {
    let stage = Stage::set().await;
    let old = stage.tenant.client_secret();
    stage.tenant.set_client_secret("another-secret");
    let (status, _) = ask(&stage, "contoso.example", &[("client_secret", &old)]).await;
    assert_eq!(status, 401);
    assert_eq!(stage.get("organization").await.0, 200);
}

#[tokio::test]
async fn a_token_ends_on_the_simulated_clock() {
    let clock = SimClock::real();
    let mut stage = Stage::at(clock.clone()).await;
    clock.advance(Duration::from_secs(3600));
    let (status, expired) = stage.get("organization").await;
    assert_eq!((status, expired["error"]["code"].as_str()), (401, Some("InvalidAuthenticationToken")));
    stage.renew_token().await;
    assert_eq!(stage.get("organization").await.0, 200);
    stage.token = "forged".to_owned();
    assert_eq!(stage.get("organization").await.0, 401);
}

#[tokio::test]
async fn a_token_without_the_permission_is_denied_and_consent_needs_a_new_one() {
    let mut stage = Stage::set().await;
    stage.tenant.set_permissions(vec!["User.Read.All".to_owned()]);
    assert_eq!(stage.get("groups").await.0, 200, "the old token still has its roles");
    stage.renew_token().await;
    let (status, denied) = stage.get("groups").await;
    assert_eq!((status, denied["error"]["code"].as_str()), (403, Some("Authorization_RequestDenied")));
    assert_eq!(stage.get("users").await.0, 200);
}

#[tokio::test]
async fn a_role_withdrawn_at_once_is_missing_in_tokens_given_out() {
    let stage = Stage::set().await;
    stage.tenant.set_permissions_at_once(vec!["User.Read.All".to_owned()]);
    assert_eq!(stage.get("groups").await.0, 403);
    assert_eq!(stage.get("users").await.0, 200);
}

#[tokio::test]
async fn an_app_is_switched_off_deleted_and_put_back() {
    let stage = Stage::set().await;
    let code = async || ask(&stage, "contoso.example", &[]).await.1["error_codes"][0].clone();
    stage.tenant.set_app_state(AppState::Disabled);
    assert_eq!(code().await, 7_000_112);
    assert_eq!(stage.get("organization").await.0, 200);
    stage.tenant.set_app_state(AppState::Removed);
    assert_eq!(code().await, 7_000_229);
    let (status, gone) = stage.get("organization").await;
    assert_eq!((status, gone["error"]["code"].as_str()), (401, Some("Authorization_IdentityNotFound")));
    stage.tenant.set_app_state(AppState::Active);
    assert_eq!(stage.get("organization").await.0, 200);
}

#[tokio::test]
async fn tokens_end_on_demand_and_live_as_long_as_told() {
    let mut stage = Stage::set().await;
    let change = json!({"expire_tokens": true, "token_lifetime_seconds": 700, "permissions": ["User.Read.All"]});
    let request = stage.http.patch(format!("{}/sim/app", stage.sim.url())).body(change.to_string());
    assert_eq!(stage.send(request).await.0, 204);
    assert_eq!(stage.get("users").await.0, 401);
    assert_eq!(ask(&stage, "contoso.example", &[]).await.1["expires_in"], 700);
    stage.renew_token().await;
    assert_eq!(stage.get("users").await.0, 200);
    assert_eq!(stage.get("groups").await.0, 403);
}

/// BI-42
#[tokio::test]
async fn token_answers_are_wrong_in_every_way() {
    let stage = Stage::set().await;
    let given = async |fault: Fault| {
        stage.sim.clear_faults();
        stage.sim.set_fault(fault);
        let form = [("grant_type", "client_credentials"), ("scope", "https://graph.microsoft.com/.default")];
        let (app, secret) = (stage.tenant.client_id().to_string(), stage.tenant.client_secret());
        let form = [form[0], form[1], ("client_id", &app), ("client_secret", &secret)];
        let url = format!("{}/contoso.example/oauth2/v2.0/token", stage.sim.url());
        let answer = stage.http.post(url).form(&form).send().await?;
        assert_eq!(answer.status(), 200);
        let text = answer.text().await?;
        Ok::<Value, reqwest::Error>(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    };
    let twisted = |twist| Fault { twist: Some(twist), ..Fault::on("token") };
    assert_eq!(given(twisted(Twist::NoAccessToken)).await.unwrap().get("access_token"), None);
    assert_eq!(given(twisted(Twist::OtherTokenType)).await.unwrap()["token_type"], "pop");
    assert!(given(twisted(Twist::NotJson)).await.unwrap().is_string());
    assert_eq!(given(twisted(Twist::Empty)).await.unwrap(), "");
    for expires_in in [0, -1, i64::MAX] {
        let answer = given(Fault { expires_in: Some(expires_in), ..Fault::on("token") }).await.unwrap();
        assert_eq!(answer["expires_in"], expires_in);
    }
    assert!(given(Fault { drop: true, ..Fault::on("token") }).await.is_err());
}

#[tokio::test]
async fn every_answer_can_be_traced_and_dated_on_the_simulated_clock() {
    let clock = SimClock::starting_at(1_700_000_000_000_000);
    clock.set_scale(0.0);
    let stage = Stage::at(clock).await;
    let id = "6f6b1a0e-52a7-4f43-9b2d-0c6a5a1f9d01";
    let url = format!("{}/v1.0/users/{}", stage.sim.url(), uuid::Uuid::nil());
    let request = stage.http.get(url).bearer_auth(&stage.token).header("client-request-id", id);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["client-request-id"], id);
    assert_eq!(answer.headers()["Date"], "Tue, 14 Nov 2023 22:13:20 GMT");
    assert_eq!(answer.headers()["x-ms-resource-unit"], "1");
    let request_id = answer.headers()["request-id"].to_str().unwrap().to_owned();
    let body: Value = answer.json().await.unwrap();
    let inner = json!({"date": "2023-11-14T22:13:20", "request-id": request_id, "client-request-id": id});
    assert_eq!(body["error"]["innerError"], inner);
}

#[tokio::test]
async fn discovery_knows_its_tenants() {
    let stage = Stage::set().await;
    let base = stage.sim.url();
    let read = async |tenant: &str| {
        let url = format!("{base}/{tenant}/v2.0/.well-known/openid-configuration");
        let answer = stage.http.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let id = stage.tenant.id();
    assert_eq!(read(&id.to_string()).await.1["issuer"], format!("{base}/{id}/v2.0"));
    let organizations = read("organizations").await.1;
    assert_eq!(organizations["issuer"], format!("{base}/{{tenantid}}/v2.0"));
    assert_eq!(organizations["token_endpoint"], format!("{base}/organizations/oauth2/v2.0/token"));
    let (status, unknown) = read(&uuid::Uuid::nil().to_string()).await;
    assert_eq!((status, unknown["error"].as_str()), (400, Some("invalid_tenant")));
}

#[tokio::test]
async fn https_is_vouched_for_by_the_printed_root_and_shares_the_state() {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = SimulatorConfig { https_bind: Some(any_port), ..SimulatorConfig::default() };
    let sim = Simulator::start(config).await.unwrap();
    let root = reqwest::Certificate::from_pem(sim.root_certificate_pem().unwrap().as_bytes()).unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let described: Value =
        http.get(format!("{}/sim", sim.https_url().unwrap())).send().await.unwrap().json().await.unwrap();
    assert_eq!(described["tenant_id"], json!(sim.tenant().id()));
    assert_eq!(described["graph_url"], json!(sim.https_url()));
    sim.stop().await;
}

#[tokio::test]
async fn a_stopped_simulator_is_gone() {
    let stage = Stage::set().await;
    let url = stage.sim.url();
    stage.sim.stop().await;
    let fresh = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(fresh.get(url).send().await.is_err());
}
