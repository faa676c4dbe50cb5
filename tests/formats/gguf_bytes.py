"""GGUF written two ways: spelt byte by byte, and by the gguf package."""

import struct
from pathlib import Path

import gguf as reference


class Bytes:
    """Spells GGUF by hand, in any version and byte order."""

    def __init__(self, version: int = 3, order: str = "<"):
        self.version, self.order = version, order
        self.long = "I" if version == 1 else "Q"

    def pack(self, letters: str, *numbers: float) -> bytes:
        return struct.pack(self.order + letters.replace("L", self.long), *numbers)

    def text(self, text: str | bytes) -> bytes:
        raw = text.encode() if isinstance(text, str) else text
        return self.pack("L", len(raw)) + raw

    def pair(self, key: str | bytes, kind: int, value: bytes) -> bytes:
        return self.text(key) + self.pack("I", kind) + value

    def tensor(self, name: str | bytes, ne: tuple, kind: int = 0, offset: int = 0) -> bytes:
        return self.text(name) + self.pack(
            f"I{len(ne)}LIQ".replace("0L", ""), len(ne), *ne, kind, offset
        )

    def file(
        self,
        tensors: tuple = (),
        pairs: tuple = (),
        data: bytes = b"",
        alignment: int = 32,
    ) -> bytes:
        head = b"GGUF" + self.pack("ILL", self.version, len(tensors), len(pairs))
        head += b"".join(pairs) + b"".join(tensors)
        return head + bytes(-len(head) % alignment) + data


B = Bytes()


def written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def save(writer: reference.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
