//! The environment that clients need, and the file of `--env-file`.

use crate::dev::state::{DevPrincipal, DevState};
use std::path::Path;
use strongroom_model::SecretBytes;
use strongroom_server::config::ServiceConfig;
use strongroom_server::identity::Endpoints;
use zeroize::Zeroizing;

/// The tenant name with which clients do not ask the public cloud whether it knows the host.
const TENANT_NAME: &str = "adfs";

/// One variable.
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: Zeroizing<String>,
}

/// Every variable, in the order in which they are written.
pub(crate) fn variables(config: &ServiceConfig, state: &DevState, ca: &Path) -> Vec<Variable> {
    let mut all = Vec::new();
    let mut add = |name: &str, value: String| all.push(Variable { name: name.into(), value: Zeroizing::new(value) });
    let ca = ca.display().to_string();
    let metadata = managed_identity_url(state);
    add("AZURE_AUTHORITY_HOST", Endpoints::new(&config.domain, config.port).login());
    add("AZURE_TENANT_ID", TENANT_NAME.into());
    add("STRONGROOM_TENANT_ID", state.tenant_id.to_string());
    add("AZURE_CLIENT_ID", state.principal.client_id.to_string());
    add("AZURE_CLIENT_SECRET", text(&state.principal.client_secret));
    add("AZURE_SUBSCRIPTION_ID", state.subscription_id.to_string());
    add("AZURE_CORE_INSTANCE_DISCOVERY", "false".into());
    add("STRONGROOM_OBJECT_ID", state.principal.object_id.to_string());
    add("STRONGROOM_MANAGEMENT_URL", url(config, "management"));
    for (index, pool) in config.pools.iter().enumerate() {
        let name =
            if index == 0 { "STRONGROOM_HSM_URL".into() } else { format!("STRONGROOM_HSM_URL_{}", upper(&pool.name)) };
        add(&name, url(config, &format!("{}.managedhsm", pool.name)));
    }
    for name in ["STRONGROOM_CA", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
        add(name, ca.clone());
    }
    add("IDENTITY_ENDPOINT", format!("{metadata}/msi/token"));
    add("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata);
    add("IDENTITY_HEADER", text(&state.identity_header));
    for principal in &state.principals {
        add_principal(&mut add, principal);
    }
    for user in &state.users {
        let prefix = format!("STRONGROOM_USER_{}", upper(&user.name));
        add(&format!("{prefix}_NAME"), user.user_name.clone());
        add(&format!("{prefix}_PASSWORD"), text(&user.password));
        add(&format!("{prefix}_OBJECT_ID"), user.object_id.to_string());
    }
    all
}

fn add_principal(add: &mut impl FnMut(&str, String), principal: &DevPrincipal) {
    let prefix = format!("STRONGROOM_PRINCIPAL_{}", upper(&principal.name));
    add(&format!("{prefix}_CLIENT_ID"), principal.client_id.to_string());
    add(&format!("{prefix}_CLIENT_SECRET"), text(&principal.client_secret));
    add(&format!("{prefix}_OBJECT_ID"), principal.object_id.to_string());
}

/// The KEY=VALUE lines.
pub(crate) fn lines(variables: &[Variable]) -> Zeroizing<Vec<u8>> {
    let length = variables.iter().map(|v| v.name.len() + v.value.len() + 2).sum();
    let mut lines = Zeroizing::new(Vec::with_capacity(length));
    for variable in variables {
        for part in [variable.name.as_bytes(), b"=", variable.value.as_bytes(), b"\n"] {
            lines.extend_from_slice(part);
        }
    }
    lines
}

/// `https://LABEL.DOMAIN[:PORT]`
pub(crate) fn url(config: &ServiceConfig, label: &str) -> String {
    let port = if config.port == 443 { String::new() } else { format!(":{}", config.port) };
    format!("https://{label}.{}{port}", config.domain)
}

/// Where managed identities get their tokens.
pub(crate) fn managed_identity_url(state: &DevState) -> String {
    format!("http://127.0.0.1:{}", state.managed_identity_port)
}

fn text(secret: &SecretBytes) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

/// A name as part of a variable's name.
fn upper(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
