//! The app registration and its consent: what an administrator changes about Lockstep itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Tenant;
use crate::error::SimulatorError;
use crate::identity::certificate::Certificate;
use crate::sync::{lock, read, write};

/// How the tenant stands to the app (`graph-contract.md` sections 9 and 10).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// It may get tokens and use them.
    #[default]
    Active,
    /// Switched off by an administrator: no new tokens (7000112), old ones still work.
    Disabled,
    /// The enterprise app was deleted: no new tokens (7000229), and old ones are answered 401
    /// `Authorization_IdentityNotFound`.
    Removed,
}

impl Tenant {
    /// The app registration's id.
    pub fn client_id(&self) -> Uuid {
        self.state.app.client_id
    }

    /// The app registration's secret.
    pub fn client_secret(&self) -> String {
        read(&self.state.secret).clone()
    }

    /// Replaces the app registration's secret; tokens already given out stay good.
    pub fn set_client_secret(&self, secret: &str) {
        secret.clone_into(&mut write(&self.state.secret));
    }

    /// Registers one more certificate (PEM, RSA key) that may sign client assertions.
    ///
    /// # Errors
    /// When the text is no certificate, or its key is not RSA.
    pub fn add_certificate(&self, pem: &str) -> Result<(), SimulatorError> {
        let certificate = Certificate::from_pem(pem).map_err(SimulatorError::Refused)?;
        write(&self.state.certificates).push(certificate);
        Ok(())
    }

    /// Registers exactly these certificates; none ends the use of certificates.
    ///
    /// # Errors
    /// As [`Tenant::add_certificate`]; then the ones before stay.
    pub fn set_certificates(&self, pems: &[String]) -> Result<(), SimulatorError> {
        let certificates = pems.iter().map(|pem| Certificate::from_pem(pem)).collect::<Result<Vec<_>, _>>();
        *write(&self.state.certificates) = certificates.map_err(SimulatorError::Refused)?;
        Ok(())
    }

    /// Consents to exactly these application permissions; seen in tokens given out from now on.
    pub fn set_permissions(&self, permissions: Vec<String>) {
        *write(&self.state.permissions) = permissions;
    }

    /// The same, and tokens already given out lose what is not among them.
    pub fn set_permissions_at_once(&self, permissions: Vec<String>) {
        self.world.tokens.narrow(self.state.id, &permissions);
        self.set_permissions(permissions);
    }

    /// Switches the app off or on in this tenant, or deletes it from there.
    pub fn set_app_state(&self, app: AppState) {
        *write(&self.state.app_state) = app;
    }

    /// Changes how long tokens given out from now on live, in simulated time.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        *write(&self.state.token_lifetime) = lifetime;
    }

    /// Ends all tokens given out so far, now.
    pub fn expire_tokens(&self) {
        self.world.tokens.expire(self.state.id, self.world.clock.now_micros());
    }

    /// The ids of the live subscriptions.
    pub fn subscriptions(&self) -> Vec<Uuid> {
        let live = self.state.live_subscriptions(self.world.clock.now_micros());
        live.into_iter().map(|subscription| subscription.id).collect()
    }

    /// Forgets all subscriptions without telling anyone, as has been seen in the field.
    pub fn lose_subscriptions(&self) {
        lock(&self.state.subscriptions).clear();
    }

    /// Forgets one subscription without telling anyone.
    ///
    /// # Errors
    /// When there is no such subscription.
    pub fn lose_subscription(&self, subscription: Uuid) -> Result<(), SimulatorError> {
        let lost = lock(&self.state.subscriptions).remove(&subscription);
        lost.map(|_| ()).ok_or_else(|| self.not_found("subscription", subscription))
    }
}
