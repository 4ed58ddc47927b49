//! The management plane and the directory, as their clients see them.

use super::House;
use super::house::{Answer, TENANT};
use crate::http::route::{Access, ManagementScope, Route, Surface, all};
use strongroom_model::management::ResourceKind;
use uuid::Uuid;

const VERSION: &str = "?api-version=2023-07-01";

/// A path that the row answers.
fn path_of(row: &Route) -> String {
    let scope = format!("subscriptions/{TENANT}/resourceGroups/test/providers/Microsoft.Authorization");
    let filled = row
        .pattern
        .replace("{scope}", &scope)
        .replace("{subscription}", &TENANT.to_string())
        .replace("{group}", "test")
        .replace("{name}", "demo")
        .replace("{location}", "local")
        .replace("{namespace}", "Microsoft.KeyVault")
        .replace("{kind}", "add")
        .replace("{connection}", "c1")
        .replace("{key}", "k1")
        .replace("{version}", super::house::VERSION)
        .replace("{id}", &Uuid::from_u128(5).to_string());
    format!("/{filled}")
}

fn resource(kind: &str, name: &str) -> String {
    format!("/subscriptions/{TENANT}/resourceGroups/test/providers/Microsoft.KeyVault/{kind}/{name}{VERSION}")
}

impl House {
    async fn manage(&self, method: &str, target: &str, token: &str, body: &str) -> Answer {
        let bearer = format!("Authorization: Bearer {token}\r\n");
        self.request(method, &self.host("management"), target, &bearer, body).await
    }
}

#[tokio::test]
async fn every_row_wants_a_token_and_what_it_says() {
    let house = House::new().await;
    let stranger = house.token_for(&house.stranger, "management").await;
    let port = house.address.port();
    for row in all().filter(|row| row.surface == Surface::Management) {
        let (method, target) = (row.method.as_str(), path_of(row) + VERSION);
        let refused = house.request(method, &house.host("management"), &target, "", "").await;
        assert_eq!(refused.status, 401, "{} {target}", row.operation);
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(
            challenge.starts_with(&format!("Bearer authorization_uri=\"https://login.localhost:{port}/{TENANT}\""))
        );
        if method != "HEAD" {
            assert_eq!(refused.code(), "AuthenticationFailed");
        }
        let denied = house.manage(method, &target, &stranger, "{}").await;
        match row.access {
            Access::Management { action, at } => {
                assert_eq!(denied.status, 403, "{} {target}: {denied:?}", row.operation);
                if method == "HEAD" {
                    continue;
                }
                assert_eq!(denied.code(), "AuthorizationFailed");
                let below = match at {
                    ManagementScope::Subscription => "",
                    ManagementScope::Group | ManagementScope::Path => "/resourceGroups/test",
                    ManagementScope::Resource(ResourceKind::Vault) => {
                        "/resourceGroups/test/providers/Microsoft.KeyVault/vaults/demo"
                    }
                    ManagementScope::Resource(ResourceKind::ManagedHsm) => {
                        "/resourceGroups/test/providers/Microsoft.KeyVault/managedHSMs/demo"
                    }
                };
                let message = denied.json()["error"]["message"].as_str().unwrap().to_owned();
                let wanted = format!("action '{}' over scope '/subscriptions/{TENANT}{below}'", action.as_str());
                assert!(message.contains(&wanted), "{message}");
            }
            Access::Member { .. } => {
                assert!([200, 404].contains(&denied.status), "{} {target}: {denied:?}", row.operation);
                assert!(!denied.body.contains("demo"), "{}: {}", row.operation, denied.body);
            }
            Access::Public { .. } | Access::Hsm { .. } => panic!("{}", row.operation),
        }
    }
}

#[tokio::test]
async fn tokens_for_one_plane_are_none_for_the_other() {
    let house = House::new().await;
    let (data, management) = (house.token(&house.admin).await, house.token_for(&house.admin, "management").await);
    let target = format!("/subscriptions{VERSION}");
    assert_eq!(house.manage("GET", &target, &data, "").await.status, 401);
    assert_eq!(house.manage("GET", &target, &management, "").await.status, 200);
    assert_eq!(house.hsm("GET", "/keys?api-version=7.6", Some(&management), "").await.status, 401);
}

#[tokio::test]
async fn the_owner_makes_uses_deletes_recovers_and_purges_an_hsm() {
    let house = House::new().await;
    let (token, admin) = (house.token_for(&house.admin, "management").await, house.admin.0);
    let body = format!(
        r#"{{"location":"Lo Cal","sku":{{"family":"B","name":"Standard_B1"}},"tags":{{"a":"b"}},"properties":
        {{"tenantId":"{TENANT}","initialAdminObjectIds":["{admin}"],"softDeleteRetentionInDays":"7"}}}}"#
    );
    let target = resource("managedHSMs", "New1");
    let made = house.manage("PUT", &target, &token, &body).await;
    assert_eq!(made.status, 200, "{made:?}");
    let port = house.address.port();
    let properties = made.json()["properties"].clone();
    assert_eq!(properties["hsmUri"], format!("https://new1.managedhsm.localhost:{port}/"));
    assert_eq!(properties["provisioningState"], "Succeeded");
    assert_eq!(properties["softDeleteRetentionInDays"], 7);
    let got = house.manage("GET", &target, &token, "").await;
    let line = house.audited(got.header("x-ms-request-id").unwrap()).await.to_string();
    assert!(line.contains("ManagedHsmGet") && line.contains("managedHSMs/new1"), "{line}");

    // The data plane answers there, with its own RBAC: owning the subscription gives nothing.
    let data = house.token(&house.admin).await;
    let bearer = format!("Authorization: Bearer {data}\r\n");
    let host = house.host("new1.managedhsm");
    let denied = house.request("GET", &host, "/keys?api-version=7.6", &bearer, "").await;
    assert_eq!((denied.status, denied.code().as_str()), (403, "AccessDenied"));
    let key = format!(
        "/subscriptions/{TENANT}/resourceGroups/test/providers/Microsoft.KeyVault/managedHSMs/new1/keys/k{VERSION}"
    );
    let wanted = r#"{"properties":{"kty":"EC-HSM","curveName":"P-256","keyOps":["sign","verify"]}}"#;
    let by_management = house.manage("PUT", &key, &token, wanted).await;
    assert_eq!((by_management.status, by_management.code().as_str()), (403, "AccessDenied"), "{by_management:?}");
    let role = "21dbd100-6940-42c2-9190-5d6cb909625b";
    let assignment = format!(r#"{{"properties":{{"roleDefinitionId":"{role}","principalId":"{admin}"}}}}"#);
    let roles = format!("/providers/Microsoft.Authorization/roleAssignments/{}?api-version=7.6", Uuid::new_v4());
    assert_eq!(house.request("PUT", &host, &roles, &bearer, &assignment).await.status, 201);
    let by_management = house.manage("PUT", &key, &token, wanted).await;
    assert_eq!(by_management.status, 200, "{by_management:?}");
    assert_eq!(by_management.json()["properties"]["kty"], "EC-HSM");
    let again = house.manage("PUT", &key, &token, wanted).await.json();
    assert_eq!(again["properties"]["keyUriWithVersion"], by_management.json()["properties"]["keyUriWithVersion"]);
    assert_eq!(house.request("GET", &host, "/keys/k?api-version=7.6", &bearer, "").await.status, 200);

    assert_eq!(house.manage("DELETE", &target, &token, "").await.status, 200);
    assert_eq!(house.manage("DELETE", &target, &token, "").await.status, 204);
    assert_eq!(house.request("GET", &host, "/keys?api-version=7.6", &bearer, "").await.status, 404);
    assert_eq!(house.manage("GET", &target, &token, "").await.code(), "ResourceNotFound");
    let taken = house.manage("PUT", &target, &token, &body).await;
    assert_eq!((taken.status, taken.code().as_str()), (409, "ConflictError"));
    let recovered = body.replace(r#""softDelete"#, r#""createMode":"recover","softDelete"#);
    assert_eq!(house.manage("PUT", &target, &token, &recovered).await.status, 200);
    assert_eq!(house.request("GET", &host, "/keys/k?api-version=7.6", &bearer, "").await.status, 200);

    assert_eq!(house.manage("DELETE", &target, &token, "").await.status, 200);
    let deleted =
        format!("/subscriptions/{TENANT}/providers/Microsoft.KeyVault/locations/local/deletedManagedHSMs/new1");
    assert_eq!(house.manage("GET", &(deleted.clone() + VERSION), &token, "").await.json()["name"], "new1");
    let elsewhere = deleted.replace("/local/", "/there/") + "/purge" + VERSION;
    assert_eq!(house.manage("POST", &elsewhere, &token, "").await.status, 404);
    let purged = house.manage("POST", &(deleted.clone() + "/purge" + VERSION), &token, "").await;
    assert_eq!(purged.status, 202);
    let follow = purged.header("location").unwrap().split_once(&format!(":{port}")).unwrap().1.to_owned();
    assert!([200, 202].contains(&house.manage("GET", &follow, &token, "").await.status));
    assert_eq!(house.manage("GET", &(deleted + VERSION), &token, "").await.status, 404);
}

#[tokio::test]
async fn bad_requests_have_the_codes_of_resource_manager() {
    let house = House::new().await;
    let token = house.token_for(&house.admin, "management").await;
    let (vault, hsm) = (resource("vaults", "v1x"), resource("managedHSMs", "h1x"));
    let group = format!("/subscriptions/{TENANT}/resourceGroups/");
    let other = vault.replace(&TENANT.to_string(), &Uuid::from_u128(1).to_string());
    for (method, target, body, status, code) in [
        ("GET", vault.trim_end_matches(VERSION), "", 400, "MissingApiVersionParameter"),
        ("GET", &vault.replace("2023-07-01", "2023-07-02"), "", 400, "InvalidApiVersionParameter"),
        ("GET", &vault, "", 404, "ResourceNotFound"),
        ("GET", &vault.replace("/test/", "/none/"), "", 404, "ResourceGroupNotFound"),
        ("GET", &other, "", 404, "SubscriptionNotFound"),
        ("GET", "/no/such/path?api-version=2023-07-01", "", 404, "NotFound"),
        ("POST", &vault, "", 405, "MethodNotAllowed"),
        ("PUT", &vault, "", 400, "InvalidRequestContent"),
        ("PUT", &vault, "[]", 400, "InvalidRequestContent"),
        ("PUT", &vault, "{}", 400, "BadRequest"),
        ("PUT", &resource("vaults", "1x"), "{}", 400, "VaultNameNotValid"),
        ("PUT", &hsm, r#"{"location":"local"}"#, 400, "BadRequest"),
        ("PUT", &hsm, r#"{"properties":{"softDeleteRetentionInDays":"x"}}"#, 400, "InvalidRequestContent"),
        ("PUT", &hsm, r#"{"properties":{"networkAcls":{"ipRules":[{"value":"10.0.0.0/33"}]}}}"#, 400, "BadRequest"),
        ("PUT", &(group.clone() + "a%20b" + VERSION), r#"{"location":"local"}"#, 400, "InvalidResourceGroup"),
        ("PUT", &(group.clone() + "ok" + VERSION), "{}", 400, "BadRequest"),
    ] {
        let answer = house.manage(method, target, &token, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {target} {body}: {answer:?}");
    }
}

#[tokio::test]
async fn the_cloud_describes_itself_without_a_token_and_the_directory_with_one() {
    let house = House::new().await;
    let port = house.address.port();
    let management = house.host("management");
    let one = house.request("GET", &management, "//metadata/endpoints?api-version=2022-09-01", "", "").await.json();
    assert_eq!(one["suffixes"]["mhsmDns"], format!("managedhsm.localhost:{port}"));
    assert_eq!(one["authentication"]["audiences"][0], format!("https://management.localhost:{port}/"));
    let many = house.request("GET", &management, "/metadata/endpoints?api-version=2019-05-01", "", "").await.json();
    assert_eq!(many[0], one);

    let graph = house.host("graph");
    assert_eq!(house.request("GET", &graph, "/v1.0/users", "", "").await.status, 401);
    let bearer = format!("Authorization: Bearer {}\r\n", house.token_for(&house.stranger, "graph").await);
    let get = async |target: &str| house.request("GET", &graph, target, &bearer, "").await;
    let (id, client) = (house.admin.0, house.admin.1.split(' ').next().unwrap());
    let found = get(&format!("/v1.0/servicePrincipals?$filter=servicePrincipalNames/any(c:c%20eq%20'{client}')")).await;
    assert_eq!(found.json()["value"][0]["id"], id.to_string(), "{found:?}");
    assert_eq!(get(&format!("/v1.0/servicePrincipals/{id}")).await.json()["appId"], client);
    assert_eq!(get(&format!("/v1.0/users/{id}")).await.status, 404);
    assert_eq!(get("/v1.0/me").await.status, 400);
    assert!(get("/v1.0/users").await.json()["value"].as_array().unwrap().is_empty());
    let body = format!(r#"{{"ids":["{id}","{}"]}}"#, Uuid::from_u128(9));
    let by_ids = house.request("POST", &graph, "/v1.0/directoryObjects/getByIds", &bearer, &body).await.json();
    assert_eq!(by_ids["value"][0]["@odata.type"], "#microsoft.graph.servicePrincipal");
    assert!(!by_ids.to_string().contains("secret"));
}

#[tokio::test]
async fn a_closed_firewall_holds_before_and_after_the_pool_is_open() {
    let house = House::new().await;
    let token = house.token_for(&house.admin, "management").await;
    let data = format!("Authorization: Bearer {}\r\n", house.token(&house.admin).await);
    let target = resource("managedHSMs", "demo");
    let keys = async || {
        let answer = house.request("GET", &house.host("demo.managedhsm"), "/keys?api-version=7.6", &data, "").await;
        (answer.status, answer.code())
    };
    assert_eq!(keys().await, (403, "AccessDenied".to_owned()));
    let closed = r#"{"properties":{"networkAcls":{"defaultAction":"Deny","bypass":"None","ipRules":[{"value":"192.0.2.0/24"}]}}}"#;
    let answer = house.manage("PATCH", &target, &token, closed).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["properties"]["networkAcls"]["ipRules"][0]["value"], "192.0.2.0/24");
    let refused = house.request("GET", &house.host("demo.managedhsm"), "/keys?api-version=7.6", &data, "").await;
    assert_eq!(refused.status, 403);
    assert_ne!(refused.code(), "AccessDenied", "{refused:?}");
    let open = r#"{"properties":{"networkAcls":{"ipRules":[{"value":"127.0.0.1"}]}}}"#;
    assert_eq!(house.manage("PATCH", &target, &token, open).await.status, 200);
    assert_eq!(keys().await, (403, "AccessDenied".to_owned()));
}
