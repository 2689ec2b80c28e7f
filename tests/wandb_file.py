"""Reading an offline W&B file back: LevelDB log blocks of protocol-buffer records, every CRC
checked.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK, _HEADER = 32768, struct.Struct("<IHB")


def read(path: Path) -> dict[str, Any]:
    """``run``: its record; ``config``; ``history``: a list of points; ``summary``."""
    found: dict[str, Any] = {"history": [], "config": {}, "summary": {}}
    for record in _records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"] = record.run
            found["config"].update(
                {item.key: json.loads(item.value_json) for item in record.run.config.update}
            )
        elif kind == "history":
            point = {
                ".".join(item.nested_key) or item.key: json.loads(item.value_json)
                for item in record.history.item
            }
            found["history"].append(point)
        elif kind == "summary":
            found["summary"].update(
                {
                    ".".join(item.nested_key) or item.key: json.loads(item.value_json)
                    for item in record.summary.update
                }
            )
    return found


def _records(path: Path) -> Iterator[Record]:
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, parts = 7, b""
    while place + _HEADER.size <= len(data):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER.size:
            place += left
            continue
        crc, length, kind = _HEADER.unpack_from(data, place)
        payload = data[place + _HEADER.size : place + _HEADER.size + length]
        assert zlib.crc32(bytes([kind]) + payload) == crc
        parts += payload
        place += _HEADER.size + length
        if kind in (1, 4):  # a full record, or the last part of one
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record
