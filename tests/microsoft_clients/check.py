"""Microsoft's own Python clients against `lockstep simulate`, over http and https.

    check.py PATH_OF_LOCKSTEP

Prints one line per check; exits 1 at the first that fails. What these clients accept is evidence
that the simulator speaks Microsoft's contract, and not only our reading of it.
"""

import asyncio
import datetime
import http.server
import json
import logging
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request

import httpx
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CertificateCredential, ClientSecretCredential
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kiota_abstractions.api_error import APIError
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_authentication_azure.azure_identity_authentication_provider import (
    AzureIdentityAuthenticationProvider,
)
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.groups.delta.delta_request_builder import (
    DeltaRequestBuilder as GroupDelta,
)
from msgraph.generated.models.subscription import Subscription
from msgraph.generated.users.delta.delta_request_builder import (
    DeltaRequestBuilder as UserDelta,
)
from msgraph_core import GraphClientFactory
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_item import BatchRequestItem

SCOPE = "https://graph.microsoft.com/.default"
PEOPLE = 450
PATIENCE = 60


def passed(what):
    print(f"ok  {what}", flush=True)


def expect(holds, what):
    if not holds:
        sys.exit(f"FAILED  {what}")
    passed(what)


class Simulator:
    """`lockstep simulate` on free ports, in a folder of its own."""

    def __init__(self, binary, folder):
        command = [binary, "simulate", "--output", "json", "--users", str(PEOPLE)]
        command += ["--bind", "127.0.0.1:0", "--https-bind", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        self.ready = self._ready()
        self.root = os.path.join(folder, self.ready["root_certificate"])

    def _ready(self):
        """What it prints once it serves; the pipe ends, and so does this, when it does not start."""
        watchdog = threading.Timer(PATIENCE, self.process.kill)
        watchdog.start()
        text = ""
        for line in self.process.stdout:
            text += line
            try:
                ready = json.loads(text)
            except json.JSONDecodeError:
                continue
            watchdog.cancel()
            return ready
        sys.exit("FAILED  the simulator did not start")

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.ready['url']}/sim{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=PATIENCE)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers handshakes, keeps notifications."""

    items = []
    arrived = threading.Event()

    def do_POST(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = query.get("validationToken")
        answer = token[0].encode() if token else b""
        if not token:
            Receiver.items += json.loads(body)["value"]
            Receiver.arrived.set()
        self.send_response(200 if token else 202)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def certificate():
    """A key with its self-signed certificate in one PEM, and the certificate alone."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lockstep")])
    now = datetime.datetime.now(datetime.timezone.utc)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    signed = built.not_valid_after(now + datetime.timedelta(days=30)).sign(key, hashes.SHA256())
    public = signed.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + public, public.decode()


def settings(simulator):
    """What every credential needs to find the simulator instead of Microsoft."""
    return {
        "authority": simulator.ready["https_url"],
        "disable_instance_discovery": True,
        "connection_verify": simulator.root,
        "retry_total": 0,
    }


def credentials(simulator):
    ready = simulator.ready
    who, options = (ready["tenant_id"], ready["client_id"]), settings(simulator)
    by_secret = ClientSecretCredential(*who, ready["client_secret"], **options)
    expect(by_secret.get_token(SCOPE).token, "azure-identity: a token by secret")

    wrong = ClientSecretCredential(*who, "wrong", **options)
    expect("AADSTS7000215" in refusal(wrong), "azure-identity: a wrong secret is named")

    both, public = certificate()
    unknown = CertificateCredential(*who, certificate_data=both, **options)
    expect("AADSTS700027" in refusal(unknown), "azure-identity: an unregistered certificate is named")
    simulator.control("PATCH", "/app", {"certificates": [public]})
    by_certificate = CertificateCredential(*who, certificate_data=both, **options)
    expect(by_certificate.get_token(SCOPE).token, "azure-identity: a token by certificate")
    return by_secret, by_certificate


def refusal(credential):
    try:
        credential.get_token(SCOPE)
    except ClientAuthenticationError as error:
        return str(error)
    return ""


def graph(simulator, base, credential):
    trusted = ssl.create_default_context(cafile=simulator.root)
    http_client = GraphClientFactory.create_with_default_middleware(client=httpx.AsyncClient(verify=trusted))
    who = AzureIdentityAuthenticationProvider(credential, scopes=[SCOPE], allowed_hosts=["127.0.0.1", "localhost"])
    adapter = GraphRequestAdapter(who, client=http_client)
    adapter.base_url = f"{base}/v1.0"
    return GraphServiceClient(request_adapter=adapter)


async def round_of(builder, options):
    """All rows of a delta round, the number of its pages, and the link to the next."""
    page, rows, pages = await builder.get(request_configuration=options), [], 1
    while True:
        rows += page.value or []
        if page.odata_delta_link:
            return rows, pages, page.odata_delta_link
        page = await builder.with_url(page.odata_next_link).get()
        pages += 1


async def user_delta(simulator, client, over):
    query = UserDelta.DeltaRequestBuilderGetQueryParameters(select=["displayName", "accountEnabled"])
    rows, pages, link = await round_of(client.users.delta, RequestConfiguration(query_parameters=query))
    truth = {user["id"] for user in simulator.control("GET", "/truth")}
    same = {row.id for row in rows} == truth and all(row.account_enabled is not None for row in rows)
    expect(same and pages > 1, f"msgraph-sdk over {over}: {len(rows)} people by users/delta in {pages} pages")

    person = rows[0].id
    simulator.control("PATCH", f"/users/{person}", {"accountEnabled": False})
    simulator.control("DELETE", f"/users/{rows[1].id}")
    changed, _, _ = await round_of(client.users.delta.with_url(link), None)
    told = {row.id: row for row in changed}
    gone = told.get(rows[1].id)
    expect(
        len(told) == 2 and told[person].account_enabled is False and "@removed" in gone.additional_data,
        f"msgraph-sdk over {over}: the next round tells who was disabled and who was removed",
    )
    simulator.control("PATCH", f"/users/{person}", {"accountEnabled": True})
    simulator.control("POST", f"/users/{rows[1].id}/restore")


async def group_delta(simulator, client, over):
    query = GroupDelta.DeltaRequestBuilderGetQueryParameters(select=["displayName", "members"])
    rows, pages, _ = await round_of(client.groups.delta, RequestConfiguration(query_parameters=query))
    members = {}
    for row in rows:
        slices = row.additional_data.get("members@delta") or []
        # The SDK reads every text that looks like one as a UUID.
        members.setdefault(row.id, set()).update(str(member["id"]) for member in slices)
    people = simulator.control("GET", "/truth")
    truth = {group["id"]: set() for group in simulator.ready["groups"]}
    for user in people:
        for group in user["direct_groups"]:
            truth[group].add(user["id"])
    ids = {user["id"] for user in people}
    same = all(members[group] & ids == whole for group, whole in truth.items())
    expect(same and pages > 1, f"msgraph-sdk over {over}: members by groups/delta in {pages} pages")


async def reads(simulator, client, over):
    person = simulator.ready["users"][0]["id"]
    user = await client.users.by_user_id(person).get()
    groups = await client.users.by_user_id(person).transitive_member_of.get()
    expect(user.id == person and groups.value, f"msgraph-sdk over {over}: a person and their groups")
    try:
        await client.users.by_user_id("00000000-0000-0000-0000-000000000001").get()
        code = None
    except APIError as error:
        code = error.error.code
    expect(code == "Request_ResourceNotFound", f"msgraph-sdk over {over}: an error is understood")


def in_days(days):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)


async def subscription(simulator, client, over, notify):
    wanted = Subscription(
        change_type="updated,deleted",
        notification_url=notify,
        lifecycle_notification_url=notify,
        resource="users",
        expiration_date_time=in_days(2),
        client_state="a-client-state",
    )
    made = await client.subscriptions.post(wanted)
    expect(made.id and made.client_state == "a-client-state", f"msgraph-sdk over {over}: a subscription is made")

    Receiver.arrived.clear()
    person = simulator.ready["users"][2]["id"]
    simulator.control("PATCH", f"/users/{person}", {"department": f"by {over}"})
    arrived = await asyncio.to_thread(Receiver.arrived.wait, PATIENCE)
    item = Receiver.items[-1] if arrived else {}
    same = item.get("subscriptionId") == made.id and item["resourceData"]["id"] == person
    expect(same, f"msgraph-sdk over {over}: its notification arrives")

    one = client.subscriptions.by_subscription_id(made.id)
    renewed = await one.patch(Subscription(expiration_date_time=in_days(20)))
    expect(renewed.expiration_date_time > made.expiration_date_time, f"msgraph-sdk over {over}: it is renewed")
    await one.delete()
    left = await client.subscriptions.get()
    expect(not left.value, f"msgraph-sdk over {over}: it is deleted")


async def batch(simulator, client, over):
    people = [user["id"] for user in simulator.control("GET", "/truth")[:19]]
    nobody = "00000000-0000-0000-0000-000000000001"
    content = BatchRequestContent()
    for person in people + [nobody]:
        item = BatchRequestItem(client.users.by_user_id(person).to_get_request_information())
        item.id = person
        # The SDK puts in absolute URLs, which Graph refuses too (msgraph-sdk-python-core#1116).
        item.url = item.url.removeprefix(client.request_adapter.base_url)
        content.add_request(person, item)
    answer = await client.batch.post(content)
    statuses = {id: int(status) for id, status in answer.get_response_status_codes().items()}
    expected = {person: 200 for person in people} | {nobody: 404}
    expect(statuses == expected, f"msgraph-sdk over {over}: a batch of {len(expected)}, one of them 404")


async def run(simulator, binary_credentials):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    notify = f"http://127.0.0.1:{server.server_port}/notifications"
    by_secret, by_certificate = binary_credentials
    ways = [("http", simulator.ready["url"], by_secret), ("https", simulator.ready["https_url"], by_certificate)]
    for over, base, credential in ways:
        client = graph(simulator, base, credential)
        await reads(simulator, client, over)
        await user_delta(simulator, client, over)
        await group_delta(simulator, client, over)
        await subscription(simulator, client, over, notify)
        await batch(simulator, client, over)
    server.shutdown()


def main():
    # Everything is on this machine.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    # Refusals are part of the checks; the clients need not report them as well.
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)
    binary = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        simulator = Simulator(binary, folder)
        try:
            asyncio.run(run(simulator, credentials(simulator)))
        finally:
            simulator.stop()
    passed("all of Microsoft's clients")


if __name__ == "__main__":
    main()
