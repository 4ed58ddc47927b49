//! The first roles of a managed HSM that `dev` made: given once, and not again after somebody removed them.

use crate::failure::Failure;
use crate::service::parts::system_record;
use std::sync::Arc;
use std::time::Instant;
use strongroom_engine::roles::CreateRoleAssignment;
use strongroom_engine::{Engine, Pool, PoolState, Recorded};
use strongroom_model::error::{Conflict, Error};
use strongroom_model::principal::PrincipalKind;
use strongroom_model::role::{CRYPTO_OFFICER, CRYPTO_USER};
use strongroom_model::{DataAction, Principal, RoleScope};
use strongroom_server::config::DevelopmentConfig;
use uuid::Uuid;

/// Gives the developer and the managed identity their roles, if this has not been done before.
pub(super) async fn give_first_roles(
    engine: &Engine,
    pool: &Arc<Pool>,
    development: &DevelopmentConfig,
) -> Result<(), Failure> {
    if pool.state != PoolState::Activated {
        return Ok(());
    }
    let done = format!("dev-roles-{}", pool.id);
    if engine.document(&done).await?.is_some() {
        return Ok(());
    }
    let developer = Arc::new(Principal {
        object_id: development.principal,
        tenant_id: development.tenant,
        app_id: None,
        user_name: None,
        groups: Arc::new([]),
        kind: PrincipalKind::Application,
        issuer: "".into(),
    });
    let grant = engine.authorise(pool, &developer, DataAction::RoleAssignmentsWrite, RoleScope::Hsm).map_err(|_| {
        Failure::configuration(format!(
            "managed HSM {}: it was made for another principal than the one in dev.json: put the old dev.json back, or begin \
             anew with another --data folder",
            pool.name
        ))
    })?;
    let wanted = [
        (development.principal, CRYPTO_OFFICER),
        (development.principal, CRYPTO_USER),
        (development.managed_identity, CRYPTO_USER),
    ];
    for (principal_id, role_definition_id) in wanted {
        let mut record = system_record("RoleAssignmentCreate", "dev", None);
        record.resource = pool.name.to_string();
        let recorded = Recorded { record, started: Instant::now() };
        let assignment = CreateRoleAssignment { principal_id, role_definition_id, scope: RoleScope::Hsm };
        match engine.create_role_assignment(&grant, recorded, Uuid::new_v4(), assignment).await {
            // An earlier start was killed in between.
            Ok(_) | Err(Error::Conflict(Conflict::RoleAssignmentExists)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(engine.put_document(&done, Vec::new()).await?)
}
