//! Managed identities, in both forms.

use super::*;

fn query(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn request(query: &[(String, String)]) -> ManagedRequest<'_> {
    ManagedRequest {
        query,
        metadata: Some("true"),
        identity_header: Some(IDENTITY_HEADER),
        forwarded_for: None,
        correlation_id: Uuid::nil(),
    }
}

#[tokio::test]
async fn both_forms_answer_with_texts() {
    let fixture = Fixture::new();
    let query = query(&[("api-version", "2018-02-01"), ("resource", HSM)]);
    let imds = fixture.identity.instance_metadata_token(request(&query)).await;
    let msi = fixture.identity.app_service_token(ManagedRequest { metadata: None, ..request(&query) }).await;
    for answer in [imds, msi] {
        let principal = fixture.validate(&access_token(&answer)).unwrap();
        assert_eq!((principal.object_id, answer.stamps.len()), (IDENTITY, 1));
        let body = json(&answer);
        assert_eq!(body["client_id"], IDENTITY_CLIENT.to_string());
        assert_eq!(body["expires_in"], "3599");
        assert_eq!(body["expires_on"], (NOW + 3599).to_string());
        assert_eq!(body["not_before"], NOW.to_string());
        assert_eq!((&body["resource"], &body["token_type"]), (&HSM.into(), &"Bearer".into()));
    }
}

#[tokio::test]
async fn the_headers_are_required() {
    let fixture = Fixture::new();
    let query = query(&[("resource", HSM)]);
    for metadata in [None, Some("false"), Some("")] {
        let answer = fixture.identity.instance_metadata_token(ManagedRequest { metadata, ..request(&query) }).await;
        assert_eq!(refusal(&answer).0, 400);
    }
    let forwarded = || ManagedRequest { forwarded_for: Some("10.0.0.1"), ..request(&query) };
    assert_eq!(refusal(&fixture.identity.instance_metadata_token(forwarded()).await).0, 400);
    assert_eq!(refusal(&fixture.identity.app_service_token(forwarded()).await).0, 400);
    for identity_header in [None, Some(""), Some("header-secreT")] {
        let answer = fixture.identity.app_service_token(ManagedRequest { identity_header, ..request(&query) }).await;
        assert_eq!(refusal(&answer).0, 401);
    }
}

#[tokio::test]
async fn an_identity_is_named_or_the_default_one() {
    let mut fixture = Fixture::new();
    let client = IDENTITY_CLIENT.to_string();
    let object = IDENTITY.to_string();
    let ask = async |fixture: &Fixture, pairs: &[(&str, &str)]| {
        let query = query(&[&[("resource", HSM)], pairs].concat());
        fixture.identity.instance_metadata_token(request(&query)).await
    };
    for pair in [
        ("client_id", client.as_str()),
        ("object_id", object.as_str()),
        ("principal_id", object.as_str()),
        ("mi_res_id", "/subscriptions/S/resourcegroups/g/providers/x/HOST"),
        ("msi_res_id", "/subscriptions/s/resourceGroups/g/providers/x/host"),
    ] {
        assert_eq!(ask(&fixture, &[pair]).await.status, 200, "{pair:?}");
    }
    for pairs in [
        vec![("client_id", object.as_str())],
        vec![("client_id", "20000000-0000-4000-8000-000000000002")],
        vec![("object_id", client.as_str())],
        vec![("mi_res_id", "/x")],
        vec![("client_id", client.as_str()), ("object_id", object.as_str())],
        vec![("resource", "https://vault.localhost:8443")],
    ] {
        assert_eq!(ask(&fixture, &pairs).await.status, 400, "{pairs:?}");
    }
    fixture.change(|file| {
        let mut second = file.managed_identities[0].clone();
        second.default = false;
        (second.client_id, second.object_id, second.resource_id) = (NOBODY, NOBODY, None);
        file.managed_identities.push(second);
    });
    assert_eq!(json(&ask(&fixture, &[]).await)["client_id"], client);
    fixture.change(|file| file.managed_identities[0].default = false);
    assert_eq!(refusal(&ask(&fixture, &[]).await).0, 400, "which of the two?");
    fixture.change(|file| file.managed_identities[0].enabled = false);
    assert_eq!(refusal(&ask(&fixture, &[("client_id", &client)]).await).0, 400);
}

#[tokio::test]
async fn the_resource_must_be_ours() {
    let fixture = Fixture::new();
    for (pairs, number) in [(vec![], 900_144), (vec![("resource", "https://evil.example")], 500_011)] {
        let query = query(&pairs);
        assert_eq!(refusal(&fixture.identity.instance_metadata_token(request(&query)).await).2, number);
    }
}
