//! What `az cloud register` reads before there is a token.

use super::ManagementAnswer;
use crate::http::call::Answer;
use crate::identity::{Endpoints, Resource};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// The version whose answer is a list (clients.md, section 5).
const LISTED: &str = "2019-05-01";

/// `GET /metadata/endpoints`: the addresses of this installation, and nothing else.
pub(crate) fn endpoints(endpoints: &Endpoints, version: &str) -> ManagementAnswer {
    let with_slash = |resource| format!("{}/", endpoints.audience(resource));
    let suffix = |resource| endpoints.audience(resource).trim_start_matches("https://").to_owned();
    let authority = endpoints.authority();
    let document = json!({
        "name": "strongroom",
        "portal": with_slash(Resource::Management),
        "resourceManager": with_slash(Resource::Management),
        "authentication": {
            "loginEndpoint": endpoints.login(),
            "audiences": [with_slash(Resource::Management)],
            "tenant": "common",
            "identityProvider": "AAD"
        },
        "graph": with_slash(Resource::Graph),
        "graphAudience": with_slash(Resource::Graph),
        "microsoftGraphResourceId": with_slash(Resource::Graph),
        "suffixes": {
            "keyVaultDns": suffix(Resource::Vault),
            "mhsmDns": suffix(Resource::ManagedHsm),
            "storage": authority,
            "sqlServerHostname": format!("sql.{authority}"),
            "acrLoginServer": format!("acr.{authority}")
        },
        "batch": "",
        "media": "",
        "gallery": "",
        "sqlManagement": "",
        "activeDirectoryDataLake": ""
    });
    let document = if version == LISTED { Value::Array(vec![document]) } else { document };
    let body = Zeroizing::new(document.to_string().into_bytes());
    Answer { status: 200, body, object: String::new(), stamp: None, audited: false }.into()
}
