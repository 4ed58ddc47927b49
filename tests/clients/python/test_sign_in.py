"""People sign in with the official clients: in a browser that follows the pages' own forms, and by device code."""

import base64
import hashlib
import html.parser
import json
import os
import secrets
import threading
import urllib.parse
import uuid

import msal
import pytest
import requests
from azure.identity import DeviceCodeCredential, InteractiveBrowserCredential
from azure.keyvault.keys import KeyClient

from conftest import Server, use_environment

AZ_CLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"


@pytest.fixture(scope="module")
def own():
    running = Server("--user", "ada", "--runtimes", "1").start()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def environment(own):
    """What a person's shell has: no client secret."""
    before = dict(os.environ)
    use_environment(own.env)
    for name in "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID":
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


class Form(html.parser.HTMLParser):
    """The one form of a page."""

    def __init__(self, page):
        super().__init__()
        self.action, self.method, self.fields = None, None, {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        assert tag != "script"
        if tag == "form":
            assert self.action is None
            self.action, self.method = attributes["action"], attributes["method"]
        if tag == "input":
            self.fields[attributes["name"]] = attributes.get("value", "")


class Browser:
    """Follows pages as a person would, and keeps the rules of the pages' policy."""

    def __init__(self, server):
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = server.env["STRONGROOM_CA"]
        self.user, self.password = server.env["STRONGROOM_USER_ADA_NAME"], server.env["STRONGROOM_USER_ADA_PASSWORD"]

    def page(self, method, url, **options):
        answer = self.session.request(method, url, allow_redirects=False, timeout=10, **options)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["X-Frame-Options"] == "DENY" and answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        return answer

    def submit(self, answer, **fields):
        form = Form(answer.text)
        assert form.method == "post"
        url = urllib.parse.urljoin(answer.url, form.action)
        allowed = answer.headers["Content-Security-Policy"].split("form-action ")[1].split(";")[0].split()
        origin = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(url))
        assert form.action.startswith("/") or origin in allowed, (url, allowed)
        data = {**form.fields, **fields}
        if form.action.startswith("/"):
            return self.page("POST", url, data=data, headers={"Sec-Fetch-Site": "same-origin"})
        return requests.post(url, data=data, timeout=10)

    def sign_in(self, url):
        """From the address that a program opens to the program's own answer."""
        answer = self.submit(self.page("GET", url), username=self.user, password=self.password, action="go")
        if answer.status_code == 303:
            return requests.get(answer.headers["Location"], timeout=10)
        return self.submit(answer)

    def type_code(self, address, code, **fields):
        page = self.submit(self.page("GET", address), user_code=code)
        return self.submit(page, username=self.user, password=self.password, **{"action": "go", **fields})


def authority(server, tenant="organizations"):
    return f"{server.env['AZURE_AUTHORITY_HOST']}/{tenant}"


def application(server, tenant="organizations", cache=None):
    return msal.PublicClientApplication(AZ_CLI, authority=authority(server, tenant), instance_discovery=False,
                                        verify=server.env["STRONGROOM_CA"], token_cache=cache)


def scope(server, service="managedhsm", end=""):
    return f"https://{service}.localhost:{server.port}{end}/.default"


def assert_is_ada(server, token):
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["oid"] == server.env["STRONGROOM_USER_ADA_OBJECT_ID"] and claims["upn"] == server.env["STRONGROOM_USER_ADA_NAME"]
    # Authenticated, and without a role.
    assert server.session(token).get(f"{server.hsm}/keys?api-version=7.6").status_code == 403


def opens(monkeypatch, browser):
    """What the clients take for the person's browser."""
    def visit(url, *_, **__):
        threading.Thread(target=browser.sign_in, args=(url,), daemon=True).start()
        return True
    monkeypatch.setattr("webbrowser.open", visit)
    monkeypatch.setattr("webbrowser.get", lambda *_: type("B", (), {"open": staticmethod(visit), "name": "test"})())


def test_msal_interactive_and_silently_afterwards(own, monkeypatch):
    opens(monkeypatch, Browser(own))
    cache = msal.SerializableTokenCache()
    app = application(own, cache=cache)
    result = app.acquire_token_interactive([scope(own)], timeout=60, prompt="select_account", login_hint="ada@localhost")
    assert "error" not in result, result
    assert_is_ada(own, result["access_token"])
    claims = result["id_token_claims"]
    assert claims["tid"] == own.env["STRONGROOM_TENANT_ID"] and claims["preferred_username"] == own.env["STRONGROOM_USER_ADA_NAME"]
    # As the az CLI goes on: the same account at the tenant's own authority, for other services, by the refresh token.
    tenant = application(own, own.env["STRONGROOM_TENANT_ID"], cache)
    account, = tenant.get_accounts()
    for wanted in scope(own, "management", "/"), scope(own, "vault"), scope(own, "graph", "/"):
        silent = tenant.acquire_token_silent_with_error([wanted], account)
        assert silent and "access_token" in silent, silent


def test_msal_device_flow(own):
    app = application(own)
    flow = app.initiate_device_flow([scope(own, "management", "/")])
    assert flow["verification_uri"].endswith("/device") and flow["user_code"] in flow["message"], flow
    early = app.client.obtain_token_by_device_flow(flow, exit_condition=lambda _: True)
    assert early["error"] == "authorization_pending", early
    done = Browser(own).type_code(flow["verification_uri"], flow["user_code"].lower())
    assert done.status_code == 200 and "signed in now" in done.text, done.text
    flow["interval"] = 1
    result = app.acquire_token_by_device_flow(flow)
    assert "access_token" in result and result["id_token_claims"]["oid"] == own.env["STRONGROOM_USER_ADA_OBJECT_ID"], result
    again = app.client.obtain_token_by_device_flow(flow, exit_condition=lambda _: True)
    assert again["error"] == "bad_verification_code", again


def test_msal_device_flow_declined(own):
    app = application(own)
    flow = app.initiate_device_flow([scope(own)])
    done = Browser(own).type_code(flow["verification_uri"], flow["user_code"], action="cancel")
    assert "not signed in" in done.text
    result = app.acquire_token_by_device_flow(flow)
    assert result["error"] == "authorization_declined", result


def give_ada_a_role(server):
    role = "21dbd100-6940-42c2-9190-5d6cb909625b"  # Managed HSM Crypto User
    url = f"{server.hsm}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}?api-version=7.6"
    definition = f"Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/{role}"
    body = {"properties": {"roleDefinitionId": definition, "principalId": server.env["STRONGROOM_USER_ADA_OBJECT_ID"]}}
    answer = server.session().put(url, json=body)
    assert answer.status_code == 201, answer.text


def test_azure_identity_credentials_reach_the_keys(own, monkeypatch):
    opens(monkeypatch, Browser(own))
    options = {"authority": own.env["AZURE_AUTHORITY_HOST"], "tenant_id": own.env["STRONGROOM_TENANT_ID"],
               "disable_instance_discovery": True}
    give_ada_a_role(own)
    interactive = InteractiveBrowserCredential(timeout=60, **options)
    list(KeyClient(own.env["STRONGROOM_HSM_URL"], interactive).list_properties_of_keys())

    def prompt(address, code, _expires):
        Browser(own).type_code(address, code)

    device = DeviceCodeCredential(prompt_callback=prompt, **options)
    list(KeyClient(own.env["STRONGROOM_HSM_URL"], device).list_properties_of_keys())


def request_of(verifier, **changes):
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return {"client_id": AZ_CLI, "response_type": "code", "redirect_uri": "http://localhost:1", "state": "s",
            "code_challenge": challenge, "code_challenge_method": "S256", "scope": "openid", **changes}


def test_pages_over_the_wire(own):
    """Forged forms, other browsers and foreign addresses; what one browser was given is worthless in another."""
    base, verifier = authority(own), secrets.token_urlsafe(48)
    wanted = request_of(verifier, scope=scope(own))
    url = f"{base}/oauth2/v2.0/authorize"
    mine, theirs = Browser(own), Browser(own)
    page = mine.page("GET", url, params=wanted)
    cookie = page.headers["Set-Cookie"]
    assert cookie.startswith("__Host-") and all(part in cookie for part in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"))
    fields = {**Form(page.text).fields, "username": mine.user, "password": mine.password, "action": "go"}
    sign_in = urllib.parse.urljoin(url, "/sign-in")
    for browser, headers in (theirs, {}), (mine, {"Sec-Fetch-Site": "cross-site"}):
        assert browser.page("POST", sign_in, data=fields, headers=headers).status_code == 400
    assert mine.page("POST", sign_in, data={**fields, "ticket": fields["ticket"][:-2]}).status_code == 400
    evil = mine.page("GET", url, params={**wanted, "redirect_uri": "https://evil.example/"})
    assert evil.status_code == 400 and "Location" not in evil.headers
    answer = mine.page("POST", sign_in, data=fields)
    assert answer.status_code == 303 and answer.headers["Location"].startswith("http://localhost:1/?code=")
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["Location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "client_id": AZ_CLI, "code": code, "redirect_uri": "http://localhost:1",
            "code_verifier": verifier}
    results = []
    threads = [threading.Thread(target=lambda: results.append(mine.session.post(f"{base}/oauth2/v2.0/token", data=form).status_code))
               for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [200] + [400] * 7


def test_the_log_knows_who_signed_in_and_no_secret(own):
    browser = Browser(own)
    flow = application(own).initiate_device_flow([scope(own)])
    browser.type_code(flow["verification_uri"], flow["user_code"])
    lines = [line for path in sorted((own.folder / "home" / "data" / "audit").iterdir()) if path.is_file()
             for line in path.read_text(errors="replace").splitlines() if line.startswith("{")]
    records = [json.loads(line) for line in lines]
    signed_in = [record for record in records if record.get("operationName") == "PersonSignIn"]
    assert own.env["STRONGROOM_USER_ADA_OBJECT_ID"] in json.dumps(signed_in[-1]), signed_in[-1]
    text = json.dumps(records)
    for secret in own.env["STRONGROOM_USER_ADA_PASSWORD"], flow["device_code"], flow["user_code"]:
        assert secret not in text


def test_a_restart_in_the_middle_means_starting_again(own):
    app = application(own)
    flow = app.initiate_device_flow([scope(own)])
    browser = Browser(own)
    page = browser.submit(browser.page("GET", flow["verification_uri"]), user_code=flow["user_code"])
    own.kill("service")
    own.wait_ready()
    late = browser.submit(page, username=browser.user, password=browser.password, action="go")
    assert late.status_code == 400 and "start the sign-in again" in late.text
    assert app.acquire_token_by_device_flow(flow)["error"] == "bad_verification_code"
