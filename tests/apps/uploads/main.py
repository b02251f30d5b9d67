"""File uploads by form, with a text field beside them."""

import hashlib

from fastapi import FastAPI, File, Form, UploadFile

app = FastAPI()


@app.post("/upload")
async def upload(file: UploadFile = File(...), note: str = Form("")):
    content = await file.read()
    return {
        "name": file.filename,
        "type": file.content_type,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "note": note,
    }
