//! The keys that all nodes share: sealed with the master key, they lie in the database.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::SigningKey;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use commands::KeyedHash;
use sqlx::PgPool;
use sqlx::postgres::types::PgInterval;

use crate::system::random;

const NONCE_BYTES: usize = 24;
const SIGNING: &str = "signing";
const KEYED_HASH: &str = "keyed-hash";
const FIRST: &str = "1";
/// Time that every node gets to learn of a new key. Each looks four times as often.
pub(crate) const LEARNING: Duration = Duration::from_mins(2);

/// Errors of the keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("SWITCHBOARD_MASTER_KEY must be 64 hexadecimal digits")]
    Malformed,
    #[error("{0} must hold 64 hexadecimal digits: it holds the master key, so restore it from a backup")]
    MalformedFile(PathBuf),
    #[error("the master key can't be kept in {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("the master key doesn't open the keys in the database: every node needs the same SWITCHBOARD_MASTER_KEY")]
    WrongMasterKey,
    #[error("the keys can't be read from the database")]
    Database(#[from] sqlx::Error),
}

/// The keys that the program works with.
pub(crate) struct Keys {
    pub(crate) signing: Vec<SigningKey>,
    pub(crate) keyed_hash: KeyedHash,
}

/// The key that seals the others.
#[derive(Clone)]
pub(crate) struct MasterKey(XChaCha20Poly1305);

impl MasterKey {
    /// The key that was set, or else the one in the data directory, where one is made up if there is none.
    pub(crate) fn load(setting: Option<&str>, data_dir: &Path) -> Result<Self, KeyError> {
        let bytes = match setting {
            Some(setting) => read_key(setting).ok_or(KeyError::Malformed)?,
            None => read_or_make(&data_dir.join("master.key"))?,
        };
        Ok(Self(XChaCha20Poly1305::new(&bytes.into())))
    }

    fn seal(&self, purpose: &str, key: &[u8; 32]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&random()[..NONCE_BYTES]);
        let payload = Payload { msg: key, aad: purpose.as_bytes() };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload).expect("32 bytes are never too many");
        [nonce.as_slice(), &sealed].concat()
    }

    fn open(&self, purpose: &str, sealed: &[u8]) -> Result<[u8; 32], KeyError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(KeyError::WrongMasterKey)?;
        let payload = Payload { msg: sealed, aad: purpose.as_bytes() };
        let key = self.0.decrypt(&XNonce::from(*nonce), payload).map_err(|_| KeyError::WrongMasterKey)?;
        key.try_into().map_err(|_| KeyError::WrongMasterKey)
    }
}

/// 32 bytes from 64 hexadecimal digits.
fn read_key(digits: &str) -> Option<[u8; 32]> {
    hex::decode(digits.trim()).ok()?.try_into().ok()
}

fn read_or_make(path: &Path) -> Result<[u8; 32], KeyError> {
    let failed = |source| KeyError::File { path: path.to_owned(), source };
    match std::fs::read_to_string(path) {
        Ok(text) => read_key(&text).ok_or_else(|| KeyError::MalformedFile(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = random();
            match write_new(path, &hex::encode(key)) {
                Ok(()) => Ok(key),
                // Another node that shares the directory was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_or_make(path),
                Err(error) => Err(failed(error)),
            }
        }
        Err(error) => Err(failed(error)),
    }
}

/// Writes a new file for our own eyes only: as a whole and on disk, or not at all. Fails when there is one already.
fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    let written = file.write_all(content.as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| std::fs::hard_link(&aside, path));
    std::fs::remove_file(&aside)?;
    linked?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(dir)?.sync_all()
}

/// Reads the keys, and makes those that don't exist yet. Nodes that start together agree on one of each.
pub(crate) async fn load(pool: &PgPool, master: &MasterKey) -> Result<Keys, KeyError> {
    make(pool, master, SIGNING, FIRST).await?;
    make(pool, master, KEYED_HASH, FIRST).await?;
    let sealed = sqlx::query_scalar!("SELECT sealed FROM keys WHERE purpose = $1 AND id = $2", KEYED_HASH, FIRST)
        .fetch_one(pool)
        .await?;
    let keyed_hash = KeyedHash::new(&master.open(KEYED_HASH, &sealed)?);
    Ok(Keys { signing: signing_keys(pool, master).await?, keyed_hash })
}

/// The signing keys that are good: the one that signs comes first. A new one signs only once every node has had the time to learn
/// of it.
async fn signing_keys(pool: &PgPool, master: &MasterKey) -> Result<Vec<SigningKey>, KeyError> {
    let rows = sqlx::query!(
        r#"SELECT id, sealed, created_at < now() - $2::interval AS "is_known!" FROM keys
           WHERE purpose = $1 ORDER BY id::bigint DESC"#,
        SIGNING,
        interval(LEARNING)
    )
    .fetch_all(pool)
    .await?;
    let mut keys = vec![];
    // The only one there is signs, however new it is.
    let signs = rows.iter().position(|row| row.is_known).unwrap_or(rows.len().saturating_sub(1));
    for (n, row) in rows.into_iter().enumerate() {
        let key = SigningKey { secret: master.open(SIGNING, &row.sealed)?, id: row.id };
        keys.insert(if n == signs { 0 } else { keys.len() }, key);
    }
    Ok(keys)
}

/// Makes another signing key once the newest has signed for long enough, and throws those away whose tokens have all run out. To
/// be done now and then, by every node. Returns the keys that are good.
pub(crate) async fn rotate(
    pool: &PgPool,
    master: &MasterKey,
    key_life: Duration,
    token_life: Duration,
) -> Result<Vec<SigningKey>, KeyError> {
    let next = sqlx::query_scalar!(
        // Two are alive at most: another one has to wait until the one before is of no use any more.
        r#"SELECT max(id::bigint) + 1 AS "next!" FROM keys WHERE purpose = $1
           HAVING count(*) < 2 AND max(created_at) < now() - $2::interval"#,
        SIGNING,
        interval(key_life)
    )
    .fetch_optional(pool)
    .await?;
    if let Some(next) = next {
        // Whichever node is first.
        make(pool, master, SIGNING, &next.to_string()).await?;
        tracing::info!(key = next, "signing key rotated; the new key takes effect once every node knows it");
    }
    // What the key before signed last has run out by then.
    sqlx::query!(
        "DELETE FROM keys old WHERE purpose = $1 AND EXISTS (
             SELECT FROM keys new
             WHERE new.purpose = $1 AND new.id::bigint > old.id::bigint AND new.created_at < now() - $2::interval
         )",
        SIGNING,
        interval(LEARNING * 2 + token_life)
    )
    .execute(pool)
    .await?;
    signing_keys(pool, master).await
}

/// Makes a key, unless there is one of that name.
async fn make(pool: &PgPool, master: &MasterKey, purpose: &str, id: &str) -> Result<(), KeyError> {
    sqlx::query!(
        // The first one is made only if there is none: it may have been thrown away since.
        "INSERT INTO keys (purpose, id, sealed)
         SELECT $1, $2, $3 WHERE $2 <> '1' OR NOT EXISTS (SELECT FROM keys WHERE purpose = $1)
         ON CONFLICT DO NOTHING",
        purpose,
        id,
        master.seal(purpose, &random())
    )
    .execute(pool)
    .await?;
    Ok(())
}

fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_with_the_same_master_key_for_the_same_purpose() {
        let master = MasterKey::load(Some(&"ab".repeat(32)), Path::new("")).unwrap();
        let other = MasterKey::load(Some(&"cd".repeat(32)), Path::new("")).unwrap();
        let sealed = master.seal("signing", &[7; 32]);
        assert_eq!(master.open("signing", &sealed).unwrap(), [7; 32]);
        assert!(matches!(master.open("keyed-hash", &sealed), Err(KeyError::WrongMasterKey)));
        assert!(matches!(other.open("signing", &sealed), Err(KeyError::WrongMasterKey)));
        assert!(matches!(master.open("signing", &sealed[..10]), Err(KeyError::WrongMasterKey)));
    }

    #[test]
    fn a_master_key_is_made_once_and_readable_to_nobody_else() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let sealed = MasterKey::load(None, dir.path()).unwrap().seal("signing", &[7; 32]);
        assert_eq!(MasterKey::load(None, dir.path()).unwrap().open("signing", &sealed).unwrap(), [7; 32]);
        let mode = std::fs::metadata(dir.path().join("master.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_malformed_master_key_is_refused() {
        assert!(matches!(MasterKey::load(Some("secret"), Path::new("")), Err(KeyError::Malformed)));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("master.key"), "oops").unwrap();
        assert!(matches!(MasterKey::load(None, dir.path()), Err(KeyError::MalformedFile(_))));
    }
}
