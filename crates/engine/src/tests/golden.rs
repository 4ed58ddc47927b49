//! A store of format 1, written once and kept: every later program opens it.

use super::house::{ADMIN, name, recorded};
use super::real::Real;
use crate::keys::{CreateKey, IsoDuration, RotateTrigger, RotationPolicy, Tags};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use strongroom_hsm::verbs::{Input, Output};
use strongroom_model::role::{CRYPTO_OFFICER, CRYPTO_USER, Permission};
use strongroom_model::{Algorithm, DataAction, KeyOps, KeySpec, KeyType, RoleScope, SecretBytes};
use strongroom_store::{Change, MemoryStore, Store};
use uuid::Uuid;

const FOLDER: &str = "tests/golden";
/// Set in the environment, the test writes the file before it reads it.
const WRITE: &str = "STRONGROOM_WRITE_GOLDEN";
const CUSTOM_ROLE: Uuid = Uuid::from_u128(0xc0de);
const ASSIGNMENT: Uuid = Uuid::from_u128(0xa55);

fn file() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), FOLDER, "store-1.hex"].iter().collect()
}

fn policy() -> RotationPolicy {
    let rotate = Some(RotateTrigger::AfterCreate(IsoDuration::parse("P60D").unwrap()));
    let expiry = Some(IsoDuration::parse("P90D").unwrap());
    RotationPolicy { rotate, expiry, created: None, updated: None }
}

fn tags() -> Tags {
    Tags::from([("purpose".to_owned(), "golden".to_owned())])
}

async fn fill(real: &Real) {
    let (engine, sign) = (&real.engine, KeyOps::default_for(KeyType::Ec));
    let what = CreateKey { tags: tags(), ..super::house::of(KeySpec::EcP256) };
    engine.create_key(&real.grant(DataAction::KeysCreate), recorded(), name("Signer"), what).await.unwrap();
    let signed = real.operate("signer", Algorithm::Es256, Input::Sign { digest: vec![1; 32] }).await.unwrap();
    let Output::Signature(signature) = signed else { panic!("no signature") };
    engine.put_document("signature", signature).await.unwrap();
    let g = real.grant(DataAction::KeysWrite);
    engine.update_key_rotation_policy(&g, recorded(), name("signer"), policy()).await.unwrap();
    real.create("Cipher", KeySpec::Oct256, KeyOps::default_for(KeyType::Oct)).await;
    let input = Input::Encrypt { plaintext: SecretBytes::new(b"still readable".to_vec()), iv: None, aad: None };
    let encrypted = real.operate("cipher", Algorithm::A256Gcm, input).await.unwrap();
    let Output::Ciphertext { value, iv: Some(iv), tag: Some(tag) } = encrypted else { panic!("no ciphertext") };
    engine.put_document("ciphertext", [iv, tag, value].concat()).await.unwrap();
    real.create("Deleted", KeySpec::EcP384, sign).await;
    engine.delete_key(&real.grant(DataAction::KeysDelete), recorded(), name("deleted")).await.unwrap();
    let definition = crate::roles::SetRoleDefinition {
        role_name: Some("Golden".into()),
        description: "kept".into(),
        permissions: vec![Permission { data_actions: vec![DataAction::KeysRead], not_data_actions: vec![] }],
    };
    let g = real.grant(DataAction::RoleDefinitionsWrite);
    engine.set_role_definition(&g, recorded(), CUSTOM_ROLE, definition).await.unwrap();
    let asked = crate::roles::CreateRoleAssignment {
        principal_id: Uuid::from_u128(0xb0b),
        role_definition_id: CUSTOM_ROLE,
        scope: RoleScope::Key(name("signer")),
    };
    let g = real.grant(DataAction::RoleAssignmentsWrite);
    engine.create_role_assignment(&g, recorded(), ASSIGNMENT, asked).await.unwrap();
    let officer = crate::roles::CreateRoleAssignment {
        principal_id: ADMIN,
        role_definition_id: CRYPTO_OFFICER,
        scope: RoleScope::Hsm,
    };
    engine.create_role_assignment(&g, recorded(), Uuid::from_u128(2), officer).await.unwrap();
    engine.system_key("issuer", KeySpec::EcP256).await.unwrap();
    let history = engine.sign_chains(&real.pool).await.unwrap();
    assert!(engine.keep_history(&real.pool, &history).await.unwrap());
    engine.stop().await;
}

/// Makes the file anew: for a new format only, since it is the promise that old stores open.
async fn write() {
    let store = Arc::new(MemoryStore::new());
    fill(&Real::on(Arc::clone(&store) as Arc<dyn Store>, 1).await.unwrap()).await;
    let mut text = String::new();
    for entry in store.scan(b"", &[0xff], usize::MAX).await.unwrap().entries {
        writeln!(text, "{} {}", hex::encode(entry.path), hex::encode(entry.value)).unwrap();
    }
    std::fs::create_dir_all(file().parent().unwrap()).unwrap();
    std::fs::write(file(), text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_format_1_opens_for_ever() {
    if std::env::var_os(WRITE).is_some() {
        write().await;
    }
    let store = Arc::new(MemoryStore::new());
    for line in std::fs::read_to_string(file()).unwrap().lines() {
        let (path, value) = line.split_once(' ').unwrap();
        let change = Change::Put(hex::decode(path).unwrap(), hex::decode(value).unwrap());
        store.commit(vec![], vec![change]).await.unwrap();
    }
    let real = Real::on(store, 1).await.unwrap();
    let engine = &real.engine;
    let key = engine.get_key(&real.grant(DataAction::KeysRead), &name("SIGNER"), None).await.unwrap();
    assert_eq!((key.name.as_str(), &key.tags), ("Signer", &tags()));
    let signature = engine.document("signature").await.unwrap().unwrap();
    let verify = Input::Verify { digest: vec![1; 32], signature };
    assert!(matches!(real.operate("signer", Algorithm::Es256, verify).await, Ok(Output::Verified(true))));
    let sealed = engine.document("ciphertext").await.unwrap().unwrap();
    let (iv, rest) = sealed.split_at(12);
    let (tag, ciphertext) = rest.split_at(16);
    let (iv, tag) = (Some(iv.to_vec()), Some(tag.to_vec()));
    let decrypt = Input::Decrypt { ciphertext: ciphertext.to_vec(), iv, aad: None, tag };
    let Ok(Output::Plaintext(plain)) = real.operate("cipher", Algorithm::A256Gcm, decrypt).await else { panic!() };
    assert!(plain.same_as(b"still readable"));
    let kept = engine.get_key_rotation_policy(&real.grant(DataAction::KeysRead), &name("signer")).await.unwrap();
    assert_eq!((kept.rotate, kept.expiry), (policy().rotate, policy().expiry));
    let g = real.grant(DataAction::DeletedKeysRead);
    assert_eq!(engine.get_deleted_key(&g, &name("deleted")).await.unwrap().key.spec, KeySpec::EcP384);
    let bob = super::house::caller(Uuid::from_u128(0xb0b), &[]);
    let may = |scope| engine.authorise(&real.pool, &bob, DataAction::KeysRead, scope).is_ok();
    assert!(may(RoleScope::Key(name("signer"))) && !may(RoleScope::Key(name("cipher"))));
    assert!(engine.outbox(1000).await.unwrap().iter().any(|r| r.record.object.starts_with("keys/Signer/")));
    let set = real.pool.live.roles.read();
    assert!(set.assignments.values().any(|a| a.role_definition_id == CRYPTO_USER));
}
