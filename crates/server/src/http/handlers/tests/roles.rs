//! Assignments and definitions.

use super::house::{Asked, CALLER, House, json};
use crate::http::handlers::roles::*;
use serde_json::{Value, json};
use strongroom_model::DataAction as A;
use strongroom_model::error::{BadName, Error, Forbidden, NotFound};
use strongroom_model::role::{BUILT_IN_ROLES, CRYPTO_USER, ROLE_DEFINITION_ID_PREFIX};

const ID: &str = "0fee0fee-0fee-4fee-8fee-0fee0fee0fee";
const PRINCIPAL: &str = "ca11ca11-ca11-4a11-8a11-ca11ca11ca11";

fn at<'a>(scope: &'a str, id: &'a str) -> Asked<'a> {
    Asked { scope: Some(scope), params: vec![("id", id)], ..Asked::default() }
}

fn names(list: &Value) -> Vec<&str> {
    list["value"].as_array().unwrap().iter().map(|line| line["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_role_is_given_found_and_taken() {
    let house = House::new().await;
    let role = format!("{ROLE_DEFINITION_ID_PREFIX}{CRYPTO_USER}");
    let body = json!({"properties": {"principalId": PRINCIPAL, "roleDefinitionId": role}});
    for (scope, prefix) in [("/", ""), ("/keys", "/keys"), ("/keys/some", "/keys/some")] {
        let given = house.call(create_role_assignment, A::RoleAssignmentsWrite, at(scope, ID).with(body.clone())).await;
        let given = given.unwrap();
        assert_eq!((given.status, given.audited), (201, true));
        assert_eq!(given.object, format!("roleAssignments/{ID}"));
        let given = json(&given);
        assert_eq!(given["id"], format!("{prefix}/providers/Microsoft.Authorization/roleAssignments/{ID}"));
        let wanted = json!({"principalId": PRINCIPAL, "roleDefinitionId": role, "scope": scope});
        assert_eq!(given["properties"], wanted);
        let read = house.call(get_role_assignment, A::RoleAssignmentsRead, at(scope, ID)).await.unwrap();
        assert_eq!((json(&read), read.audited), (given.clone(), false));

        let filter = format!("principalId eq '{PRINCIPAL}'");
        let mut asked = at(scope, "");
        asked.query.push(("$FILTER", &filter));
        let list = json(&house.call(list_role_assignments, A::RoleAssignmentsRead, asked).await.unwrap());
        assert_eq!(names(&list), [ID]);
        let list = house.call(list_role_assignments, A::RoleAssignmentsRead, at(scope, "")).await.unwrap();
        assert!(names(&json(&list)).len() > 1);

        let taken = house.call(delete_role_assignment, A::RoleAssignmentsDelete, at(scope, ID)).await.unwrap();
        assert_eq!((taken.status, json(&taken), taken.audited), (200, given, true));
        let gone = house.call(get_role_assignment, A::RoleAssignmentsRead, at(scope, ID)).await.err();
        assert_eq!(gone, Some(Error::NotFound(NotFound::RoleAssignment)));
    }
    let bad = house.call(get_role_assignment, A::RoleAssignmentsRead, at("/", "nope")).await.err();
    assert_eq!(bad, Some(Error::BadName(BadName::Guid)));
}

#[tokio::test]
async fn custom_roles_come_and_go_and_built_in_ones_stay() {
    let house = House::new().await;
    let list = |list: Value| list["value"].as_array().unwrap().len();
    let all = || async { json(&house.call(list_role_definitions, A::RoleDefinitionsRead, at("/", "")).await.unwrap()) };
    assert_eq!(list(all().await), BUILT_IN_ROLES.len());
    let action = A::KeysSign.as_str();
    let body = json!({"properties": {"roleName": "signer", "description": "signs", "type": "CustomRole",
        "assignableScopes": ["/"], "permissions": [{"dataActions": [action]}]}});
    let made = house.call(set_role_definition, A::RoleDefinitionsWrite, at("/", ID).with(body)).await.unwrap();
    assert_eq!((made.status, made.audited, made.object.as_str()), (201, true, &*format!("roleDefinitions/{ID}")));
    let made = json(&made);
    assert_eq!(made["id"], format!("{ROLE_DEFINITION_ID_PREFIX}{ID}"));
    assert_eq!(made["properties"]["type"], "CustomRole");
    assert_eq!(made["properties"]["permissions"][0]["dataActions"], json!([action]));
    assert_eq!(json(&house.call(get_role_definition, A::RoleDefinitionsRead, at("/", ID)).await.unwrap()), made);
    assert_eq!(list(all().await), BUILT_IN_ROLES.len() + 1);

    let unnamed = json!({"properties": {}});
    let other = "1fee0fee-0fee-4fee-8fee-0fee0fee0fee";
    let made_too = house.call(set_role_definition, A::RoleDefinitionsWrite, at("/", other).with(unnamed.clone())).await;
    assert_eq!(json(&made_too.unwrap())["properties"]["roleName"], other);
    let gone = house.call(delete_role_definition, A::RoleDefinitionsDelete, at("/", ID)).await.unwrap();
    assert_eq!((gone.status, json(&gone)), (200, made));

    let built_in = CRYPTO_USER.to_string();
    let refused =
        house.call(set_role_definition, A::RoleDefinitionsWrite, at("/", &built_in).with(unnamed)).await.err();
    assert_eq!(refused, Some(Error::Forbidden(Forbidden::BuiltInRole)));
    let refused = house.call(delete_role_definition, A::RoleDefinitionsDelete, at("/", &built_in)).await.err();
    assert_eq!(refused, Some(Error::Forbidden(Forbidden::BuiltInRole)));
}

#[tokio::test]
async fn roles_are_changed_at_the_hsm_only() {
    let house = House::new().await;
    let body = json!({"properties": {"permissions": []}});
    for scope in ["/keys", "/keys/some"] {
        let refused = house.call(set_role_definition, A::RoleDefinitionsWrite, at(scope, ID).with(body.clone())).await;
        assert_eq!(refused.err(), Some(Error::BadName(BadName::Scope)));
        let refused = house.call(delete_role_definition, A::RoleDefinitionsDelete, at(scope, ID)).await;
        assert_eq!(refused.err(), Some(Error::BadName(BadName::Scope)));
    }
    let everybody = house.call(list_role_assignments, A::RoleAssignmentsRead, at("/", "")).await.unwrap();
    let holders = json(&everybody);
    let caller = CALLER.to_string();
    assert!(holders["value"].as_array().unwrap().iter().all(|a| a["properties"]["principalId"] == caller));
}
