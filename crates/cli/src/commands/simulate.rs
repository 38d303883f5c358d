//! `lockstep simulate`: a Microsoft tenant we control, to try Lockstep against.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lockstep_simulator::{Simulator, SimulatorConfig, Tenant};
use serde::Serialize;

use crate::demo::company::Company;
use crate::failure::{Failure, Outcome};
use crate::logging;
use crate::output::{self, Format};
use crate::stop::asked_to_stop;

#[derive(Args)]
pub struct Simulate {
    /// Where to serve http; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9400")]
    bind: SocketAddr,
    /// Serve https as well, with a root certificate made at start
    #[arg(long, value_name = "ADDR")]
    https_bind: Option<SocketAddr>,
    /// People in the tenant, most of them in its groups
    #[arg(long, value_name = "N", default_value_t = 24, conflicts_with = "empty")]
    users: usize,
    /// Start with nobody and no groups
    #[arg(long)]
    empty: bool,
    /// Added to every answer of Graph
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,
}

/// Everything needed to connect.
#[derive(Serialize)]
struct Ready {
    url: String,
    https_url: Option<String>,
    root_certificate: Option<PathBuf>,
    tenant_id: String,
    domain: String,
    client_id: String,
    client_secret: String,
    groups: Vec<Named>,
    users: Vec<Named>,
}

#[derive(Serialize)]
struct Named {
    id: String,
    name: String,
}

impl Simulate {
    pub async fn run(self, format: Format) -> Outcome {
        logging::start_quiet();
        let config = SimulatorConfig {
            bind: self.bind,
            https_bind: self.https_bind,
            latency: Duration::from_millis(self.latency_ms),
            ..SimulatorConfig::default()
        };
        let simulator =
            Simulator::start(config).await.map_err(|error| Failure::of("starting the simulator", &error))?;
        let ready = self.ready(&simulator)?;
        match format {
            Format::Json => output::json(&ready)?,
            Format::Table => output::line(&ready.shown())?,
        }
        asked_to_stop().await;
        simulator.stop().await;
        Ok(())
    }

    fn company(&self, tenant: &Tenant) -> Result<Company, Failure> {
        let company = Company::found(tenant)?;
        company.grow(tenant, self.users)?;
        Ok(company)
    }

    fn ready(&self, simulator: &Simulator) -> Result<Ready, Failure> {
        let tenant = simulator.tenant();
        let company = if self.empty { None } else { Some(self.company(&tenant)?) };
        let named = |(id, name): &(uuid::Uuid, String)| Named { id: id.to_string(), name: name.clone() };
        Ok(Ready {
            url: simulator.url(),
            https_url: simulator.https_url(),
            root_certificate: simulator.root_certificate_pem().map(keep_certificate).transpose()?,
            tenant_id: tenant.id().to_string(),
            domain: tenant.domain(),
            client_id: tenant.client_id().to_string(),
            client_secret: tenant.client_secret(),
            groups: company.iter().flat_map(Company::groups).map(named).collect(),
            users: company.iter().flat_map(|company| &company.people).map(named).collect(),
        })
    }
}

/// Clients read the root from a file (`SSL_CERT_FILE`). In the current folder, where nobody else may plant one.
fn keep_certificate(pem: String) -> Result<PathBuf, Failure> {
    let path = PathBuf::from("./lockstep-simulator-root.pem");
    std::fs::write(&path, pem)
        .map_err(|error| Failure::of(format!("writing the root certificate to {}", path.display()), &error))?;
    Ok(path)
}

impl Ready {
    fn shown(&self) -> String {
        let mut parts = vec![
            output::pairs(&[
                ("tenant", format!("{} ({})", self.tenant_id, self.domain)),
                ("client id", self.client_id.clone()),
                ("client secret", self.client_secret.clone()),
                ("Graph, sign-in and control API", self.url.clone()),
            ]),
            self.commands(),
        ];
        if let (Some(url), Some(root)) = (&self.https_url, &self.root_certificate) {
            parts.push(format!("https: {url}, root certificate: {0} (SSL_CERT_FILE={0})", root.display()));
        }
        for (title, list) in [("group", &self.groups), ("person", &self.users)] {
            if !list.is_empty() {
                let rows = list.iter().map(|named| vec![named.name.clone(), named.id.clone()]);
                parts.push(output::table(&[title, "id"], rows));
            }
        }
        parts.push("Ctrl-C ends it; nothing is kept.".to_owned());
        parts.join("\n\n")
    }

    /// To be pasted into another terminal as they are.
    fn commands(&self) -> String {
        let Self { url, tenant_id, client_id, client_secret, .. } = self;
        let mut text = format!(
            "In another terminal:\n\
             \x20 export LOCKSTEP_GRAPH_URL={url} LOCKSTEP_LOGIN_URL={url} LOCKSTEP_PUBLIC_URL=http://127.0.0.1:8080\n\
             \x20 lockstep serve &\n\
             \x20 echo '{client_secret}' | lockstep connection add contoso --tenant {tenant_id} --client-id {client_id} --client-secret-file -"
        );
        if let (Some(group), Some(person)) = (self.groups.first(), self.users.first()) {
            text.push_str(&format!(
                "\n\
                 \x20 printf '[[rule]]\\ngroup = \"{}\"\\norder = 10\\nkind = \"employee\"\\nrole = \"Technician\"\\n' > rules.toml\n\
                 \x20 lockstep rule apply contoso rules.toml && lockstep connection sync contoso --wait\n\
                 \x20 curl -X PATCH {url}/sim/users/{} -H 'content-type: application/json' -d '{{\"accountEnabled\": false}}'\n\
                 \x20 lockstep record list",
                group.id, person.id
            ));
        }
        text
    }
}
