"""Local RBAC through the official administration SDK: what is given works, what is taken is refused on the next request."""

import threading
import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from azure.keyvault.administration import (
    KeyVaultAccessControlClient,
    KeyVaultDataAction,
    KeyVaultPermission,
    KeyVaultRoleScope,
)
from azure.keyvault.keys import KeyClient

CRYPTO_USER = "Managed HSM Crypto User"
ADMINISTRATOR = "Managed HSM Administrator"


@pytest.fixture(scope="module")
def access(server):
    return KeyVaultAccessControlClient(server.env["STRONGROOM_HSM_URL"], DefaultAzureCredential())


@pytest.fixture(scope="module")
def reader(server):
    """A second principal without any role, and its object id."""
    credential = ClientSecretCredential(
        server.env["STRONGROOM_TENANT_ID"], server.env["STRONGROOM_PRINCIPAL_READER_CLIENT_ID"],
        server.env["STRONGROOM_PRINCIPAL_READER_CLIENT_SECRET"], disable_instance_discovery=True)
    return KeyClient(server.env["STRONGROOM_HSM_URL"], credential), server.env["STRONGROOM_PRINCIPAL_READER_OBJECT_ID"]


def definition(access, role):
    return next(d for d in access.list_role_definitions(KeyVaultRoleScope.GLOBAL) if d.role_name == role)


def test_built_in_roles_are_azures(access):
    roles = {d.role_name: d for d in access.list_role_definitions(KeyVaultRoleScope.GLOBAL)}
    assert roles[ADMINISTRATOR].name == "a290e904-7015-4bba-90c8-60543313cdb4"
    assert roles[CRYPTO_USER].id == \
        "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/21dbd100-6940-42c2-9190-5d6cb909625b"
    assert all("/keys/" not in action for p in roles[ADMINISTRATOR].permissions for action in p.data_actions)


def test_a_role_works_from_the_next_request_and_ends_with_the_next_request(server, access, reader):
    client, object_id = reader
    key = KeyClient(server.env["STRONGROOM_HSM_URL"], DefaultAzureCredential()).create_ec_key(
        "k" + uuid.uuid4().hex, hardware_protected=True)
    with pytest.raises(HttpResponseError) as refused:
        client.get_key(key.name)
    assert refused.value.status_code == 403
    assert "Not authorized to access Microsoft.KeyVault/managedHsm/keys/read/action" in refused.value.message
    for scope in KeyVaultRoleScope.GLOBAL, KeyVaultRoleScope.KEYS, f"/keys/{key.name}":
        assignment = access.create_role_assignment(scope, definition(access, CRYPTO_USER).id, object_id)
        assert client.get_key(key.name).name == key.name
        assert access.get_role_assignment(scope, assignment.name).properties.principal_id == object_id
        assert assignment.name in {a.name for a in access.list_role_assignments(scope)}
        access.delete_role_assignment(scope, assignment.name)
        with pytest.raises(HttpResponseError) as refused:
            client.get_key(key.name)
        assert refused.value.status_code == 403
        with pytest.raises(ResourceNotFoundError):
            access.get_role_assignment(scope, assignment.name)


def test_custom_definitions(server, access, reader):
    client, object_id = reader
    permissions = [KeyVaultPermission(data_actions=[KeyVaultDataAction.READ_HSM_KEY])]
    made = access.set_role_definition(KeyVaultRoleScope.GLOBAL, role_name="lister", description="may list",
                                      permissions=permissions)
    assert made.role_type == "CustomRole"
    assignment = access.create_role_assignment(KeyVaultRoleScope.KEYS, made.id, object_id)
    list(client.list_properties_of_keys())
    with pytest.raises(HttpResponseError):
        client.create_ec_key("not-mine", hardware_protected=True)
    access.set_role_definition(KeyVaultRoleScope.GLOBAL, name=made.name, role_name="nothing", permissions=[])
    with pytest.raises(HttpResponseError):
        list(client.list_properties_of_keys())
    access.delete_role_assignment(KeyVaultRoleScope.KEYS, assignment.name)
    access.delete_role_definition(KeyVaultRoleScope.GLOBAL, made.name)
    with pytest.raises(ResourceNotFoundError):
        access.get_role_definition(KeyVaultRoleScope.GLOBAL, made.name)


def test_built_in_roles_cannot_be_changed(access):
    role = definition(access, CRYPTO_USER)
    for attempt in (lambda: access.set_role_definition(KeyVaultRoleScope.GLOBAL, name=role.name, role_name="mine"),
                    lambda: access.delete_role_definition(KeyVaultRoleScope.GLOBAL, role.name)):
        with pytest.raises(HttpResponseError) as refused:
            attempt()
        assert refused.value.status_code in (400, 403)


def test_the_last_administrator_stays(own_server):
    access = KeyVaultAccessControlClient(own_server.env["STRONGROOM_HSM_URL"], DefaultAzureCredential())
    administrator = definition(access, ADMINISTRATOR)
    second = access.create_role_assignment(KeyVaultRoleScope.GLOBAL, administrator.id, str(uuid.uuid4()))
    admins = [a.name for a in access.list_role_assignments(KeyVaultRoleScope.GLOBAL)
              if a.properties.role_definition_id.lower().endswith(administrator.name)]
    assert len(admins) == 2 and second.name in admins
    outcomes = []

    def remove(name):
        try:
            access.delete_role_assignment(KeyVaultRoleScope.GLOBAL, name)
            outcomes.append(None)
        except HttpResponseError as refused:
            outcomes.append(refused.status_code)

    removals = [threading.Thread(target=remove, args=(each,)) for each in admins]
    [thread.start() for thread in removals]
    [thread.join() for thread in removals]
    assert outcomes.count(None) == 1, outcomes
