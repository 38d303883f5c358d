//! Tokens: what the operator is told, and what a token's trouble must not do.

use lockstep_core::ErrorClass;
use lockstep_graph::{GraphClient, GraphError, UserRead};
use lockstep_simulator::Fault;

use crate::server::{Server, error, json};
use crate::stand::{Stand, client_of, connection, secret};

#[tokio::test]
async fn a_secret_opens_the_tenant_and_names_it() {
    let stand = Stand::start().await;
    stand.graph.check_token().await.unwrap();
    let organization = stand.graph.organization().await.unwrap();
    assert_eq!(organization.id.0, stand.tenant.id());
    assert!(organization.verified_domains.contains(&stand.tenant.domain()));
    assert_eq!(stand.graph.requests_sent(), 1, "token requests are not counted");
}

#[tokio::test]
async fn fa14_a_wrong_secret_says_what_to_do_and_heals_with_the_right_one() {
    let stand = Stand::start().await;
    stand.graph.replace_credential(secret("canary-not-the-secret")).unwrap();

    let refused = stand.graph.organization().await.unwrap_err();
    assert_eq!(refused, GraphError::TokenRefused { aadsts: Some(7_000_215) });
    assert_eq!(refused.class(), ErrorClass::Permanent);
    assert!(refused.is_connection_wide(), "no object loses an attempt by it");
    let told = refused.operator_sentence();
    assert!(told.contains("secret's value, not its id") && told.contains("AADSTS7000215"), "{told}");
    assert!(!format!("{refused} {refused:?} {told}").contains("canary"));
    assert_eq!(stand.graph.requests_sent(), 0, "nothing went to Graph");

    stand.graph.replace_credential(secret(&stand.tenant.client_secret())).unwrap();
    stand.graph.organization().await.unwrap();
}

#[tokio::test]
async fn an_unknown_tenant_is_told_apart() {
    let stand = Stand::start().await;
    let mut elsewhere = connection(&stand.simulator, &stand.tenant);
    elsewhere.tenant = "11111111-2222-4333-8444-555555555555".to_owned();
    let refused = GraphClient::connect(elsewhere).unwrap().organization().await.unwrap_err();
    assert_eq!(refused, GraphError::UnknownTenant);
    assert!(refused.operator_sentence().contains("AADSTS90002"));
}

#[tokio::test]
async fn a_tenant_that_names_none_is_refused_before_any_request() {
    let stand = Stand::start().await;
    for tenant in ["common", "Organizations", "", "../other", "contoso.example/x", "contöso.example"] {
        let mut connection = connection(&stand.simulator, &stand.tenant);
        connection.tenant = tenant.to_owned();
        let refused = GraphClient::connect(connection).err();
        assert!(matches!(refused, Some(GraphError::SettingRefused { which: "tenant", .. })), "{tenant}");
    }
}

#[tokio::test]
async fn fifty_readers_share_one_token() {
    let stand = Stand::start().await;
    let ada = stand.person("Ada Lovelace");
    let reads = (0..50).map(|_| stand.graph.read_user(ada));
    for read in futures::future::join_all(reads).await {
        assert!(matches!(read, Ok(UserRead::Present(_))));
    }
    assert_eq!(stand.simulator.counters().requests.get("POST token"), Some(&1));
}

#[tokio::test]
async fn fa14_one_401_costs_one_new_token_and_nothing_else() {
    let server = Server::start(|request| match request.head.contains("bearer token-1\r\n") {
        true => error(401, "InvalidAuthenticationToken", "expired"),
        false => json(r#"{"value":[{"id":"7c1f0a52-3b5e-4d0e-9a61-0f2f6f6a1d11"}]}"#),
    })
    .await;
    let graph = client_of(&server.base);
    let (first, second) = tokio::join!(graph.organization(), graph.organization());
    first.unwrap();
    second.unwrap();
    graph.organization().await.unwrap();
    assert_eq!(server.token_requests(), 2);
}

#[tokio::test]
async fn fa14_a_second_401_is_for_the_operator() {
    let server = Server::start(|_| error(401, "InvalidAuthenticationToken", "no")).await;
    let graph = client_of(&server.base);
    let refused = graph.organization().await.unwrap_err();
    assert_eq!(refused, GraphError::AccessTokenRejected { call: "GET /organization" });
    assert_eq!(refused.class(), ErrorClass::Permanent);
    assert_eq!((server.graph_requests().len(), server.token_requests()), (2, 2));
    assert_eq!(graph.requests_sent(), 2);
}

#[tokio::test]
async fn fa14_a_deleted_enterprise_application_is_told_apart() {
    let server = Server::start(|_| error(401, "Authorization_IdentityNotFound", "gone")).await;
    let refused = client_of(&server.base).organization().await.unwrap_err();
    assert_eq!(refused, GraphError::IdentityGone { call: "GET /organization" });
    assert!(refused.operator_sentence().contains("consent"));
}

#[tokio::test]
async fn fa14_lost_consent_names_the_permission_and_is_no_absence() {
    let stand = Stand::start().await;
    let ada = stand.person("Ada Lovelace");
    stand.tenant.set_permissions(Vec::new());
    let refused = stand.graph.read_user(ada).await.unwrap_err();
    let expected = GraphError::PermissionMissing { call: "GET /users/{id}", permission: "User.Read.All" };
    assert_eq!(refused, expected);
    assert!(refused.operator_sentence().contains("User.Read.All"));
}

#[tokio::test]
async fn a_login_host_in_trouble_is_passing_trouble() {
    let stand = Stand::start().await;
    stand.simulator.set_fault(Fault { status: Some(503), remaining: Some(1), ..Fault::on("token") });
    let failed = stand.graph.check_token().await.unwrap_err();
    assert!(matches!(failed, GraphError::TokenUnavailable { .. }), "{failed:?}");
    assert_eq!(failed.class(), ErrorClass::Transient { retry_after: None });
    stand.graph.check_token().await.unwrap();
}
