//! What a developer is told when the HSM is ready, by a process of its own: the service, once it is confined, reaches neither
//! the files with the secrets nor the folders where the environment and the CA's certificate go.

use super::environment::{lines, variables};
use super::names;
use super::state::DevState;
use super::welcome::Welcome;
use crate::failure::Failure;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use strongroom_partition::confine;
use strongroom_server::config::{ServiceConfig, write_private, write_public};

/// The process, as the service sees it. It ends without a word when the service does.
pub(crate) struct Announcer(Child);

impl Announcer {
    /// Starts it; call it before the service is confined.
    pub(crate) fn start(config: &ServiceConfig) -> Result<Self, Failure> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("strongroom").arg("announce").stdin(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = serde_json::to_vec(config)?;
        line.push(b'\n');
        child.stdin.as_mut().ok_or_else(|| Failure::failed("the announcer has no input"))?.write_all(&line)?;
        Ok(Self(child))
    }

    /// Has everything written and printed; waits until it is.
    pub(crate) fn announce(mut self, ca_pem: &str) -> Result<(), Failure> {
        let mut input = self.0.stdin.take().ok_or_else(|| Failure::failed("the announcer has no input"))?;
        // Whoever is gone has said why.
        let _gone = input.write_all(ca_pem.as_bytes());
        drop(input);
        if self.0.wait()?.success() {
            Ok(())
        } else {
            Err(Failure::configuration("what clients need could not be written: see above"))
        }
    }
}

/// `strongroom announce`: reads the configuration in one line, then the CA's certificate to the end.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    confine::helper()?;
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    let config: ServiceConfig = serde_json::from_slice(&line)?;
    let development = config.development.as_ref().ok_or_else(|| Failure::failed("`announce` belongs to `dev`"))?;
    let resolving = names::resolve(&config);
    let mut ca_pem = String::new();
    input.read_to_string(&mut ca_pem)?;
    if ca_pem.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let state = DevState::load(&development.state)?;
    if !std::fs::read(&development.ca_file).is_ok_and(|old| old == ca_pem.as_bytes()) {
        write_public(&development.ca_file, ca_pem.as_bytes())?;
    }
    let variables = variables(&config, &state, &development.ca_file);
    if let Some(file) = &development.env_file {
        write_private(file, &lines(&variables))?;
    }
    let lost_names = resolving.lost();
    let (config, state, variables, ca) = (&config, &state, &variables[..], &development.ca_file);
    Welcome { config, state, variables, ca, lost_names: &lost_names }.print();
    Ok(ExitCode::SUCCESS)
}
