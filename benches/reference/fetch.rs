//! The reference *fetch*: a reqwest loop on the simulator that asks for as many people in a request as Microsoft allows (20
//! filters of 15 ids) and does nothing with the answers.

use std::time::Instant;

use lockstep_core::profile::SELECT;
use lockstep_simulator::Simulator;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::{BenchError, During as _};
use crate::statistics::number;

const ATTEMPT: &str = "fetching as the reference does";
const IDS_PER_FILTER: usize = 15;
const FILTERS: usize = 20;

/// People read a second, one request after the other.
pub(crate) async fn rate(simulator: &Simulator, users: &[Uuid]) -> Result<f64, BenchError> {
    let (client, token) = client(simulator).await?;
    let address = format!("{}/v1.0/$batch", simulator.url());
    let began = Instant::now();
    for some in users.chunks(FILTERS * IDS_PER_FILTER) {
        let filters = some.chunks(IDS_PER_FILTER).enumerate().map(|(place, ids)| {
            let ids: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
            let url = format!("/users?$filter=id%20in%20({})&$select={}", ids.join(","), SELECT.join(","));
            json!({ "id": place.to_string(), "method": "GET", "url": url })
        });
        let body = json!({ "requests": filters.collect::<Vec<_>>() });
        let answer = client.post(&address).bearer_auth(&token).json(&body).send().await.during(ATTEMPT)?;
        answer.error_for_status().during(ATTEMPT)?.bytes().await.during(ATTEMPT)?;
    }
    Ok(number(users.len()) / began.elapsed().as_secs_f64())
}

/// The same as whoever knows no batches reads: one person a request.
pub(crate) async fn rate_one_by_one(simulator: &Simulator, users: &[Uuid]) -> Result<f64, BenchError> {
    let (client, token) = client(simulator).await?;
    let began = Instant::now();
    for user in users {
        let address = format!("{}/v1.0/users/{user}?$select={}", simulator.url(), SELECT.join(","));
        let answer = client.get(address).bearer_auth(&token).send().await.during(ATTEMPT)?;
        answer.error_for_status().during(ATTEMPT)?.bytes().await.during(ATTEMPT)?;
    }
    Ok(number(users.len()) / began.elapsed().as_secs_f64())
}

async fn client(simulator: &Simulator) -> Result<(reqwest::Client, String), BenchError> {
    #[allow(clippy::disallowed_methods, reason = "a reference shares no client with Lockstep")]
    let client = reqwest::Client::builder().no_proxy().build().during(ATTEMPT)?;
    let token = token(&client, simulator).await?;
    Ok((client, token))
}

async fn token(client: &reqwest::Client, simulator: &Simulator) -> Result<String, BenchError> {
    let tenant = simulator.tenant();
    let address = format!("{}/{}/oauth2/v2.0/token", simulator.url(), tenant.id());
    let form = [
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", tenant.client_id().to_string()),
        ("client_secret", tenant.client_secret()),
        ("scope", "https://graph.microsoft.com/.default".to_owned()),
    ];
    let answer = client.post(address).form(&form).send().await.during(ATTEMPT)?;
    let answer: Value = answer.error_for_status().during(ATTEMPT)?.json().await.during(ATTEMPT)?;
    Ok(answer["access_token"].as_str().unwrap_or_default().to_owned())
}
