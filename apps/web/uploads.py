"""How files arrive: in memory, no more of them than could be accepted, and never on a disk.

Django's own handlers put a large upload into a temporary file. It might hold a private key (INV-38).
"""

from __future__ import annotations

from io import BytesIO

from django.core.files.uploadedfile import InMemoryUploadedFile
from django.core.files.uploadhandler import FileUploadHandler

from apps.pki.bundle import MAX_BYTES


class BoundedUploadHandler(FileUploadHandler):
    """Keeps the first bytes of a file, one more than the limit: enough for the gate to refuse it as too large."""

    def new_file(self, *args: object, **kwargs: object) -> None:
        super().new_file(*args, **kwargs)  # type: ignore[arg-type]
        self.kept = bytearray()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:  # noqa: ARG002
        self.kept += raw_data[: MAX_BYTES + 1 - len(self.kept)]

    def file_complete(self, file_size: int) -> InMemoryUploadedFile:  # noqa: ARG002
        content = BytesIO(bytes(self.kept))
        return InMemoryUploadedFile(
            content, self.field_name, self.file_name, self.content_type, len(self.kept), self.charset
        )
