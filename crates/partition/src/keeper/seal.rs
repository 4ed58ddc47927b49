//! The seal file: 18 bytes of magic, the key-encryption key, and the key that wraps the store's key.

use rustix::fs::{Mode, OFlags, RenameFlags};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use strongroom_model::SecretBytes;

/// First bytes of the file: what it is, and the version of its format.
const MAGIC: &[u8; 18] = b"strongroom seal 1\n";
/// Bytes of each of the two keys.
const KEY: usize = 32;
const SIZE: usize = MAGIC.len() + 2 * KEY;
/// Everything a mode can grant to others than the owner.
const FOREIGN_BITS: u32 = 0o077;
/// Whatever begins like this in the data folder was made under a seal.
const STORE_PREFIX: &str = "store";

/// Why the seal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is none, and none is to be made.
    #[error(
        "there is no seal file at {0}: restore it from its backup, or make one for a new data folder (`strongroom seal create {0}`)"
    )]
    Missing(PathBuf),
    /// There is something where a new one was to be made.
    #[error("the seal file {0} exists already: it is never overwritten, since without it every key is lost")]
    Exists(PathBuf),
    /// There is none, but a store that was made under one.
    #[error(
        "there is no seal file at {seal}, but {data} holds a store that was made under one: restore the seal file from its backup"
    )]
    Lost {
        /// Where the seal should be.
        seal: PathBuf,
        /// The data folder.
        data: PathBuf,
    },
    /// It lies in the data folder.
    #[error("the seal file {0} must lie outside of the data folder: a copy of the data must not contain the key to it")]
    InsideData(PathBuf),
    /// Others than its owner may reach it.
    #[error("the seal file {path} has mode {mode:04o}: make it 0600 (`chmod 600 {path}`)")]
    TooOpen {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error(
        "the seal file {path} belongs to user {owner}, this process runs as user {user}: give it to that user (`chown`)"
    )]
    Owner {
        /// Which file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Ours.
        user: u32,
    },
    /// It has other names, under which it could be reached where it must not be.
    #[error(
        "the seal file {0} has other names (hard links): the service could reach it under another one; remove the others, or \
         copy it to a new file"
    )]
    Linked(PathBuf),
    /// It is something else.
    #[error("{0} is not a seal file of this version: it has another size or other first bytes")]
    NotASeal(PathBuf),
    /// The system refused.
    #[error("the seal file {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// The opened seal.
pub(super) struct Seal {
    /// Wraps the roots of the pools.
    pub(super) kek: SecretBytes,
    /// Wraps the store's key.
    pub(super) store: SecretBytes,
}

/// Opens the seal at `path`, or makes it when that is wanted, there is none, and `data` holds no store yet.
pub(super) fn open(path: &Path, data: &Path, create: bool) -> Result<Seal, SealError> {
    refuse_inside(path, data)?;
    match read(path) {
        Err(SealError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let failed = |error| SealError::Io(path.to_owned(), error);
    if holds_store(data).map_err(failed)? {
        return Err(SealError::Lost { seal: path.to_owned(), data: data.to_owned() });
    }
    if !create {
        return Err(SealError::Missing(path.to_owned()));
    }
    make(path).map_err(failed)?;
    read(path)
}

/// Makes a seal file with new random keys at `path`, where nothing may be yet.
pub fn create_seal(path: &Path) -> Result<(), SealError> {
    make(path).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            SealError::Exists(path.to_owned())
        } else {
            SealError::Io(path.to_owned(), error)
        }
    })
}

/// Follows links as far as the paths exist, so that a link into the data folder is found out.
fn refuse_inside(path: &Path, data: &Path) -> Result<(), SealError> {
    let real = |p: &Path| {
        let known = p.canonicalize();
        known.or_else(|_| Ok(p.parent().unwrap_or(p).canonicalize()?.join(p.file_name().unwrap_or_default())))
    };
    let Ok(data): io::Result<PathBuf> = real(data) else { return Ok(()) };
    match real(path) {
        Ok(path) if path.starts_with(&data) => Err(SealError::InsideData(path)),
        Ok(_) => Ok(()),
        Err(_) if path.starts_with(&data) => Err(SealError::InsideData(path.to_owned())),
        Err(_) => Ok(()),
    }
}

fn holds_store(data: &Path) -> io::Result<bool> {
    match std::fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(entries) => {
            for entry in entries {
                if entry?.file_name().to_string_lossy().starts_with(STORE_PREFIX) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

fn read(path: &Path) -> Result<Seal, SealError> {
    let failed = |error: rustix::io::Errno| SealError::Io(path.to_owned(), error.into());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    let stat = rustix::fs::fstat(&file).map_err(failed)?;
    let user = rustix::process::geteuid().as_raw();
    if stat.st_uid != user && stat.st_uid != 0 {
        return Err(SealError::Owner { path: path.to_owned(), owner: stat.st_uid, user });
    }
    if stat.st_mode & FOREIGN_BITS != 0 {
        return Err(SealError::TooOpen { path: path.to_owned(), mode: stat.st_mode & 0o7777 });
    }
    if stat.st_nlink != 1 {
        return Err(SealError::Linked(path.to_owned()));
    }
    let bytes = SecretBytes::fill_with(SIZE + 1, |buffer| read_exactly(&file, buffer)).map_err(failed)?;
    let keys = bytes.expose().strip_prefix(MAGIC).filter(|_| stat.st_size == SIZE as _);
    let keys = keys.and_then(|k| Some((k.get(..KEY)?, k.get(KEY..2 * KEY)?)));
    let (kek, store) = keys.ok_or_else(|| SealError::NotASeal(path.to_owned()))?;
    Ok(Seal { kek: SecretBytes::copy_of(kek), store: SecretBytes::copy_of(store) })
}

/// Reads to the end of the file or of the buffer.
fn read_exactly(file: &impl AsFd, mut buffer: &mut [u8]) -> rustix::io::Result<()> {
    loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut *buffer))?;
        buffer = buffer.get_mut(count..).unwrap_or_default();
        if count == 0 || buffer.is_empty() {
            return Ok(());
        }
    }
}

/// Writes a new seal beside its place and moves it there, so that a crash leaves a whole one or none; never replaces a file.
fn make(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match rustix::fs::mkdir(folder, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let bytes = SecretBytes::fill_with(SIZE, |out| {
        let (magic, keys) = out.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        let mut keys = keys;
        while !keys.is_empty() {
            let count = rustix::rand::getrandom(&mut *keys, rustix::rand::GetRandomFlags::empty())?;
            keys = keys.get_mut(count..).unwrap_or_default();
        }
        Ok::<(), rustix::io::Errno>(())
    })?;
    let mut draft = path.to_owned().into_os_string();
    draft.push(format!(".new-{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::open(&draft, flags, Mode::RUSR | Mode::WUSR)?;
    let written = write(&file, bytes.expose()).and_then(|()| {
        rustix::fs::renameat_with(rustix::fs::CWD, &draft, rustix::fs::CWD, path, RenameFlags::NOREPLACE)
    });
    if let Err(error) = written {
        // The first error is the one to report.
        let _ = rustix::fs::unlink(&draft);
        return Err(error.into());
    }
    let folder = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::fsync(folder)?;
    Ok(())
}

fn write(file: &impl AsFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(file, bytes))?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    rustix::fs::fsync(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let (seal, data) = (root.path().join("node.seal"), root.path().join("data"));
        std::fs::create_dir(&data).unwrap();
        (root, seal, data)
    }

    #[test]
    fn a_seal_is_made_once_and_opens_the_same_ever_after() {
        let (_root, seal, data) = folders();
        assert!(matches!(open(&seal, &data, false), Err(SealError::Missing(_))));
        let made = open(&seal, &data, true).unwrap();
        assert_eq!(std::fs::metadata(&seal).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(seal.parent().unwrap()).unwrap().count(), 2);
        for create in [false, true] {
            let again = open(&seal, &data, create).unwrap();
            assert!(again.kek.same_as(made.kek.expose()) && again.store.same_as(made.store.expose()));
        }
        assert!(!made.kek.same_as(made.store.expose()) && !made.kek.same_as(&[0; KEY]));
    }

    #[test]
    fn a_lost_seal_is_not_replaced_beside_its_store() {
        let (_root, seal, data) = folders();
        std::fs::write(data.join("store.redb"), b"records").unwrap();
        assert!(matches!(open(&seal, &data, true), Err(SealError::Lost { .. })));
        assert!(!seal.exists());
    }

    #[test]
    fn a_seal_in_the_data_folder_is_refused_through_links_too() {
        let (root, seal, data) = folders();
        assert!(matches!(open(&data.join("node.seal"), &data, true), Err(SealError::InsideData(_))));
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&data, &link).unwrap();
        assert!(matches!(open(&link.join("node.seal"), &data, true), Err(SealError::InsideData(_))));
        open(&seal, &data, true).unwrap();
        std::fs::rename(&seal, data.join("moved")).unwrap();
        std::os::unix::fs::symlink(data.join("moved"), &seal).unwrap();
        assert!(matches!(open(&seal, &data, false), Err(SealError::InsideData(_))));
    }

    #[test]
    fn a_seal_with_a_second_name_is_refused() {
        let (_root, seal, data) = folders();
        open(&seal, &data, true).unwrap();
        std::fs::hard_link(&seal, data.join("copy")).unwrap();
        assert!(matches!(open(&seal, &data, true), Err(SealError::Linked(_))));
        std::fs::remove_file(data.join("copy")).unwrap();
        open(&seal, &data, true).unwrap();
    }

    #[test]
    fn other_files_and_looser_modes_are_refused() {
        let (_root, seal, data) = folders();
        open(&seal, &data, true).unwrap();
        let good = std::fs::read(&seal).unwrap();
        for mode in [0o640, 0o604, 0o610, 0o601, 0o602] {
            std::fs::set_permissions(&seal, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(open(&seal, &data, true), Err(SealError::TooOpen { .. })), "{mode:o}");
        }
        std::fs::set_permissions(&seal, std::fs::Permissions::from_mode(0o600)).unwrap();
        let longer = [&good[..], b"x"].concat();
        let mut other = good.clone();
        other[16] = b'2';
        for bad in [&b""[..], &good[..good.len() - 1], &longer, &other] {
            std::fs::write(&seal, bad).unwrap();
            assert!(matches!(open(&seal, &data, true), Err(SealError::NotASeal(_))));
        }
    }
}
