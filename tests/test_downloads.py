"""The downloader against a server on this machine: checksums, mirrors, parts, redirects, bars."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from pathlib import Path

import pytest

from cnnlab import downloads
from cnnlab.downloads import DownloadError, Remote, download
from tests.file_server import FileServer, serving

CONTENT = bytes(range(256)) * 2000  # 500 KiB
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
PART = ".big.bin.part"


@pytest.fixture
def remote(server: FileServer) -> Remote:
    (server.folder / "big.bin").write_bytes(CONTENT)
    return Remote((f"{server.url}big.bin",), MD5)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("checksum", [MD5, f"sha256:{hashlib.sha256(CONTENT).hexdigest()[:8]}", "sha256:"])
def test_a_file_is_downloaded_once(server: FileServer, remote: Remote, tmp_path: Path, checksum: str) -> None:
    remote = Remote(remote.urls, checksum)
    for _ in range(2):
        path = download(remote, tmp_path / "new" / "folder")
        assert (path.name, path.read_bytes()) == ("big.bin", CONTENT)
        assert names(path.parent) == ["big.bin"]
    assert server.asked == ["/big.bin"]


def test_a_wrong_file_of_that_name_is_replaced(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(b"an older version")
    assert download(remote, tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing_behind(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    (server.folder / "big.bin").write_bytes(b"x")
    folder = tmp_path / "to"
    with pytest.raises(DownloadError) as caught:
        download(remote, folder)
    got, expected = hashlib.md5(b"x").hexdigest()[:8], MD5[4:12]
    assert str(caught.value) == (
        f"{remote.urls[0]}: what came is not the file, its MD5 checksum begins with {got}, not with {expected}"
    )
    assert names(folder) == []
    assert server.asked == ["/big.bin"]


def test_a_broken_connection_goes_on_where_it_stopped(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "to"
    server.most = 131_072
    with pytest.raises(DownloadError, match="connection broken; the 128 KiB that came are kept"):
        download(remote, folder)
    assert names(folder) == [PART]
    assert (folder / PART).read_bytes() == CONTENT[:131_072]
    server.most = None
    assert download(remote, folder).read_bytes() == CONTENT
    assert names(folder) == ["big.bin"]
    assert server.asked == ["/big.bin", "/big.bin [131072]"]


def test_a_server_that_sends_no_parts_sends_the_whole(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(CONTENT[:1000])
    server.resumes = False
    assert download(remote, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"something else", CONTENT + b"too long", b"x" * len(CONTENT)])
def test_a_part_that_does_not_fit_is_downloaded_anew(
    server: FileServer, remote: Remote, tmp_path: Path, left: bytes
) -> None:
    (tmp_path / PART).write_bytes(left)
    assert download(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"/big.bin [{len(left)}]", "/big.bin"]


def test_a_whole_part_is_not_downloaded_again(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(CONTENT)
    assert download(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"/big.bin [{len(CONTENT)}]"]


def test_the_part_of_a_running_process_is_left_alone(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    other = tmp_path / ".big.bin.1.part"
    other.write_bytes(CONTENT[:1000])
    download(remote, tmp_path)
    assert server.asked == ["/big.bin"]
    (tmp_path / "big.bin").unlink()
    os.utime(other, (0, time.time() - 120))  # nothing was written for two minutes: that process is dead
    download(remote, tmp_path)
    assert server.asked[1:] == ["/big.bin [1000]"]
    assert set(names(tmp_path)) == {"big.bin", "www"}


def test_mirrors_are_asked_in_order(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{taken.getsockname()[1]}/big.bin"
        missing = f"{server.url}missing/big.bin"
        path = download(Remote((refused, missing, *remote.urls), MD5), tmp_path)
        assert path.read_bytes() == CONTENT
        assert server.asked == ["/missing/big.bin", "/big.bin"]
        with pytest.raises(DownloadError) as caught:
            download(Remote((refused, missing), "md5:0"), tmp_path / "none")
    assert f"{refused}: connection refused; {missing}: 404" in str(caught.value).replace("404 Client Error", "404")


def test_a_mirror_goes_on_where_another_stopped(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    with serving(tmp_path / "other") as other:
        (other.folder / "big.bin").write_bytes(CONTENT)
        other.most = 65_536
        download(Remote((f"{other.url}big.bin", *remote.urls), MD5), tmp_path)
    assert server.asked == ["/big.bin [65536]"]


def test_interrupting_keeps_what_came(
    server: FileServer, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import urllib3

    sent = iter([CONTENT[:1000]])

    def interrupted(*_: object, **__: object) -> object:
        for chunk in sent:
            return chunk
        raise KeyboardInterrupt

    folder = tmp_path / "to"
    with monkeypatch.context() as patch:
        patch.setattr(urllib3.HTTPResponse, "read1", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download(remote, folder)
    assert names(folder) == [PART]
    assert download(remote, folder).read_bytes() == CONTENT
    assert server.asked[1:] == ["/big.bin [1000]"]


def test_only_https(server: FileServer, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "SCHEMES", ("https://",))
    with pytest.raises(DownloadError, match="only https:// is downloaded from"):
        download(remote, tmp_path / "to")
    assert server.asked == []
    assert names(tmp_path / "to") == []


def test_redirects_away_from_https_are_refused_unasked(
    server: FileServer, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path / "other") as other:
        (other.folder / "big.bin").write_bytes(CONTENT)
        server.elsewhere = f"{other.url}big.bin"
        monkeypatch.setattr(downloads, "SCHEMES", (server.url,))
        with pytest.raises(DownloadError, match="only https:// is downloaded from"):
            download(remote, tmp_path / "to")
        assert other.asked == []
        monkeypatch.setattr(downloads, "SCHEMES", (server.url, other.url))
        assert download(remote, tmp_path / "to").read_bytes() == CONTENT


def test_a_circle_of_redirects_ends(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    server.elsewhere = "/big.bin"
    with pytest.raises(DownloadError, match="too many redirects"):
        download(remote, tmp_path / "to")


def test_a_folder_that_cannot_be_written(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a folder is needed")
    with pytest.raises(DownloadError, match="blocked"):
        download(remote, tmp_path / "blocked" / "data")


def test_a_bar_is_drawn_on_a_terminal_only(
    remote: Remote, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    download(remote, tmp_path / "a")
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    download(remote, tmp_path / "b", progress=False)
    assert capfd.readouterr() == ("", "")
    download(remote, tmp_path / "c")
    out, err = capfd.readouterr()
    assert out == ""
    assert "big.bin" in err
    assert "500.0/500.0 KiB" in err


def test_the_time_left_counts_from_where_this_download_began(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(downloads, "time", clock)
    monkeypatch.setenv("COLUMNS", "100")
    with downloads._bar("big.bin", 500_000, 1_000_000, visible=True) as show:
        clock.now += 10
        show(600_000)  # 100 kB in 10 s, 400 kB to go
    assert "40.0 s left" in capfd.readouterr().err


def test_the_time_left_is_that_at_the_speed_of_the_last_seconds(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(downloads, "time", clock)
    monkeypatch.setenv("COLUMNS", "100")
    with downloads._bar("big.bin", 0, 1_000_000, visible=True) as show:
        for second in range(1, 101):  # 5 kB/s for 80 s, then 25 kB/s: 100 kB to go once 900 kB are here
            clock.now = float(second)
            show(5_000 * min(second, 80) + 25_000 * max(0, second - 80))
    assert "4.0 s left" in capfd.readouterr().err  # at the mean speed it would be 11 s


# Servers that lie -----------------------------------------------------------------------------------------------------


def test_more_bytes_are_promised_than_the_file_has(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    server.lie = 1000
    assert download(remote, tmp_path / "to").read_bytes() == CONTENT
    assert names(tmp_path / "to") == ["big.bin"]


def test_fewer_bytes_are_promised_than_the_file_has(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    with serving(tmp_path / "other") as other:
        (other.folder / "big.bin").write_bytes(CONTENT)
        other.lie = -1000
        lying = Remote((f"{other.url}big.bin",), MD5)
        with pytest.raises(DownloadError, match="what came is not the file"):
            download(lying, tmp_path / "to")
        path = download(Remote((*lying.urls, *remote.urls), MD5), tmp_path / "to")
    assert path.read_bytes() == CONTENT


def test_no_length_is_told(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    server.lie = None
    assert download(remote, tmp_path / "to").read_bytes() == CONTENT


def test_a_file_that_comes_compressed_against_the_request(
    server: FileServer, remote: Remote, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.compresses = True
    assert download(remote, tmp_path / "to", progress=True).read_bytes() == CONTENT
    assert "500.0/?" in capfd.readouterr().err  # the length that was told is that of other bytes


def test_a_web_page_instead_of_the_file_costs_nothing_of_what_came(
    server: FileServer, remote: Remote, tmp_path: Path
) -> None:
    with serving(tmp_path / "other") as other:
        other.page = b"<html>Log in to the network of this hotel</html>"
        (tmp_path / PART).write_bytes(CONTENT[:1000])
        urls = (f"{other.url}big.bin", *remote.urls)
        assert download(Remote(urls, MD5), tmp_path).read_bytes() == CONTENT
        assert server.asked == ["/big.bin [1000]"]
        with pytest.raises(DownloadError, match="a web page came instead of the file"):
            download(Remote(urls[:1], MD5), tmp_path / "none")


def test_a_server_that_sends_a_byte_now_and_then_is_left_for_the_next(
    server: FileServer, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "PATIENCE", 0.5)
    with serving(tmp_path / "other") as other:
        (other.folder / "big.bin").write_bytes(CONTENT)
        other.pause = 0.1
        with pytest.raises(DownloadError, match=r"less than 1.0 KiB a second over 0.5 s; the \d+ B that came are kept"):
            download(Remote((f"{other.url}big.bin",), MD5), tmp_path / "to")
        assert download(Remote((f"{other.url}big.bin", *remote.urls), MD5), tmp_path / "to").read_bytes() == CONTENT
    assert server.asked[0].startswith("/big.bin [")  # it goes on where the slow one was left
