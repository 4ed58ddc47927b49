//! `strongroom bench make-store`: a home of `strongroom dev` with many keys, each made by an ordinary request.
//!
//! Nothing is short-cut: the keys are sealed by the partition and each creation is in the audit log. It is fast because
//! concurrent creations share the store's syncs.

use super::BenchError;
use super::server::Server;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

/// Keys after which progress is told and a new token is asked for.
const PART: u64 = 10_000;
/// What is noted beside the store: how it was made.
const NOTE: &str = "made.json";
/// Of so many keys in a row the last one is an AES key, the others are EC keys.
const AES_EACH: u64 = 4;

/// What to make.
#[derive(clap::Args, Debug)]
pub(crate) struct MakeStoreArgs {
    /// Key versions to make.
    versions: u64,
    /// The folder, made anew: a home as of `strongroom dev --data`.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Versions of each key.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    each: u64,
    /// Connections at once.
    #[arg(long, default_value_t = 128)]
    connections: u64,
}

/// How a store was made.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Made {
    /// Keys, from number 0 on.
    pub(super) keys: u64,
    /// Versions of each.
    pub(super) each: u64,
}

impl Made {
    /// What the note beside a store says.
    pub(super) fn read(home: &Path) -> Result<Self, BenchError> {
        let text = std::fs::read(home.join(NOTE));
        let note = text.ok().and_then(|text| serde_json::from_slice(&text).ok());
        note.ok_or_else(|| BenchError::Folder(home.into(), "no store of `strongroom bench make-store` lies there"))
    }
}

/// The name of a key by its number.
pub(super) fn name(number: u64) -> String {
    format!("k{number:07}")
}

/// Whether the key of this number signs (P-256); the others are AES keys.
pub(super) fn signs(number: u64) -> bool {
    number % AES_EACH != AES_EACH - 1
}

/// Makes the store.
pub(super) async fn run(args: &MakeStoreArgs) -> Result<(), BenchError> {
    if std::fs::read_dir(&args.data).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(BenchError::Folder(args.data.clone(), "something lies there already: name another folder"));
    }
    let keys = args.versions.div_ceil(args.each);
    let server = Server::start(&args.data, &[])?;
    let begun = Instant::now();
    for from in (0..keys).step_by(usize::try_from(PART).unwrap_or(1)) {
        let part = from..keys.min(from + PART);
        let made = part.end * args.each;
        make(&server, part, args).await?;
        let rate = made as f64 / begun.elapsed().as_secs_f64();
        anstream::eprintln!("{made} of {} key versions, {rate:.0} a second", keys * args.each);
    }
    server.stop()?;
    let note = serde_json::to_vec(&Made { keys, each: args.each }).map_err(|_| BenchError::Setup("the note"))?;
    std::fs::write(args.data.join(NOTE), note)?;
    Ok(())
}

/// Makes the keys of a range, all versions of one by the same connection.
async fn make(server: &Server, part: std::ops::Range<u64>, args: &MakeStoreArgs) -> Result<(), BenchError> {
    let headers = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", server.token().await?);
    let next = Rc::new(Cell::new(part.start));
    let mut workers = Vec::new();
    for _ in 0..args.connections.max(1) {
        let (mut connection, target) = (server.target.connect().await?, server.target.clone());
        let (headers, next, end, each) = (headers.clone(), Rc::clone(&next), part.end, args.each);
        workers.push(tokio::task::spawn_local(async move {
            while next.get() < end {
                let number = next.replace(next.get() + 1);
                let body = if signs(number) { r#"{"kty":"EC"}"# } else { r#"{"kty":"oct","key_size":256}"# };
                let path = format!("/keys/{}/create?api-version=7.6", name(number));
                let request = target.request("POST", &path, &headers, body);
                for _ in 0..each {
                    let answer = connection.ask(&request).await?;
                    if answer.status != 200 {
                        let text = String::from_utf8_lossy(&answer.body).into_owned();
                        return Err(BenchError::Refused(answer.status, text));
                    }
                }
            }
            Ok(())
        }));
    }
    for worker in workers {
        worker.await.map_err(|_| BenchError::Setup("a worker"))??;
    }
    Ok(())
}
