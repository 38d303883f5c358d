//! The key file: 32 random bytes in base64url with an id, one line, readable by its owner alone.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use crate::error::StoreError;
use crate::secret::{Keys, random_bytes};

const PREFIX: &str = "lockstep-key-1";
const READABLE_BY_OTHERS: u32 = 0o077;

/// Reads the keys; `None` when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Keys>, StoreError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("reading the key file", path, source)),
    };
    if metadata.permissions().mode() & READABLE_BY_OTHERS != 0 {
        let path = path.display();
        return Err(StoreError::refused(format!("others can read the key file {path}: run chmod 600 {path}")));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|source| failed("reading the key file", path, source))?);
    parse(&text).map(Some).ok_or_else(|| {
        let path = path.display();
        StoreError::refused(format!("{path} is not a Lockstep key file: put the one this store was made with there"))
    })
}

fn parse(text: &str) -> Option<Keys> {
    let mut words = text.split_whitespace();
    let (prefix, id, key) = (words.next()?, words.next()?, words.next()?);
    if prefix != PREFIX || words.next().is_some() {
        return None;
    }
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(key).ok()?);
    let master: &[u8; 32] = bytes.as_slice().try_into().ok()?;
    Some(Keys::derive(id.to_owned(), master))
}

/// Makes the key file, unless another process was quicker.
pub(crate) fn create(path: &Path) -> Result<(), StoreError> {
    let unfinished = path.with_extension(format!("{}.new", Uuid::new_v4().simple()));
    let line = Zeroizing::new(format!(
        "{PREFIX} {} {}\n",
        Uuid::new_v4().simple(),
        URL_SAFE_NO_PAD.encode(random_bytes::<32>())
    ));
    let written = write_private(&unfinished, line.as_bytes());
    // Linked into place only when complete: nobody ever reads half a key, and the first one stays.
    let linked = written.and_then(|()| match fs::hard_link(&unfinished, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let _ = fs::remove_file(&unfinished);
    linked.map_err(|source| failed("making the key file", path, source))
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    StoreError::File { operation, path: path.to_owned(), source }
}
