//! People: passwords, refresh tokens, groups.

use super::*;

fn password_grant<'a>(user: &'a str, password: &'a str) -> [(&'static str, &'a str); 6] {
    [
        ("grant_type", "password"),
        ("client_id", AZ_CLI),
        ("username", user),
        ("password", password),
        ("scope", "https://managedhsm.localhost:8443/.default openid profile offline_access"),
        ("client_info", "1"),
    ]
}

fn with_password() -> Fixture {
    let mut file = directory();
    file.users[0].password = Some(PASSWORD_HASH.clone());
    Fixture::with(file)
}

#[tokio::test]
async fn a_password_buys_tokens_and_a_refresh_token_more() {
    let mut fixture = with_password();
    let answer = fixture.post(&password_grant("ADA@example.org", PASSWORD)).await;
    let principal = fixture.validate(&access_token(&answer)).unwrap();
    assert_eq!((principal.object_id, &*principal.groups), (USER, [GROUP].as_slice()));
    assert_eq!(principal.user_name.as_deref(), Some("Ada@example.org"));
    assert_eq!(principal.kind, strongroom_model::principal::PrincipalKind::User);
    assert_eq!(answer.stamps.len(), 3);
    let body = json(&answer);
    let id = claims_of(body["id_token"].as_str().unwrap());
    assert_eq!((&id["aud"], &id["preferred_username"]), (&AZ_CLI.into(), &"Ada@example.org".into()));
    let info: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body["client_info"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(info, serde_json::json!({ "uid": USER, "utid": TENANT }));

    let refresh = body["refresh_token"].as_str().unwrap().to_owned();
    assert!(fixture.validate(&refresh).is_err(), "a refresh token is no access token");
    assert!(fixture.validate(body["id_token"].as_str().unwrap()).is_err(), "nor is an ID token");
    let scope = "https://vault.localhost:8443/.default offline_access";
    let grant = |token: &str, client: &str| {
        [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token), ("scope", scope)]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
    };
    let redeem = async |fixture: &Fixture, token: &str, client: &str| {
        let fields = grant(token, client);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        fixture.post(&fields).await
    };
    let again = redeem(&fixture, &refresh, AZ_CLI).await;
    fixture.identity.validate(&access_token(&again), "https://vault.localhost:8443").unwrap();
    let access = body["access_token"].as_str().unwrap();
    assert_eq!(refusal(&redeem(&fixture, access, AZ_CLI).await).2, 70_008, "an access token is no refresh token");
    assert_eq!(refusal(&redeem(&fixture, &refresh, &NOBODY.to_string()).await).2, 700_016);
    fixture.clock.advance(14 * 86_400);
    assert_eq!(refusal(&redeem(&fixture, &refresh, AZ_CLI).await).2, 70_008);
    fixture.clock.advance(-14 * 86_400);
    let other = PASSWORD_HASH.replacen("600000", "600001", 1);
    fixture.change(|file| file.users[0].password = Some(other));
    assert_eq!(refusal(&redeem(&fixture, &refresh, AZ_CLI).await).2, 70_008, "the password changed");
    fixture.change(|file| {
        file.users[0].password = Some(PASSWORD_HASH.clone());
        file.users[0].enabled = false;
    });
    assert_eq!(refusal(&redeem(&fixture, &refresh, AZ_CLI).await).2, 70_008, "the user was disabled");
}

#[tokio::test]
async fn wrong_users_and_passwords_look_alike_and_are_limited() {
    let mut fixture = with_password();
    for user in ["Ada@example.org", "nobody@example.org"] {
        assert_eq!(refusal(&fixture.post(&password_grant(user, "wrong")).await).2, 50_126, "{user}");
    }
    fixture.change(|file| file.users[0].enabled = false);
    assert_eq!(refusal(&fixture.post(&password_grant("Ada@example.org", PASSWORD)).await).2, 50_057);
    fixture.change(|file| file.users[0].enabled = true);
    for _ in 0..10 {
        let key = (super::super::directory::sha256_of(b"ada@example.org"), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        fixture.identity.user_attempts().failed(key, Timestamp(NOW));
    }
    let slowed = fixture.post(&password_grant("ada@EXAMPLE.org", PASSWORD)).await;
    assert_eq!(slowed.status, 429, "even the right password waits");
    fixture.clock.advance(60);
    access_token(&fixture.post(&password_grant("ada@example.org", PASSWORD)).await);
}

/// Each name alone stays under its limit; hashing for all of them would keep the processors busy for good.
#[tokio::test]
async fn one_peer_cannot_have_passwords_of_ever_new_users_hashed() {
    let fixture = with_password();
    for _ in 0..2 {
        access_token(&fixture.post(&password_grant("ada@example.org", PASSWORD)).await);
    }
    // Nobody gets a turn to hash any more, so that nothing here takes its time.
    fixture.identity.hashing().close();
    let failing = async |i: u32| {
        let answer = fixture.post(&password_grant(&format!("user-{i}@example.org"), "wrong")).await;
        assert_eq!(answer.status, 429);
        json(&answer)["error_description"].as_str().unwrap().contains("Too many failing attempts")
    };
    for i in 0..60 {
        assert!(!failing(i).await, "{i}: right passwords do not count");
    }
    assert!(failing(60).await);
    fixture.clock.advance(60);
    assert!(!failing(61).await);
}

#[tokio::test]
async fn a_user_logs_in_through_known_clients_only() {
    let fixture = with_password();
    let nobody = NOBODY.to_string();
    let app = APP_CLIENT.to_string();
    let mut fields = password_grant("Ada@example.org", PASSWORD);
    for client in [&nobody, &app] {
        fields[1].1 = client;
        assert_eq!(refusal(&fixture.post(&fields).await).2, 700_016);
    }
    let through_app = [&fields[..], &[("client_secret", SECRET)]].concat();
    let token = access_token(&fixture.post(&through_app).await);
    assert_eq!(fixture.validate(&token).unwrap().app_id.as_deref(), Some(app.as_str()));
    let without_user: Vec<_> = password_grant("", PASSWORD).into_iter().collect();
    assert_eq!(refusal(&fixture.post(&without_user).await).2, 900_144);
}

#[tokio::test]
async fn a_group_left_since_does_not_count() {
    let mut fixture = Fixture::new();
    let token = fixture.token().await;
    assert_eq!(&*fixture.validate(&token).unwrap().groups, &[GROUP]);
    fixture.change(|file| file.groups[0].enabled = false);
    assert!(fixture.validate(&token).unwrap().groups.is_empty());
    fixture.change(|file| {
        file.groups[0].enabled = true;
        file.groups[0].members.retain(|m| *m != APP);
    });
    assert!(fixture.validate(&token).unwrap().groups.is_empty());
}
