//! Our types against the official examples: every request is read, every response is written again member by member.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm)]

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use strongroom_wire::keys::*;
use strongroom_wire::operations::*;
use strongroom_wire::parse;
use strongroom_wire::roles::*;
use strongroom_wire::rotation::*;

fn example(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples").join(name).with_extension("json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The request's body, however the example calls it.
fn request(example: &Value) -> Option<String> {
    let parameters = &example["parameters"];
    let body = ["parameters", "keyRotationPolicy"].iter().find_map(|name| parameters.get(name));
    body.map(Value::to_string)
}

/// Compact JSON with the members of every object in alphabetical order.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<&String, String> = members.iter().map(|(k, v)| (k, sorted(v))).collect();
            let members: Vec<String> =
                members.iter().map(|(k, v)| format!("{}:{v}", Value::from(k.as_str()))).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// Reads the example's response as `T` and writes it again.
fn rewritten<'a, T: Serialize + Deserialize<'a>>(body: &'a str) -> String {
    serde_json::to_string(&serde_json::from_str::<T>(body).unwrap()).unwrap()
}

/// The body of the one response of an example.
fn response(example: &Value) -> &Value {
    let responses = example["responses"].as_object().unwrap();
    assert_eq!(responses.len(), 1);
    &responses.values().next().unwrap()["body"]
}

fn same<T: Serialize + for<'a> Deserialize<'a>>(name: &str) {
    let example = example(name);
    let wanted = sorted(response(&example));
    assert_eq!(rewritten::<T>(&wanted), wanted, "{name}");
}

/// The same for types that borrow from the body.
macro_rules! same {
    ($($name:literal => $type:ty;)*) => {$({
        let example = example($name);
        let wanted = sorted(response(&example));
        assert_eq!(rewritten::<$type>(&wanted), wanted, $name);
    })*};
}

#[test]
fn responses_of_the_keys_api_are_written_as_in_the_examples() {
    same! {
        "keys/CreateKey" => KeyBundle<'_>;
        "keys/ImportKey" => KeyBundle<'_>;
        "keys/GetKey" => KeyBundle<'_>;
        "keys/UpdateKey" => KeyBundle<'_>;
        "keys/RotateKey" => KeyBundle<'_>;
        "keys/RecoverDeletedKey" => KeyBundle<'_>;
        "keys/DeleteKey" => DeletedKeyBundle<'_>;
        "keys/GetDeletedKey" => DeletedKeyBundle<'_>;
        "keys/GetKeys" => Page<KeyItem<'_>>;
        "keys/GetKeyVersions" => Page<KeyItem<'_>>;
        "keys/GetDeletedKeys" => Page<DeletedKeyItem<'_>>;
        "keys/encrypt" => KeyOperationResult<'_>;
        "keys/decrypt" => KeyOperationResult<'_>;
        "keys/sign" => KeyOperationResult<'_>;
        "keys/wrapKey" => KeyOperationResult<'_>;
        "keys/unwrapKey" => KeyOperationResult<'_>;
        "keys/GetRandomBytes" => RandomBytes<'_>;
    }
    same::<KeyVerifyResult>("keys/verify");
    same::<KeyRotationPolicy>("keys/GetKeyRotationPolicy");
    same::<KeyRotationPolicy>("keys/UpdateKeyRotationPolicy");
    assert_eq!(example("keys/PurgeDeletedKey")["responses"]["204"], serde_json::json!({}));
}

/// The live service writes all four lists of a permission, the examples leave out those without entries.
fn with_all_lists(mut body: Value) -> Value {
    let definitions = match body.get("value") {
        Some(Value::Array(_)) => body["value"].as_array_mut().unwrap().iter_mut().collect(),
        _ => vec![&mut body],
    };
    for definition in definitions {
        for permission in definition["properties"]["permissions"].as_array_mut().unwrap() {
            for list in ["actions", "notActions", "dataActions", "notDataActions"] {
                permission.as_object_mut().unwrap().entry(list).or_insert_with(|| Value::Array(Vec::new()));
            }
        }
    }
    body
}

#[test]
fn responses_of_local_rbac_are_written_as_in_the_examples() {
    same::<RoleAssignment>("rbac/GetRoleAssignments");
    same::<RoleAssignment>("rbac/PutRoleAssignments");
    same::<RoleAssignment>("rbac/DeleteRoleAssignments");
    same::<RoleList<RoleAssignment>>("rbac/ListRoleAssignments");
    for name in ["rbac/GetRoleDefinition", "rbac/PutRoleDefinition", "rbac/DeleteRoleDefinition"] {
        let wanted = sorted(&with_all_lists(response(&example(name)).clone()));
        assert_eq!(rewritten::<RoleDefinition>(&wanted), wanted, "{name}");
    }
    let wanted = sorted(&with_all_lists(response(&example("rbac/ListRoleDefinitions")).clone()));
    assert_eq!(rewritten::<RoleList<RoleDefinition>>(&wanted), wanted);
}

#[test]
fn requests_of_the_keys_api_are_read() {
    let body = request(&example("keys/CreateKey")).unwrap();
    let create: KeyCreateParameters<'_> = parse(body.as_bytes()).unwrap();
    assert_eq!((create.kty.as_deref(), create.key_size), (Some("RSA"), Some(2048)));
    assert_eq!(create.key_ops.unwrap().len(), 6);
    assert_eq!(create.tags.unwrap()["test name "], "CreateGetDeleteKeyTest");
    assert!(create.attributes.is_some() && create.crv.is_none() && create.release_policy.is_none());

    let body = request(&example("keys/ImportKey")).unwrap();
    let import: KeyImportParameters<'_> = parse(body.as_bytes()).unwrap();
    let key = import.key.unwrap();
    assert_eq!(key.e.unwrap().expose(), "AQAB");
    assert!([key.n, key.d, key.dp, key.dq, key.qi, key.p, key.q].iter().all(Option::is_some));
    assert!([key.k, key.key_hsm, key.x, key.y].iter().all(Option::is_none));

    let body = request(&example("keys/UpdateKey")).unwrap();
    let update: KeyUpdateParameters<'_> = parse(body.as_bytes()).unwrap();
    let attributes = update.attributes.unwrap();
    assert_eq!(
        (attributes.enabled, attributes.nbf, attributes.exp),
        (Some(false), Some(631_180_800), Some(662_716_800))
    );
    assert_eq!(update.key_ops.unwrap(), ["decrypt", "encrypt"]);
    assert!(update.tags.is_none());

    let body = request(&example("keys/UpdateKeyRotationPolicy")).unwrap();
    let policy: KeyRotationPolicy = parse(body.as_bytes()).unwrap();
    let actions = policy.lifetime_actions.unwrap();
    assert_eq!(actions[0].action.as_ref().unwrap().kind.as_deref(), Some("Rotate"));
    assert_eq!(actions[0].trigger.as_ref().unwrap().time_after_create.as_deref(), Some("P90D"));
    assert_eq!(actions[1].trigger.as_ref().unwrap().time_before_expiry.as_deref(), Some("P30D"));
    assert_eq!(policy.attributes.unwrap().expiry_time.as_deref(), Some("P2Y"));

    let body = request(&example("keys/GetRandomBytes")).unwrap();
    assert_eq!(parse::<GetRandomBytesRequest>(body.as_bytes()).unwrap().count, Some(4));
}

#[test]
fn requests_of_the_operations_are_read() {
    for name in ["encrypt", "decrypt", "wrapKey", "unwrapKey"] {
        let example = example(&format!("keys/{name}"));
        let body = request(&example).unwrap();
        let read: KeyOperationsParameters<'_> = parse(body.as_bytes()).unwrap();
        assert_eq!(read.alg.as_deref(), example["parameters"]["parameters"]["alg"].as_str(), "{name}");
        assert_eq!(read.value.unwrap().expose(), example["parameters"]["parameters"]["value"], "{name}");
        assert!(read.iv.is_none() && read.aad.is_none() && read.tag.is_none(), "{name}");
    }
    let body = request(&example("keys/sign")).unwrap();
    let sign: KeySignParameters<'_> = parse(body.as_bytes()).unwrap();
    assert_eq!(sign.alg.as_deref(), Some("RS512"));
    assert_eq!(sign.value.unwrap().expose().len(), 86);
    let body = request(&example("keys/verify")).unwrap();
    let verify: KeyVerifyParameters<'_> = parse(body.as_bytes()).unwrap();
    assert!(verify.alg.is_some() && verify.digest.is_some() && verify.value.is_some());
}

#[test]
fn requests_of_local_rbac_are_read() {
    let body = request(&example("rbac/PutRoleAssignments")).unwrap();
    let assignment = parse::<RoleAssignmentCreateParameters>(body.as_bytes()).unwrap().properties.unwrap();
    assert_eq!(assignment.principal_id.as_deref(), Some("principalId"));
    assert!(assignment.role_definition_id.unwrap().ends_with("/roleDefinitionId"));

    let body = request(&example("rbac/PutRoleDefinition")).unwrap();
    let role = parse::<RoleDefinitionCreateParameters>(body.as_bytes()).unwrap().properties.unwrap();
    assert_eq!((role.role_name.as_deref(), role.kind.as_deref()), (Some("My custom role"), Some("CustomRole")));
    let permissions = role.permissions.unwrap();
    assert_eq!(permissions[0].data_actions.as_deref().unwrap(), ["Microsoft.KeyVault/managedHsm/keys/sign/action"]);
    assert!(permissions[0].actions.is_none() && role.assignable_scopes.is_none());
}
