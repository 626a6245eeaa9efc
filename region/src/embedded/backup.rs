//! Hot backup: a consistent copy of the database while it is in use, from this process or another one.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::{DATABASE_FILE, database_error, sync_folder};
use crate::{Error, Result};

/// Copies the database of a data folder into the new file `file`: the state of one moment, compact, while the owner of the
/// folder goes on writing. The copy appears under its name only when it is whole and on the disk.
///
/// To restore it, put it into an empty folder under the name `selvedge.db` and start the relay with `--restored`. Blobs are
/// plain files beside the database, written whole, and are copied by any tool.
///
/// # Errors
/// `Exists` when `file` is there; `NotFound` when the folder has no database; `Full` or `Unavailable` as the disk says.
pub async fn backup(folder: &Path, file: &Path) -> Result<()> {
    let source = folder.join(DATABASE_FILE);
    if !source.exists() {
        return Err(Error::NotFound { what: format!("database {}", source.display()) });
    }
    if file.exists() {
        return Err(Error::Exists { what: format!("backup {}", file.display()) });
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = file.with_file_name(name);
    remove_if_there(&partial)?;
    let copied = copy(&source, &partial).await.and_then(|()| publish(&partial, file));
    if copied.is_err() {
        remove_if_there(&partial)?;
    }
    copied
}

async fn copy(source: &Path, partial: &Path) -> Result<()> {
    let target = partial
        .to_str()
        .ok_or_else(|| Error::Invalid(format!("the backup's path {} is not UTF-8", partial.display())))?;
    let options = SqliteConnectOptions::new().filename(source).create_if_missing(false).disable_statement_logging();
    let mut connection = options.connect().await.map_err(|error| database_error("backup", error))?;
    let copied = sqlx::query("VACUUM INTO ?").bind(target).execute(&mut connection).await;
    let closed = connection.close().await;
    copied.map_err(|error| database_error("backup", error))?;
    closed.map_err(|error| database_error("backup", error))
}

/// Gives the whole copy its name.
fn publish(partial: &Path, file: &Path) -> Result<()> {
    let failed = |source: std::io::Error| Error::Failed { what: "backup", source: source.into() };
    std::fs::File::open(partial).and_then(|copy| copy.sync_all()).map_err(failed)?;
    std::fs::rename(partial, file).map_err(failed)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(folder).map_err(failed)
}

fn remove_if_there(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Failed { what: "backup", source: source.into() })
        }
        _ => Ok(()),
    }
}
