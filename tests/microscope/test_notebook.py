"""The microscope in a notebook: messages, the widget, a cell."""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import cnnlab
from cnnlab.errors import UsageError
from cnnlab.microscope import notebook
from cnnlab.microscope.notebook import Messages, look
from cnnlab.microscope.protocol import answer, check, decode, encode

SCENE = {"image": "a"}


class Page:
    """A page that sends messages and keeps the answers."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.messages = Messages(self.handle, lambda ask, frame: self.answers.update({ask: decode(frame)}))

    def handle(self, request: dict[str, Any], cancelled: Any) -> dict[str, Any]:
        self.asked.append(request["node"])
        return {"name": request["node"]}

    def send(self, ask: str, **body: Any) -> None:
        self.messages.receive({"id": ask}, [memoryview(encode(body))])

    def layer(self, ask: str, node: str, **more: Any) -> None:
        self.send(ask, do="layer", scene=SCENE, node=node, **more)


def test_a_message_is_answered_with_its_id() -> None:
    page = Page()
    page.layer("1", "conv1")
    assert page.answers == {"1": {"name": "conv1"}}


def test_wrong_messages_are_answered_with_errors_or_not_at_all() -> None:
    page = Page()
    page.send("1", do="nothing")
    page.messages.receive({"id": "2"}, [b"rubbish"])
    page.messages.receive({"id": "3"}, [])
    assert {ask: answer["error"]["kind"] for ask, answer in page.answers.items()} == dict.fromkeys("123", "bad_request")
    for content in ("text", None, {"kind": "anywidget-command"}, {"id": 3}, {"id": "x" * 101}):
        page.messages.receive(content, None)
    assert len(page.answers) == 3


def test_a_newer_request_of_a_lane_takes_the_place_of_one_that_waits() -> None:
    page = Page()

    async def slide() -> None:
        page.layer("1", "a", lane="layer", ticket=1)
        page.layer("2", "b", lane="layer")
        page.layer("3", "c", lane="other")
        page.layer("4", "d", ticket=9)
        page.send("5", do="cancel", ticket=9)
        page.send("6", do="cancel", ticket=9)
        await asyncio.sleep(0.05)

    asyncio.run(slide())
    assert page.asked == ["b", "c"]
    assert page.answers["1"]["error"]["kind"] == page.answers["4"]["error"]["kind"] == "cancelled"
    assert (page.answers["5"], page.answers["6"]) == ({"cancelled": True}, {"cancelled": False})


def test_no_more_wait_than_there_is_room_for() -> None:
    page = Page()

    async def bombard() -> None:
        for i in range(100):
            page.layer(str(i), "a")
        await asyncio.sleep(0.05)

    asyncio.run(bombard())
    kinds = [page.answers[str(i)].get("error", {}).get("kind", "fine") for i in range(100)]
    assert kinds == ["fine"] * 64 + ["busy"] * 36


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 6 * 6, 4))


def test_the_widget_answers_through_its_messages(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.rand(1, 8, 8)
    widget = cnnlab.look(network, image)
    sent = []
    monkeypatch.setattr(type(widget), "send", lambda self, content, buffers: sent.append((content, decode(buffers[0]))))
    widget._handle_custom_msg({"id": "7"}, [memoryview(encode({"do": "open"}))])
    ((content, reply),) = sent
    assert content == {"id": "7"}
    scene = {"image": reply["images"][0]["id"]}
    widget._handle_custom_msg({"id": "8"}, [memoryview(encode({"do": "answer", "scene": scene}))])
    expected = network(image[None])[0].detach().numpy()
    assert np.allclose(sent[-1][1]["logits"], expected, atol=1e-6)


def test_the_module_of_the_widget_is_the_page_and_hands_out_its_start(network: nn.Module) -> None:
    widget = look(network, torch.rand(1, 8, 8))
    assert widget._esm.endswith("export default { render };\n")
    assert "function render({ model, el" in widget._esm
    assert ".microscope" in widget._css
    assert look(widget.microscope).microscope is widget.microscope


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        ([], "Which images Sequential takes is not known"),
        ([np.zeros((8, 8), np.uint8)], "Photo 1 is of type ndarray, which does not say how Sequential takes images"),
        ([torch.rand(1, 8, 8), 5], "Photo 2 is 5, of type int. Expected a path, a PIL image"),
        ([[torch.rand(1, 8, 8)]], "Photo 1 is a list. Give photos one by one"),
        ([torch.rand(5, 1, 8, 8)], r"An image has the shape \(5, 1, 8, 8\)"),
    ],
)
def test_images_that_are_none_are_named(network: nn.Module, photos: list[Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        look(network, *photos)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "There is no network to look at: None"),
        ("", "There is no network to look at: ''"),
        ("train.py:make_model", r"Here import make_model from it, .* cnnlab.look\(make_model\(\), image\)"),
        (nn.Linear, "Call it, and give what it returns"),
    ],
    ids=str,
)
def test_sources_that_are_none_are_named(source: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        look(source)


def test_an_open_microscope_takes_no_further_photos(network: nn.Module) -> None:
    microscope = look(network, torch.rand(1, 8, 8)).microscope
    with pytest.raises(UsageError, match="open with its images already"):
        look(microscope, torch.rand(1, 8, 8))


def test_the_text_of_a_widget_says_what_to_do(network: nn.Module) -> None:
    text = repr(look(network, torch.rand(1, 8, 8)))
    assert text.startswith("The microscope on Sequential: run this cell to look inside. If this text stays, ")
    assert 'pip install "cnnlab[notebook]"' in text


def test_without_anywidget_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, network: nn.Module) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    notebook._widget_class.cache_clear()
    try:
        with pytest.raises(UsageError, match=r'pip install "cnnlab\[notebook\]"'):
            look(network, torch.rand(1, 8, 8))
    finally:
        notebook._widget_class.cache_clear()


@pytest.mark.slow
def test_a_cell_shows_the_widget() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    cells = [
        "import torch, cnnlab\n"
        "model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.Flatten(), torch.nn.Linear(108, 4))\n"
        "widget = cnnlab.look(model, torch.rand(1, 8, 8))\n"
        "widget",
        "from cnnlab.microscope.protocol import encode\n"
        "answers = []\n"
        "type(widget).send = lambda self, content, buffers: answers.append(content)\n"
        "widget._handle_custom_msg({'id': 'a'}, [memoryview(encode({'do': 'open'}))])",
        "answers",  # the loop of the kernel has run since
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(book, timeout=120, kernel_name="python3")
    client.execute()
    (shown,) = book.cells[0].outputs
    view = shown["data"]["application/vnd.jupyter.widget-view+json"]
    state = client.widget_state[view["model_id"]]
    assert "function render(" in state["_esm"]
    (answers,) = book.cells[2].outputs
    assert answers["data"]["text/plain"] == "[{'id': 'a'}]"


@pytest.mark.slow
def test_the_page_of_the_widget_asks_through_its_model(network: nn.Module, browser: Any) -> None:
    widget = look(network, torch.rand(1, 8, 8))
    asked: list[str] = []

    def to_python(frame: str) -> str:
        request = check(decode(base64.b64decode(frame)))
        asked.append(request["do"])
        return base64.b64encode(answer(widget.microscope.handle, request, lambda: False)).decode()

    # A model as a notebook has it: what it sends is answered by a message with the same id. The module is loaded as
    # anywidget does it.
    show = """async (esm) => {
        const listeners = [];
        const bytes_of = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
        const model = {
            on: (name, listener) => listeners.push(listener),
            async send(content, callbacks, [frame]) {
                const answer = await to_python(btoa(Array.from(frame, (byte) => String.fromCharCode(byte)).join("")));
                for (const listener of listeners) listener(content, [new DataView(bytes_of(answer).buffer)]);
            },
        };
        const address = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
        const widget = await import(address);
        window.clean = await widget.default.render({ model, el: document.body });
    }"""
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.expose_function("to_python", to_python)
    page.set_content(f"<!doctype html><style>{widget._css}</style><body></body>")
    page.evaluate(show, widget._esm)
    page.wait_for_selector(".microscope .view canvas")
    page.wait_for_timeout(500)
    assert errors == []
    assert {"open", "overview", "image"} <= set(asked)
    keys_stay_in_the_widget(page)
    page.evaluate("window.clean()")
    assert page.query_selector(".microscope") is None
    page.close()


def keys_stay_in_the_widget(page: Any) -> None:
    """Check that shortcuts of a notebook fire outside of the widget, and inside only those of no use to it."""
    page.evaluate(
        """() => {
            window.fired = [];
            const blocked = (target) => target.closest("[data-lm-suppress-shortcuts]");
            // As JupyterLab listens, first of all; and as other notebooks do, last of all.
            document.addEventListener("keydown", (e) => blocked(e.target) || window.fired.push(`lab ${e.key}`), true);
            document.addEventListener("keydown", (e) => window.fired.push(`other ${e.key}`));
            const outside = document.body.appendChild(document.createElement("button"));
            outside.id = "outside";
        }"""
    )
    for place, keys in (
        (".microscope button:not([disabled])", ["a", "ArrowDown", "Control+z", "Control+s", "Shift+Enter"]),
        ("#outside", ["a"]),
    ):
        page.locator(place).first.focus()
        for each in keys:
            page.keyboard.press(each)
    fired = [text for text in page.evaluate("window.fired") if text.split()[1] not in ("Control", "Shift")]
    assert fired == ["lab s", "other s", "lab Enter", "other Enter", "lab a", "other a"]
