//! `strongroom principal`: edits the directory file; the running service takes it over within a second.

use crate::dev::flags::{PrincipalName, UserName};
use crate::failure::Failure;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use strongroom_model::SecretBytes;
use strongroom_server::identity::settings::{
    Application, ApplicationSecret, Blocked, DirectoryFile, User, generate_secret, hash_password,
};
use uuid::Uuid;

/// Adds a service principal; a directory that is not there yet is begun.
pub(crate) fn add(path: &Path, name: &PrincipalName) -> Result<ExitCode, Failure> {
    let mut directory = if path.exists() { DirectoryFile::load(path)? } else { DirectoryFile::default() };
    if directory.applications.iter().any(|a| a.name.eq_ignore_ascii_case(name.as_str())) {
        return Err(Failure::configuration(format!(
            "{}: there is an application {:?} already",
            path.display(),
            name.as_str()
        )));
    }
    let (application, secret) = Application::generate(name.as_str())?;
    let (client_id, object_id) = (application.client_id, application.object_id);
    directory.applications.push(application);
    directory.save(path)?;
    let _closed = writeln!(io::stdout().lock(), "client id      {client_id}\nobject id      {object_id}");
    Ok(show_secret("client secret  ", &secret))
}

/// Adds a person; a directory that is not there yet is begun.
pub(crate) fn add_user(path: &Path, name: &UserName) -> Result<ExitCode, Failure> {
    let mut directory = if path.exists() { DirectoryFile::load(path)? } else { DirectoryFile::default() };
    if directory.users.iter().any(|u| u.user_name.eq_ignore_ascii_case(name.as_str())) {
        return Err(Failure::configuration(format!("{}: there is a user {:?} already", path.display(), name.as_str())));
    }
    let (password, _) = generate_secret()?;
    let user = User {
        user_name: name.as_str().into(),
        name: None,
        object_id: Uuid::new_v4(),
        password: Some(hash_password(&password)?),
        enabled: true,
    };
    let object_id = user.object_id;
    directory.users.push(user);
    directory.save(path)?;
    let _closed = writeln!(io::stdout().lock(), "object id      {object_id}");
    Ok(show_secret("password       ", &password))
}

/// Gives a person a new password.
pub(crate) fn new_password(path: &Path, name: &UserName) -> Result<ExitCode, Failure> {
    let mut directory = DirectoryFile::load(path)?;
    let user = directory.users.iter_mut().find(|u| u.user_name.eq_ignore_ascii_case(name.as_str()));
    let user = user
        .ok_or_else(|| Failure::configuration(format!("{}: there is no user {:?}", path.display(), name.as_str())))?;
    let (password, _) = generate_secret()?;
    user.password = Some(hash_password(&password)?);
    directory.save(path)?;
    Ok(show_secret("password       ", &password))
}

/// Refuses a principal or group of another issuer; to do it twice changes nothing.
pub(crate) fn block(path: &Path, object_id: Uuid) -> Result<ExitCode, Failure> {
    let mut directory = if path.exists() { DirectoryFile::load(path)? } else { DirectoryFile::default() };
    if !directory.blocked.iter().any(|b| b.object_id == object_id) {
        directory.blocked.push(Blocked { object_id, reason: None });
        directory.save(path)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes that back.
pub(crate) fn unblock(path: &Path, object_id: Uuid) -> Result<ExitCode, Failure> {
    let mut directory = DirectoryFile::load(path)?;
    let before = directory.blocked.len();
    directory.blocked.retain(|b| b.object_id != object_id);
    if directory.blocked.len() == before {
        return Err(nobody(path, object_id));
    }
    directory.save(path)?;
    Ok(ExitCode::SUCCESS)
}

/// Gives one more secret.
pub(crate) fn new_secret(path: &Path, client_id: Uuid) -> Result<ExitCode, Failure> {
    let mut directory = DirectoryFile::load(path)?;
    let application = directory.applications.iter_mut().find(|a| a.client_id == client_id);
    let application = application.ok_or_else(|| nobody(path, client_id))?;
    let (secret, sha256) = generate_secret()?;
    application.secrets.push(ApplicationSecret { sha256, expires: None, description: None });
    directory.save(path)?;
    Ok(show_secret("client secret  ", &secret))
}

/// The secret goes to the terminal and nowhere else.
fn show_secret(label: &str, secret: &SecretBytes) -> ExitCode {
    let mut out = io::stdout().lock();
    let _closed = out
        .write_all(label.as_bytes())
        .and_then(|()| out.write_all(secret.expose()))
        .and_then(|()| out.write_all(b"\n"));
    ExitCode::SUCCESS
}

/// Lists who there is, without anything secret.
pub(crate) fn list(path: &Path) -> Result<ExitCode, Failure> {
    let directory = DirectoryFile::load(path)?;
    let mut out = io::stdout().lock();
    let _closed = write_list(&mut out, &directory);
    Ok(ExitCode::SUCCESS)
}

fn write_list(out: &mut impl Write, directory: &DirectoryFile) -> io::Result<()> {
    let state = |enabled: bool| if enabled { "" } else { "  (disabled)" };
    for a in &directory.applications {
        let (name, client, object) = (&a.name, a.client_id, a.object_id);
        writeln!(out, "application       {name}  client id {client}  object id {object}{}", state(a.enabled))?;
    }
    for m in &directory.managed_identities {
        let (name, client, object) = (&m.name, m.client_id, m.object_id);
        writeln!(out, "managed identity  {name}  client id {client}  object id {object}{}", state(m.enabled))?;
    }
    for u in &directory.users {
        writeln!(out, "user              {}  object id {}{}", u.user_name, u.object_id, state(u.enabled))?;
    }
    for g in &directory.groups {
        writeln!(out, "group             {}  object id {}{}", g.name, g.object_id, state(g.enabled))?;
    }
    for b in &directory.blocked {
        writeln!(out, "blocked           object id {}  {}", b.object_id, b.reason.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

/// Lets a principal in or keeps it out.
pub(crate) fn set_enabled(path: &Path, id: Uuid, enabled: bool) -> Result<ExitCode, Failure> {
    let mut directory = DirectoryFile::load(path)?;
    let applications = directory.applications.iter_mut().map(|a| (a.object_id, Some(a.client_id), &mut a.enabled));
    let managed = directory.managed_identities.iter_mut().map(|m| (m.object_id, Some(m.client_id), &mut m.enabled));
    let users = directory.users.iter_mut().map(|u| (u.object_id, None, &mut u.enabled));
    let groups = directory.groups.iter_mut().map(|g| (g.object_id, None, &mut g.enabled));
    let mut all = applications.chain(managed).chain(users).chain(groups);
    let found = all.find(|(object, client, _)| *object == id || *client == Some(id));
    *found.ok_or_else(|| nobody(path, id))?.2 = enabled;
    directory.save(path)?;
    Ok(ExitCode::SUCCESS)
}

fn nobody(path: &Path, id: Uuid) -> Failure {
    Failure::configuration(format!("{}: nobody has the id {id}", path.display()))
}
