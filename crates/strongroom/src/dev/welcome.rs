//! What `dev` prints when it is ready: addresses, credentials, and the environment ready to paste.

use crate::dev::environment::{self, Variable};
use crate::dev::names;
use crate::dev::state::DevState;
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};
use std::path::Path;
use strongroom_server::config::ServiceConfig;

const STRONG: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// What there is to say.
pub(crate) struct Welcome<'a> {
    pub(crate) config: &'a ServiceConfig,
    pub(crate) state: &'a DevState,
    pub(crate) variables: &'a [Variable],
    pub(crate) ca: &'a Path,
    pub(crate) lost_names: &'a [String],
}

impl Welcome<'_> {
    /// Prints it; colours only at a terminal, and a closed pipe is nobody's loss.
    pub(crate) fn print(&self) {
        let mut out = anstream::AutoStream::auto(io::stdout().lock());
        let _closed = self.write(&mut out).and_then(|()| out.flush());
    }

    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.addresses(out)?;
        self.clients(out)?;
        self.names(out)?;
        writeln!(out, "{STRONG}Strongroom is ready.{STRONG:#} Stop it with Ctrl-C; the next start finds the same keys.")
    }

    fn addresses(&self, out: &mut impl Write) -> io::Result<()> {
        let (config, state) = (self.config, self.state);
        writeln!(out, "{WARNING}For development only:{WARNING:#} everything lies in {}", parent(self.ca))?;
        for pool in &config.pools {
            let note = match pool.state {
                strongroom_server::config::InitialState::Activated => "",
                strongroom_server::config::InitialState::Provisioned => "  (inactive)",
            };
            let url = environment::url(config, &format!("{}.managedhsm", pool.name));
            writeln!(out, "  managed HSM       {STRONG}{url}{STRONG:#}{note}")?;
        }
        writeln!(out, "  login             {}", environment::url(config, "login"))?;
        writeln!(out, "  managed identity  {}", environment::managed_identity_url(state))?;
        writeln!(out, "  CA certificate    {}", self.ca.display())?;
        writeln!(out, "  tenant            {}", state.tenant_id)?;
        for principal in std::iter::once(&state.principal).chain(&state.principals) {
            writeln!(out, "  principal {STRONG}{}{STRONG:#}", principal.name)?;
            writeln!(out, "    client id       {}", principal.client_id)?;
            out.write_all(b"    client secret   ")?;
            out.write_all(principal.client_secret.expose())?;
            writeln!(out, "\n    object id       {}", principal.object_id)?;
        }
        for user in &state.users {
            writeln!(out, "  user {STRONG}{}{STRONG:#}", user.user_name)?;
            out.write_all(b"    password        ")?;
            out.write_all(user.password.expose())?;
            writeln!(out, "\n    object id       {}", user.object_id)?;
        }
        Ok(())
    }

    fn clients(&self, out: &mut impl Write) -> io::Result<()> {
        let ca = quote(&self.ca.display().to_string());
        let store = quote(&format!("{}/truststore.p12", parent(self.ca)));
        let hsm = self.config.pools.first().map_or("demo", |pool| &pool.name);
        let base = environment::url(self.config, &format!("{hsm}.managedhsm"));
        let scope = environment::url(self.config, "managedhsm");
        heading(out, "Python, JavaScript and every other client: paste, then use DefaultAzureCredential()")?;
        for variable in self.variables {
            out.write_all(format!("export {}=", variable.name).as_bytes())?;
            writeln!(out, "{}", quote(&variable.value))?;
        }
        heading(out, "Go: the same; the CA comes from")?;
        writeln!(out, "export SSL_CERT_FILE={ca}")?;
        heading(out, ".NET on Linux: the same; the CA comes from")?;
        writeln!(out, "export SSL_CERT_FILE={ca}")?;
        heading(out, "Java: the same, and a trust store of its own")?;
        writeln!(
            out,
            "keytool -importcert -noprompt -alias strongroom -file {ca} -keystore {store} -storepass strongroom"
        )?;
        writeln!(
            out,
            "export JAVA_TOOL_OPTIONS=\"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=strongroom\""
        )?;
        heading(out, "curl")?;
        writeln!(
            out,
            "token=$(curl -s --cacert \"$STRONGROOM_CA\" \"$AZURE_AUTHORITY_HOST/$STRONGROOM_TENANT_ID/oauth2/v2.0/token\" \\\n  \
             -d grant_type=client_credentials -d client_id=\"$AZURE_CLIENT_ID\" -d client_secret=\"$AZURE_CLIENT_SECRET\" \\\n  \
             -d scope={scope}/.default | sed -E 's/.*\"access_token\":\"([^\"]*)\".*/\\1/')"
        )?;
        writeln!(
            out,
            "curl --cacert \"$STRONGROOM_CA\" -H \"Authorization: Bearer $token\" '{base}/keys?api-version=7.6'\n"
        )
    }

    fn names(&self, out: &mut impl Write) -> io::Result<()> {
        if self.lost_names.is_empty() {
            return Ok(());
        }
        let lost = self.lost_names.join(", ");
        let all = names::host_names(self.config).join(" ");
        writeln!(out, "{WARNING}These names do not lead to this machine yet:{WARNING:#} {lost}")?;
        if self.config.domain == "localhost" {
            writeln!(
                out,
                "Either install libnss-myhostname (Debian, Ubuntu: apt-get install libnss-myhostname), or add to /etc/hosts:"
            )?;
        } else {
            writeln!(out, "Add to /etc/hosts:")?;
        }
        writeln!(out, "127.0.0.1 {all}\n")
    }
}

fn heading(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "\n{QUIET}# {text}{QUIET:#}")
}

fn parent(path: &Path) -> String {
    path.parent().unwrap_or(path).display().to_string()
}

/// A word of the shell.
fn quote(text: &str) -> String {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
