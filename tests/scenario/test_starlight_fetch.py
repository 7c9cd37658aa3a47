"""image_url: what is fetched, what is never even asked for, and slow or lying servers of others."""
import json
import re
import threading

import pytest

from helpers import starlight
from helpers.elsewhere import Elsewhere
from helpers.server import Server

SECRET = "the parcel is under the third bench"
IMAGE = starlight.with_rgb(SECRET, "msb-first")
LIMIT = 64 * 1024
LOOPBACK = "starlight.image_url_networks=127.0.0.0/8,::1"


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return starlight.write_detector(tmp_path_factory.mktemp("detector") / "starlight")


@pytest.fixture(scope="module")
def elsewhere():
    with Elsewhere({"/a.png": IMAGE, "/clean.gif": starlight.clean("GIF", "P"), "/page.html": b"<html>no image</html>",
                    "/just.bin": IMAGE + b"x" * (LIMIT - len(IMAGE)), "/over.bin": b"x" * (LIMIT + 1)}) as server:
        yield server


def settings(*more, hosts="*", ports="80,443"):
    args = ["--app", "starlight", "--set", "registry.enabled=false", "--set", f"starlight.max_image_bytes={LIMIT}",
            "--set", "starlight.image_url=true", "--set", f"starlight.image_url_hosts={hosts}",
            "--set", f"starlight.image_url_ports={ports}"]
    for setting in more:
        args += ["--set", setting]
    return args


def fetcher(binary, detector, folder, *more, **lists):
    """A server in whose environment everything tries to lead the fetcher astray."""
    trap = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")}
    return Server(binary, [detector], args=settings(*more, **lists), cwd=folder, env=trap)


@pytest.fixture(scope="module")
def open_server(binary, detector, elsewhere, tmp_path_factory):
    """May fetch from loopback, at the port of `elsewhere`."""
    with fetcher(binary, detector, tmp_path_factory.mktemp("open"), LOOPBACK, "starlight.image_url_timeout=20s",
                 ports=f"80,443,{elsewhere.port}") as server:
        yield server


@pytest.fixture(scope="module")
def closed_server(binary, detector, elsewhere, tmp_path_factory):
    """The same without the network: public addresses only."""
    with fetcher(binary, detector, tmp_path_factory.mktemp("closed"), ports=f"80,443,{elsewhere.port}") as server:
        yield server


def ask(client, url, path="/inference"):
    return client.post(path, {"image_url": url})


def refusal(answer, status=422):
    assert answer.status == status, answer
    error = answer.json()["error"]
    assert error["details"] == {"field": "image_url"} and error["message"].startswith("image_url: "), answer
    return error["message"]


# ---- what is fetched

def test_fetches(open_server, elsewhere):
    with open_server.client() as client:
        answer = ask(client, elsewhere.url + "/a.png")
        assert answer.status == 200 and answer.json()["extracted_message"] == SECRET
        assert answer.json()["image"]["bytes"] == len(IMAGE)
        assert ask(client, elsewhere.url + "/clean.gif#part").json()["image"]["format"] == "gif"
        assert ask(client, elsewhere.url + "/just.bin").json()["image"]["bytes"] == LIMIT


def test_says_little_about_itself(open_server, elsewhere):
    with open_server.client() as client:
        assert client.post("/inference", {"image_url": elsewhere.url + "/redirect?to=/a.png"},
                           headers={"Authorization": "Bearer secret", "Cookie": "a=b"}).status == 200
    with elsewhere.lock:
        first, second = elsewhere.asked[-2:]
    assert first[0].startswith("/redirect") and second[0] == "/a.png"  # not a proxy's absolute form
    for _, headers in (first, second):
        assert set(headers) == {"Host", "User-Agent", "Accept"} and headers["User-Agent"].startswith("slipway/")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.1", "2130706433", "0x7f.1", "127.0.0.1"])
def test_names_and_spellings_of_an_allowed_address(open_server, elsewhere, host):
    with open_server.client() as client:
        assert ask(client, f"http://{host}:{elsewhere.port}/a.png").status == 200


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects(open_server, elsewhere, code):
    with open_server.client() as client:
        assert ask(client, f"{elsewhere.url}/redirect?code={code}&to={elsewhere.url}/a.png").status == 200


def test_three_redirects_and_no_more(open_server, elsewhere):
    url = "/a.png"
    with open_server.client() as client:
        for count in range(1, 5):
            url = "/redirect?to=" + url.replace("%", "%25").replace("&", "%26").replace("?", "%3F")
            answer = ask(client, elsewhere.url + url)
            if count <= 3:
                assert answer.status == 200, count
        assert "more than 3 times" in refusal(answer)


# ---- what others answer

@pytest.mark.parametrize("path, status, words", [
    ("/missing", 422, "answered 404"), ("/status?code=500", 422, "answered 500"), ("/status?code=206", 422, "answered 206"),
    ("/empty", 422, "sent nothing"), ("/cut", 422, "failed"), ("/gzip", 415, None), ("/page.html", 415, None),
    ("/over.bin", 413, str(LIMIT)), (f"/announced?n={LIMIT + 1}", 413, str(LIMIT)), ("/announced?n=99999999999999999999", 413, None),
    ("/headers", 422, "headers"), ("/trailers", 422, "headers"), ("/endless", 413, str(LIMIT)), ("/redirect?to=ftp://127.0.0.1/a.png", 422, "only http"),
    ("/redirect?to=file:///etc/passwd", 422, "only http"), ("/redirect?to=http://user:pw@127.0.0.1/", 422, "user name"),
    ("/redirect?to=http://127.0.0.1:22/", 422, "port 22"), ("/status?code=302", 422, "answered 302")])
def test_answers_of_others(open_server, elsewhere, path, status, words):
    with open_server.client() as client:
        answer = ask(client, elsewhere.url + path)
        assert answer.status == status, answer
        assert words is None or words in answer.json()["error"]["message"], answer


def test_too_much_is_cut_off(open_server, elsewhere):
    elsewhere.cut.clear()
    with open_server.client() as client:
        refusal(ask(client, elsewhere.url + "/endless"), 413)
    assert elsewhere.cut.wait(30), "the rest was read all the same"


def test_nobody_there(open_server, elsewhere):
    with Elsewhere() as gone:
        pass
    with open_server.client() as client:
        message = refusal(ask(client, f"http://127.0.0.1:{elsewhere.port}".replace("127.0.0.1", "127.0.0.9") + "/a.png"))
        assert "failed" in message
        assert "port" in refusal(ask(client, gone.url + "/a.png"))


# ---- what is never asked for

def forbidden(port):
    loopback = ["127.0.0.1", "127.0.0.2", "127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0x7f.1",
                "0177.0.0.1", "0x7f.0.0.0x1", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
                "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "localhost", "localhost.", "LocalHost", "0.0.0.0", "0",
                "[::]", "%6cocalhost", "127%2e0.0.1"]
    private = ["10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1",
               "100.127.255.255", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
               "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "0.1.2.3", "[fe80::1]", "[fec0::1]",
               "[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "[2001::1]", "[2001:db8::1]", "[2002:a00:1::1]", "[3fff::1]",
               "[100::1]", "[64:ff9b:1::1]", "[::ffff:10.0.0.1]", "2852039166", "0xa9fea9fe"]
    return ([f"http://{host}:{port}/a.png" for host in loopback] + [f"http://{host}/" for host in private] +
            [f"https://{host}/" for host in ("127.0.0.1", "[::1]", "10.0.0.1")])


def test_addresses_that_are_not_public(closed_server, elsewhere):
    before = len(elsewhere.paths())
    with closed_server.client() as client:
        for url in forbidden(elsewhere.port):
            message = refusal(ask(client, url))
            assert "not at a public address" in message or "has no address" in message or "no host name" in message, (url, message)
    assert len(elsewhere.paths()) == before


NOT_URLS = ["x", "/etc/passwd", "a.png", "//127.0.0.1/a.png", "http:", "http://", "http:///a.png", "http://:80/a.png",
            "file:///etc/passwd", "ftp://example.org/a.png", "gopher://127.0.0.1:25/_x", "dict://127.0.0.1:11211/x",
            "data:image/png;base64,AAAA", "javascript:1", "http://user@example.org/", "http://user:pw@example.org/",
            "http://:pw@example.org/", "http://example.org@127.0.0.1/", "http://127.0.0.1\\@example.org/",
            "http://example.org:22/", "http://example.org:0/", "http://example.org:65536/", "http://example.org:a/",
            "http://example.org /a.png", "http://exam ple.org/", "http://example.org/a b", "http://ex\u00e4mple.org/",
            "http://example.org/\u00e4", "http://example.org/\r\nX: y", "http://example.org/\u0000", "http://[::1/", "http://[fe80::1%25lo]/",
            "http://[fe80::1%lo]/", "http://a..b/", "http://.example.org/", "http://" + "a" * 300 + ".org/",
            "http://example.org/" + "a" * 2048, "http://exa\tmple.org/"]


def test_what_is_no_url(closed_server):
    with closed_server.client() as client:
        for url in NOT_URLS:
            refusal(ask(client, url))
        for url in ("http://127.0.0.1#@example.org/", "http://127.0.0.1?@example.org/", "http://127.0.0.1/@example.org"):
            assert "not at a public address" in refusal(ask(client, url))


def test_redirects_are_checked_too(binary, detector, tmp_path):
    """127.0.0.2 is allowed, 127.0.0.1 is not: a redirect does not lead there, and it is not asked."""
    with Elsewhere({"/a.png": IMAGE}) as inside, Elsewhere({"/a.png": IMAGE}, host="127.0.0.2") as outside:
        with fetcher(binary, detector, tmp_path, "starlight.image_url_networks=127.0.0.2",
                     ports=f"80,{inside.port},{outside.port}") as server, server.client() as client:
            assert ask(client, outside.url + "/a.png").status == 200
            for target in (inside.url + "/a.png", f"http://2130706433:{inside.port}/a.png", f"//127.0.0.1:{inside.port}/a.png",
                           f"http://localhost:{inside.port}/a.png", f"http://[::ffff:127.0.0.1]:{inside.port}/a.png"):
                message = refusal(ask(client, f"{outside.url}/redirect?to={target}"))
                assert message.startswith("image_url: redirected: ") and "not at a public address" in message
            assert inside.paths() == [] and len(outside.paths()) == 6


def test_hosts(binary, detector, elsewhere, tmp_path):
    """Names and addresses of the list, and what is below a name; everything else is refused before it is looked up."""
    with fetcher(binary, detector, tmp_path, LOOPBACK, hosts="127.0.0.1, *.example.org,images.example.com.",
                 ports=str(elsewhere.port)) as server, server.client() as client:
        assert ask(client, elsewhere.url + "/a.png").status == 200
        assert ask(client, f"http://127.1:{elsewhere.port}/a.png").status == 200  # the same address, written shorter
        for host in ("localhost", "127.0.0.2", "example.org", "badexample.org", "example.org.evil.test", "sub.images.example.com",
                     "example.com", "[::1]", "127.0.0.1.example.net"):
            assert "not one that may be fetched from" in refusal(ask(client, f"http://{host}:{elsewhere.port}/a.png")), host
        for host in ("a.example.org", "A.B.Example.ORG.", "images.example.com", "IMAGES.example.com."):
            # Allowed; what the refusal is about is the port, which is looked at next.
            assert "port 81" in refusal(ask(client, f"http://{host}:81/a.png")), host


# ---- time and crowds

def test_slow_servers_get_504(binary, detector, elsewhere, tmp_path):
    with fetcher(binary, detector, tmp_path, LOOPBACK, "starlight.image_url_timeout=300ms",
                 ports=f"{elsewhere.port}") as server, server.client() as client:
        for path in ("/silent", "/drip", "/redirect?to=/silent", "/announced?n=1000"):
            assert "300 ms" in refusal(ask(client, elsewhere.url + path), 504)
        assert ask(client, elsewhere.url + "/a.png").status == 200


def test_a_deadline_of_the_caller_ends_a_fetch(open_server, elsewhere):
    """Long before the time-out of the configuration, and the thread is free again."""
    with open_server.client() as client:
        answer = client.post("/inference", {"image_url": elsewhere.url + "/silent"}, headers={"X-Timeout-Ms": "300"})
        message = refusal(answer, 504)
        assert int(re.search(r"within (\d+) ms", message)[1]) <= 300
        assert ask(client, elsewhere.url + "/a.png").status == 200


def test_slow_servers_hold_up_nobody_else(binary, detector, tmp_path):
    """One thread, one place in the queue: a third fetch is 429, and images that are sent are answered all the time."""
    with Elsewhere({"/a.png": IMAGE}) as slow:
        args = (LOOPBACK, "starlight.image_url_threads=1", "starlight.image_url_queue=1", "starlight.image_url_timeout=1m",
                "scheduler.workers=1")
        with fetcher(binary, detector, tmp_path, *args, ports=str(slow.port)) as server:
            statuses, threads = [], []

            def fetch():
                with server.client(60) as client:
                    statuses.append(ask(client, slow.url + "/silent").status)

            def begin():
                threads.append(threading.Thread(target=fetch))
                threads[-1].start()

            begin()
            assert slow.news.wait(30)  # the only thread is waiting
            with server.client() as client:
                begin()  # takes the place in the queue, or finds that another has
                answers = []
                while not any(answer.status == 429 for answer in answers):
                    threads.append(threading.Thread(target=fetch))
                    threads[-1].start()
                    answers.append(client.post("/inference", body=IMAGE, headers={"Content-Type": "image/png"}))
                    assert answers[-1].status == 200
                    if 429 in statuses:
                        break
                    assert len(threads) < 100
                assert client.post("/inference", body=IMAGE, headers={"Content-Type": "image/png"}).json()["is_stego"]
            slow.close()
            for thread in threads:
                thread.join(60)
            assert sorted(set(statuses)) == [422, 429] and statuses.count(422) == 2


def test_held_bytes_are_limited(binary, detector, elsewhere, tmp_path):
    with fetcher(binary, detector, tmp_path, LOOPBACK, "starlight.image_url_max_held_bytes=1KiB",
                 ports=str(elsewhere.port)) as server, server.client() as client:
        for _ in range(3):  # what is refused gives back what it held
            answer = ask(client, elsewhere.url + "/just.bin")
            assert answer.status == 503 and "no memory" in answer.json()["error"]["message"]
            assert ask(client, elsewhere.url + "/a.png").status == 200


def test_many_fetches_at_once(open_server, elsewhere):
    faults = []

    def work(seed):
        try:
            with open_server.client(60) as client:
                for i in range(8):
                    path, status = [("/a.png", 200), ("/missing", 422), ("/over.bin", 413), ("/clean.gif", 200)][(seed + i) % 4]
                    answer = ask(client, elsewhere.url + path)
                    assert answer.status == status, answer
                    assert path != "/a.png" or answer.json()["extracted_message"] == SECRET
        except BaseException as fault:  # of a thread: told by the test
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]


def test_client_that_goes_away(open_server, elsewhere):
    body = json.dumps({"image_url": elsewhere.url + "/a.png"}).encode()
    for _ in range(20):
        with open_server.connect() as connection:
            connection.sendall(b"POST /inference HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                               b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    with open_server.client() as client:
        assert ask(client, elsewhere.url + "/a.png").status == 200


def test_ends_while_fetching(binary, detector, tmp_path):
    """SIGTERM with a fetch under way: the process still ends with 0."""
    with Elsewhere() as slow:
        server = fetcher(binary, detector, tmp_path, LOOPBACK, "starlight.image_url_timeout=1s", "server.drain_timeout=0s",
                         ports=str(slow.port))
        with server.connect() as connection:
            body = json.dumps({"image_url": slow.url + "/silent"}).encode()
            connection.sendall(b"POST /inference HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                               b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            assert slow.news.wait(30)
            server.stop()


# ---- configuration

@pytest.mark.parametrize("setting, words", [
    ("starlight.image_url_hosts=", "starlight.image_url_hosts: image_url is allowed, but from no host"),
    ("starlight.image_url_hosts=exa mple.org", "starlight.image_url_hosts: 'exa mple.org'"),
    ("starlight.image_url_hosts=http://example.org/", "starlight.image_url_hosts: "),
    ("starlight.image_url_hosts=*example.org", "starlight.image_url_hosts: "),
    ("starlight.image_url_ports=80,http", "starlight.image_url_ports: 'http'"),
    ("starlight.image_url_ports=0", "starlight.image_url_ports: '0'"),
    ("starlight.image_url_networks=10.0.0.1/8", "starlight.image_url_networks: '10.0.0.1/8'"),
    ("starlight.image_url_networks=fd00::/129", "starlight.image_url_networks: 'fd00::/129'"),
    ("starlight.image_url_networks=localhost", "starlight.image_url_networks: 'localhost'"),
    ("starlight.image_url_redirects=21", "starlight.image_url_redirects"),
    ("starlight.model=", "starlight.model")])
def test_wrong_settings(run_slipway, detector, setting, words):
    done = run_slipway("serve", detector, "--port", "0", *settings(), "--set", setting)
    assert done.returncode == 2 and words in done.stderr, done.stderr
