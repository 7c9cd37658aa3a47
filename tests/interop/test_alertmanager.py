"""A real Alertmanager, Debian's: it takes our alerts over its API, and what it sends to a webhook is what we send to one."""
import http.server
import json
import shutil
import socket
import subprocess
import threading
import urllib.request

import pytest

from helpers.waiting import until

API = "/monitoring/v1"
PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = pytest.mark.skipif(not PROGRAM, reason="prometheus-alertmanager is not installed")


class Receiver:
    def __init__(self):
        self.bodies = bodies = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receivers():
    made = [Receiver(), Receiver()]
    yield made
    for receiver in made:
        receiver.close()


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


@pytest.fixture
def alertmanager(tmp_path, receivers):
    """Its address; it tells receivers[0]."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = tmp_path / "alertmanager.yml"
    config.write_text(f"""
route: {{ receiver: ours, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}
receivers:
  - name: ours
    webhook_configs: [{{ url: '{receivers[0].url}', send_resolved: true }}]
""")
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([PROGRAM, f"--config.file={config}", f"--storage.path={tmp_path / 'am'}", "--cluster.listen-address=",
                                f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ready():
        assert process.poll() is None, "alertmanager has ended"
        try:
            return get(f"{url}/api/v2/status")
        except OSError:
            return None

    try:
        until(ready, "alertmanager is ready")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def start(start_server, url, webhook_format):
    return start_server(args=["--set", f"monitoring.webhook={url}", "--set", f"monitoring.webhook_format={webhook_format}",
                              "--set", "monitoring.instance=one"])


def types(value):
    """What is there, without what it says."""
    if isinstance(value, dict):
        return {key: types(item) for key, item in value.items()}
    return [types(item) for item in value] if isinstance(value, list) else type(value).__name__


def test_alertmanager_takes_our_alerts(start_server, alertmanager, receivers):
    server = start(start_server, alertmanager, "alertmanager")
    with server.client() as client:
        made = client.post(f"{API}/alerts/test", {"severity": "critical", "message": "Does this arrive?"}).json()
        until(lambda: client.get(f"{API}/alerts/recent").json()["alerts"][0]["delivery"]["state"] == "delivered", "delivered")
        alert, = get(f"{alertmanager}/api/v2/alerts")
        assert alert["labels"] == {"alertname": "TestAlert", "severity": "critical", "service": "slipway", "instance": "one",
                                   "test": "true"}
        assert alert["annotations"]["alert_id"] == made["id"] and alert["status"]["state"] == "active"
        assert alert["startsAt"] == made["started_at"] and alert["generatorURL"].endswith(f"{API}/alerts/recent")
        until(lambda: receivers[0].bodies, "Alertmanager tells its receiver")


def test_our_webhook_is_that_of_alertmanager(start_server, alertmanager, receivers):
    """The same alert, told to one receiver by Alertmanager and to another by us."""
    through = start(start_server, alertmanager, "alertmanager")
    direct = start(start_server, receivers[1].url, "webhook")
    for server in (through, direct):
        with server.client() as client:
            client.post(f"{API}/alerts/test", {"message": "the same"})
    theirs, ours = (until(lambda r=r: r.bodies, "told")[0] for r in receivers)
    assert types(theirs) == types(ours)
    for key in ("version", "status", "groupLabels", "commonLabels", "groupKey", "truncatedAlerts"):
        assert theirs[key] == ours[key], key
    assert theirs["alerts"][0]["endsAt"] == ours["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"
