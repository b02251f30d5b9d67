"""A chat of one: every line comes back with its number. /ws/refuse refuses, /ws/bye closes with 4001."""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse

app = FastAPI()
PAGE = """<!doctype html><title>chat</title><ul id=lines></ul><form onsubmit="chat.send(line.value);line.value='';return false">
<input id=line autofocus></form><script>
const chat = new WebSocket(location.href.replace("http", "ws") + "ws");
chat.onmessage = m => lines.append(Object.assign(document.createElement("li"), {textContent: m.data}));
</script>"""


@app.get("/")
def page():
    return HTMLResponse(PAGE)


@app.websocket("/ws")
async def chat(socket: WebSocket):
    wanted = socket.scope["subprotocols"]
    await socket.accept(subprotocol=wanted[0] if wanted else None)
    number = 0
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                break
            number += 1
            if message.get("text") is not None:
                await socket.send_text(f"{number}: {message['text']}")
            else:
                await socket.send_bytes(message["bytes"][::-1])
    except WebSocketDisconnect:
        pass
    print("chat ended after", number, "messages")


@app.websocket("/ws/bye")
async def bye(socket: WebSocket):
    await socket.accept()
    await socket.send_text("bye")
    await socket.close(code=4001, reason="enough")


@app.websocket("/ws/refuse")
async def refuse(socket: WebSocket):
    await socket.close()
