"""A Drive in the browser: look, walk, bring files, take them, delete them."""

from __future__ import annotations

import base64
import io
import re
import wave
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browsing import find_barriers
from tests.driving import Host, wait_until

MIB = 1024 * 1024
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mPoksnCihiGlgQAmk5EAZNDPyIAAAAASUVORK5CYII="
)
PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
)
# Paints a canvas for half a second and gives the recording in base64.
RECORD = """
async () => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 64, height: 48});
  const brush = canvas.getContext("2d");
  const timer = setInterval(() => { brush.fillStyle = `rgb(${Math.random() * 255} 0 0)`; brush.fillRect(0, 0, 64, 48); }, 20);
  const recorder = new MediaRecorder(canvas.captureStream(25), {mimeType: "video/webm"});
  const parts = [];
  recorder.ondataavailable = ({data}) => parts.push(data);
  recorder.start();
  await new Promise(done => setTimeout(done, 500));
  clearInterval(timer);
  await new Promise(done => { recorder.onstop = done; recorder.stop(); });
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return btoa(String.fromCharCode(...bytes));
}
"""
PLAY = """
each => new Promise(done => {
  each.ontimeupdate = () => each.currentTime > 0 && done("played");
  each.onerror = () => done(`error ${each.error.code}`);
  each.muted = true;
  each.play().catch(error => done(String(error)));
})
"""
PHONE = {"width": 360, "height": 740}


class Files:
    """Files of one Drive, put and read beside the browser."""

    def __init__(self, host: Host, project: str) -> None:
        """Use the Drive 'pictures' of a project."""
        self._client = host.client
        self.page = f"/projects/{project}/drives/pictures"
        self.at = f"/drive/v1/{host.get(f'/projects/{project}')['id']}/pictures"

    def put(self, name: str, content: bytes = b"x", media: str | None = None) -> None:
        """Store a file."""
        headers = {"Content-Type": media} if media else {}
        at = f"{self.at}/files?name={quote(name, safe='')}"
        answer = self._client.post(at, content=content, headers=headers)
        assert answer.status_code == 201, answer.text

    def names(self) -> list[str]:
        """Give all names."""
        return list(self._client.get(f"{self.at}/files").json()["names"])

    def get(self, name: str) -> bytes:
        """Give a file's bytes."""
        return self._client.get(f"{self.at}/files/download?name={quote(name, safe='')}").content


@pytest.fixture
def files(host: Host, project: str) -> Files:
    """A Drive with nothing in it."""
    return Files(host, project)


def link(page: Page, name: str) -> Any:
    """Find a folder in the list."""
    return page.get_by_role("table").get_by_role("link", name=name, exact=True)


def choose(page: Page, *paths: Path | str) -> None:
    """Choose files with the Upload button."""
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Upload", exact=True).click()
    chosen.value.set_files([str(path) for path in paths])


def test_folders_are_walked_into_and_back_by_the_navigation_bar(page: Page, files: Files) -> None:
    for name in ("readme.md", "photos/2020/a.png", "photos/b.png", "/top", "50% & more?/x.txt"):
        files.put(name)
    page.goto(files.page)
    expect(page.get_by_role("heading", level=1)).to_have_text("pictures")
    link(page, "photos").click()
    link(page, "2020").click()
    expect(page).to_have_url(re.compile(r"\?path=photos/2020$"))
    bar = page.get_by_role("navigation", name="Folders")
    expect(bar.locator("[aria-current]")).to_have_text("2020")
    expect(page.get_by_role("button", name="a.png", exact=True)).to_be_visible()
    bar.get_by_role("link", name="photos").click()
    expect(page.get_by_role("button", name="b.png", exact=True)).to_be_visible()
    page.reload()
    bar.get_by_role("link", name="pictures").click()
    link(page, "50% & more?").click()
    expect(page.get_by_role("button", name="x.txt", exact=True)).to_be_visible()
    page.go_back()
    link(page, "(no name)").click()
    expect(page.get_by_role("cell", name="top", exact=True)).to_be_visible()


def test_files_are_looked_at_by_what_their_name_says(page: Page, files: Files) -> None:
    files.put("1.png", PNG, "text/html")
    files.put(
        "2.svg", b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9z"/></svg>'
    )
    files.put("3.html", b"<h1>not a heading</h1>", "text/html")
    files.put("4.txt", b"lots " * 300_000)
    files.put("5.png", b"no picture")
    files.put("6.txt", b"a\0b")
    files.put("7.pdf", PDF, "text/html")
    files.put("8.zip", b"PK")
    page.goto(files.page)
    page.get_by_role("button", name="1.png", exact=True).click()
    picture = page.get_by_role("dialog", name="1.png").get_by_role("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("async each => { await each.decode(); return each.naturalWidth; }") == 8
    assert find_barriers(page) == []
    following = page.get_by_role("button", name="Next file")
    following.click()
    svg = page.get_by_role("dialog", name="2.svg").get_by_role("img")
    expect(svg).to_be_visible()
    assert svg.evaluate("async each => { await each.decode(); return each.complete; }")
    following.click()
    expect(page.get_by_role("dialog", name="3.html")).to_contain_text("<h1>not a heading</h1>")
    following.click()
    expect(page.get_by_role("dialog", name="4.txt")).to_contain_text("Only the first 1.0 MB are shown.")
    assert find_barriers(page) == []
    following.click()
    expect(page.get_by_role("dialog", name="5.png")).to_contain_text("The browser cannot show it.")
    following.click()
    expect(page.get_by_role("dialog", name="6.txt")).to_contain_text("This is no text.")
    following.click()
    frame = page.get_by_title("7.pdf").get_attribute("src")
    assert frame and frame.startswith("blob:")
    expect(following).to_be_disabled()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="8.zip", exact=True)).to_have_count(0)


def test_sound_and_film_play_and_can_be_wound(page: Page, files: Files) -> None:
    sound = io.BytesIO()
    with wave.open(sound, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(8_000)
        made.writeframes(bytes(2 * 8_000 * 3))
    files.put("1.wav", sound.getvalue(), "text/html")
    page.goto(files.page)
    film = base64.b64decode(page.evaluate(RECORD))  # of the browser's own making
    assert len(film) > 500
    files.put("2.webm", film, "text/html")
    files.put("3.mp4", b"no film")
    page.reload()
    page.get_by_role("button", name="1.wav", exact=True).click()
    audio = page.get_by_label("1.wav", exact=True).and_(page.locator("audio"))
    assert audio.evaluate(PLAY) == "played"
    assert audio.evaluate("each => each.duration") == 3
    # beyond what a player had fetched: the rest comes by a range
    sought = audio.evaluate(
        "each => new Promise(done => { each.onseeked = () => done(each.currentTime); each.currentTime = 2; })"
    )
    assert sought == pytest.approx(2, abs=0.5)
    assert find_barriers(page) == []
    page.get_by_role("button", name="Next file").click()
    video = page.locator("video")
    assert video.evaluate(PLAY) == "played"
    assert video.evaluate("each => [each.videoWidth, each.videoHeight]") == [64, 48]
    page.get_by_role("button", name="Next file").click()
    expect(page.get_by_role("dialog", name="3.mp4")).to_contain_text("The browser cannot show it.")


def test_files_and_folders_are_uploaded_where_one_is(page: Page, files: Files, tmp_path: Path) -> None:
    (tmp_path / "trip/day 1").mkdir(parents=True)
    (tmp_path / "trip/day 1/a.txt").write_text("one")
    (tmp_path / "trip/b.txt").write_text("two")
    page.goto(files.page)
    expect(page.get_by_text("Nothing is in this Drive yet")).to_be_visible()
    page.get_by_role("button", name="New folder").click()
    page.get_by_role("dialog").get_by_label("Name").fill("2020/spring")
    page.get_by_role("button", name="Open it").click()
    expect(page).to_have_url(re.compile(r"\?path=2020/spring$"))
    choose(page, tmp_path / "trip/b.txt")
    expect(page.get_by_role("button", name="b.txt", exact=True)).to_be_visible()
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Upload folder").click()
    chosen.value.set_files(str(tmp_path / "trip"))
    expect(link(page, "trip")).to_be_visible()
    assert files.names() == ["2020/spring/b.txt", "2020/spring/trip/b.txt", "2020/spring/trip/day 1/a.txt"]
    assert files.get("2020/spring/trip/day 1/a.txt") == b"one"


def test_dropped_files_are_uploaded(page: Page, files: Files) -> None:
    page.goto(files.page)
    expect(page.get_by_text("Nothing is in this Drive yet")).to_be_visible()
    dropped = page.evaluate_handle(
        "() => { const all = new DataTransfer(); all.items.add(new File(['dropped'], 'note.txt')); return all; }"
    )
    zone = page.get_by_role("region", name="Files and folders")
    zone.dispatch_event("dragenter", {"dataTransfer": dropped})
    expect(page.get_by_text("Drop to upload to pictures")).to_be_visible()
    zone.dispatch_event("drop", {"dataTransfer": dropped})
    expect(page.get_by_role("button", name="note.txt", exact=True)).to_be_visible()
    expect(page.get_by_text("Drop to upload to pictures")).to_have_count(0)
    assert files.get("note.txt") == b"dropped"


def test_replacing_is_asked(page: Page, files: Files, tmp_path: Path) -> None:
    files.put("a.txt", b"old")
    (tmp_path / "a.txt").write_text("new")
    (tmp_path / "b.txt").write_text("new")
    page.goto(files.page)
    choose(page, tmp_path / "a.txt", tmp_path / "b.txt")
    dialog = page.get_by_role("dialog", name="Replace 1 file?")
    expect(dialog).to_contain_text("a.txt")
    assert find_barriers(page) == []
    dialog.get_by_role("button", name="Upload only the other 1").click()
    expect(page.get_by_role("button", name="b.txt", exact=True)).to_be_visible()
    assert (files.get("a.txt"), files.get("b.txt")) == (b"old", b"new")
    choose(page, tmp_path / "a.txt")
    dialog.get_by_role("button", name="Replace").click()
    # what was said of the upload before may still stand there
    wait_until(lambda: files.get("a.txt") == b"new", "the file to be replaced")


def test_a_large_file_goes_on_where_it_failed(page: Page, files: Files, tmp_path: Path) -> None:
    content = bytes(range(256)) * (25 * MIB // 256) + b"end"
    (tmp_path / "film.bin").write_bytes(content)
    parts: list[str] = []
    broken = True

    def pass_or_break(route: Route) -> None:
        part = re.search(r"part=(\d+)", route.request.url)
        assert part
        parts.append(part[1])
        if part[1] == "2" and broken:
            route.fulfill(status=400, json={"errors": ["The line is bad."]})
        else:
            route.continue_()

    page.route(re.compile(r"/uploads/[^/]+/parts"), pass_or_break)
    page.goto(files.page)
    choose(page, tmp_path / "film.bin")
    uploads = page.get_by_role("region", name="Uploads")
    expect(uploads).to_contain_text("The line is bad.")
    expect(uploads.get_by_role("heading")).to_have_text("Not all arrived")
    assert find_barriers(page) == []
    assert files.names() == []
    broken = False
    first = list(parts)
    uploads.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("1 file uploaded.")).to_be_visible()
    assert sorted(first) == ["1", "2", "3"] and parts[3:] == ["2"]
    assert files.get("film.bin") == content


def test_an_upload_is_cancelled(page: Page, files: Files, tmp_path: Path) -> None:
    (tmp_path / "film.bin").write_bytes(bytes(11 * MIB))
    held: list[Route] = []
    page.route(re.compile(r"/uploads/[^/]+/parts"), lambda route: held.append(route))
    page.goto(files.page)
    choose(page, tmp_path / "film.bin")
    with page.expect_request(lambda each: each.method == "DELETE") as given_up:
        page.get_by_role("button", name="Cancel film.bin").click()
    assert "/uploads/" in given_up.value.url
    expect(page.get_by_role("region", name="Uploads")).to_have_count(0)
    assert files.names() == []


def test_files_are_downloaded(page: Page, files: Files) -> None:
    files.put("a/photo.png", PNG)
    page.goto(f"{files.page}?path=a")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download photo.png").click()
    assert download.value.suggested_filename == "photo.png"
    assert Path(download.value.path()).read_bytes() == PNG


def test_files_and_whole_folders_are_deleted_after_asking(page: Page, files: Files) -> None:
    for name in ("a.txt", "b.txt", "old/1.txt", "old/deep/2.txt", "older/3.txt"):
        files.put(name)
    page.goto(files.page)
    delete = page.get_by_role("button", name="Delete", exact=True)
    expect(delete).to_be_disabled()
    page.get_by_role("checkbox", name="Choose a.txt").check()
    page.get_by_role("checkbox", name="Choose old", exact=True).check()
    expect(page.get_by_text("2 chosen")).to_be_visible()
    delete.click()
    dialog = page.get_by_role("dialog", name="Delete 3 files?")
    expect(dialog).to_contain_text("Folders go with all that is in them.")
    dialog.get_by_role("button", name="Cancel").click()
    assert len(files.names()) == 5
    delete.click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("3 files deleted.")).to_be_visible()
    expect(link(page, "old")).to_have_count(0)
    assert files.names() == ["b.txt", "older/3.txt"]


def test_thousands_of_files_stay_quick_and_a_filter_finds_the_last(
    page: Page, files: Files, host: Host, project: str
) -> None:
    def list_many(route: Route) -> None:
        last = int((re.search(r"last=n(\d+)", route.request.url) or ["", "0"])[1])
        names = [f"n{number:05}.txt" for number in range(last + 1, last + 1001)]
        paging = {} if last >= 4000 else {"paging": {"size": 1000, "last": names[-1]}}
        route.fulfill(json={"names": names, **paging})

    page.route(re.compile(r"/files\?"), list_many)
    page.goto(files.page)
    expect(page.get_by_text("1,000+ here")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(201)
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("row")).to_have_count(401)
    page.get_by_label("Filter").fill("n049")
    expect(page.get_by_text("100 of 5,000")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(101)
    page.get_by_role("checkbox", name="Choose all 100").check()
    expect(page.get_by_text("100 chosen")).to_be_visible()


def test_a_new_drive_is_opened_by_name(page: Page, files: Files, project: str) -> None:
    page.goto(files.page)
    page.get_by_role("main").get_by_role("button", name="Open a Drive").click()
    dialog = page.get_by_role("dialog", name="Open a Drive")
    dialog.get_by_label("Name").fill("a/b")
    dialog.get_by_role("button", name="Open").click()
    expect(dialog.get_by_role("alert")).to_contain_text("may not hold '/'")
    dialog.get_by_label("Name").fill("my notes?")
    dialog.get_by_role("button", name="Open").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("my notes?")
    page.locator("input[type=file][multiple]").set_input_files(
        {"name": "first.txt", "mimeType": "text/plain", "buffer": b"1"}
    )
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="my notes?")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_open_to_all_and_fits_a_phone(page: Page, files: Files, scheme: str) -> None:
    for name in ("readme.md", "photos/a.png", "song.mp3", "film.mp4", "paper.pdf", "backup.zip", "p.png"):
        files.put(name, PNG)
    files.put("a-very-long-name-" * 12 + ".txt")
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(files.page)
    expect(link(page, "photos")).to_be_visible()
    page.get_by_role("checkbox", name="Choose readme.md").check()
    assert find_barriers(page) == []
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert find_barriers(page) == []
    page.get_by_role("button", name="p.png", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("img")).to_be_visible()
