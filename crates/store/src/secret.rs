//! Secrets at rest (G-25): authenticated encryption bound to the row, and keyed hashes for what is only compared.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

use crate::error::StoreError;

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;

/// What a keyed hash is for: each purpose has a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacPurpose {
    /// The path token of a connection.
    PathToken,
    /// The clientState of a subscription.
    ClientState,
}

impl MacPurpose {
    const fn label(self) -> &'static str {
        match self {
            Self::PathToken => "mac/path_token",
            Self::ClientState => "mac/client_state",
        }
    }
}

/// Where a sealed value stands. It opens nowhere else.
pub struct Place<'a> {
    /// The table.
    pub table: &'static str,
    /// The id of the row.
    pub row: &'a str,
    /// The column.
    pub column: &'static str,
}

/// The keys of this installation. Has no `Debug`: it must not reach a log.
pub struct Keys {
    id: String,
    seal: SecretSlice<u8>,
    path_token: SecretSlice<u8>,
    client_state: SecretSlice<u8>,
}

impl Keys {
    /// One key for each purpose, all derived from the 32 bytes of the key file.
    pub(crate) fn derive(id: String, master: &[u8; 32]) -> Self {
        let key = |label: &str| SecretSlice::from(digest(master, label.as_bytes()).to_vec());
        Self {
            id,
            seal: key("seal"),
            path_token: key(MacPurpose::PathToken.label()),
            client_state: key(MacPurpose::ClientState.label()),
        }
    }

    /// The id of the key file; not a secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Encrypts with a fresh random nonce, bound to its place.
    pub fn seal(&self, place: &Place<'_>, plain: &[u8]) -> Vec<u8> {
        let nonce = random_bytes::<NONCE_BYTES>();
        let bound = self.bound_to(place);
        let payload = Payload { msg: plain, aad: &bound };
        // AES-GCM refuses only messages of 64 GiB and more.
        #[allow(clippy::expect_used)]
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), payload).expect("a secret is shorter than 64 GiB");
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        bytes
    }

    /// Decrypts what [`Keys::seal`] made for this place.
    ///
    /// # Errors
    /// `Unsealable` when it was altered, made for another place or under another key.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<SecretSlice<u8>, StoreError> {
        let unsealable =
            || StoreError::Unsealable { table: place.table, column: place.column, row: place.row.to_owned() };
        let (&format, rest) = sealed.split_first().ok_or_else(unsealable)?;
        let (nonce, message) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(unsealable)?;
        if format != FORMAT {
            return Err(unsealable());
        }
        let bound = self.bound_to(place);
        let payload = Payload { msg: message, aad: &bound };
        let plain = self.cipher().decrypt(&Nonce::from(*nonce), payload).map_err(|_| unsealable())?;
        Ok(SecretSlice::from(plain))
    }

    /// The keyed hash under which a value is stored that is only ever compared.
    pub fn mac(&self, purpose: MacPurpose, value: &[u8]) -> [u8; 32] {
        digest(self.mac_key(purpose).expose_secret(), value)
    }

    /// Compares in constant time.
    pub fn verify_mac(&self, purpose: MacPurpose, value: &[u8], expected: &[u8; 32]) -> bool {
        keyed(self.mac_key(purpose).expose_secret()).chain_update(value).verify_slice(expected).is_ok()
    }

    fn mac_key(&self, purpose: MacPurpose) -> &SecretSlice<u8> {
        match purpose {
            MacPurpose::PathToken => &self.path_token,
            MacPurpose::ClientState => &self.client_state,
        }
    }

    fn cipher(&self) -> Aes256Gcm {
        #[allow(clippy::expect_used)]
        Aes256Gcm::new_from_slice(self.seal.expose_secret()).expect("derived keys have 32 bytes")
    }

    fn bound_to(&self, place: &Place<'_>) -> Vec<u8> {
        [place.table, place.row, place.column, &self.id].join("\0").into_bytes()
    }
}

/// `N` bytes nobody can guess.
#[allow(clippy::expect_used)]
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Going on without randomness would make secrets guessable: there is no better answer than to stop.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    #[allow(clippy::expect_used)]
    <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn digest(key: &[u8], value: &[u8]) -> [u8; 32] {
    keyed(key).chain_update(value).finalize().into_bytes().into()
}
