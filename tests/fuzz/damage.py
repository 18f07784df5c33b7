"""Damages bytes, text, JSON, zip archives and ONNX graphs. All choices are those of a `random.Random`."""

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

Random = random.Random
Damage = Callable[[bytes, bytes, Random], bytes]
"""Function from the content of a file, that of another one of its kind, and a source of chance."""

NUMBERS = (0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1)
TEXTS = (
    *("", " ", "\0", "\n", "\r\n", '"', "'", ",", ";", "\t", "=1+1", "-1", "+1", "@a", "None", "nan", "inf", "-inf"),
    *("NaN", "1e308", "1e999", "-0", "0x10", "1_000", "١٢", "9" * 400, "1" + "0" * 30, "0." + "0" * 400 + "1", "true"),
    *("\x1b[31m", "\u202e", "\ud7ff", "a" * 200_000, "/dev/zero", "../../../etc/passwd", "%s%n", "{0.__class__}", "é"),
)
NAMES = (
    *("a\nerror: forged", "\x1b[2J", "\u202egpj.exe", "-rf", "--help", "=cmd", "a b", "'; rm x", "é", "%n", "$HOME"),
    *("a" * 240, "con", ".hidden", "#", "a,b", '"', "\t", "*", "[x]", "demo", "0", "http:", "\udcff\udcfe", "a\\b"),
)
"""Names without their suffix."""


def damage_bytes(data: bytes, other: bytes, chance: Random) -> bytes:
    """Flips bits, cuts, splices, repeats, and writes numbers, once to four times; most often near the beginning."""
    content = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if not content:
            break
        reach = len(content) if chance.random() < 0.5 else min(len(content), chance.choice((16, 64, 512)))
        place = chance.randrange(reach)
        length = chance.choice((1, 2, 4, 16, 256, 4096))
        match chance.randrange(8):
            case 0:
                for _ in range(chance.choice((1, 1, 3, 30))):
                    content[chance.randrange(reach)] ^= 1 << chance.randrange(8)
            case 1:
                content[place : place + length] = bytes([chance.choice((0, 255, 127, 128))]) * length
            case 2:
                del content[place:]
            case 3:
                del content[place : place + length]
            case 4:
                content[place:place] = content[place : place + length] * chance.choice((1, 2, 50))
            case 5:
                start = chance.randrange(len(other)) if other else 0
                content[place:] = other[start:]
            case 6:
                content[place : place + length] = chance.randbytes(length)
            case 7:
                size = chance.choice((1, 2, 4, 8))
                number = chance.choice(NUMBERS) % 256**size
                content[place : place + size] = number.to_bytes(size, chance.choice(("little", "big")))
    return bytes(content)


def damage_text(data: bytes, other: bytes, chance: Random) -> bytes:
    """Replaces, drops, repeats and reorders cells and lines of a table; changes its encoding."""
    lines = data.decode(errors="surrogateescape").splitlines(keepends=True)
    for _ in range(chance.choice((1, 1, 2, 5))):
        if not lines:
            break
        place = 0 if chance.random() < 0.3 else chance.randrange(len(lines))
        cells = lines[place].rstrip("\n").split(",")
        cell = chance.randrange(len(cells))
        match chance.randrange(8):
            case 0 | 1 | 2:
                cells[cell] = chance.choice(TEXTS)
            case 3:
                cells[cell] = str(chance.choice(NUMBERS))
            case 4:
                del cells[cell]
            case 5:
                cells.insert(cell, cells[cell])
            case 6:
                chance.shuffle(cells)
            case 7:
                cells[cell] = cells[cell].replace(" ", "", chance.choice((1, 1000))) * chance.choice((1, 2))
        lines[place] = ",".join(cells) + "\n"
        match chance.randrange(12):
            case 0:
                del lines[place]
            case 1:
                lines.insert(place, lines[place] * chance.choice((1, 2000)))
            case 2:
                lines[place] = lines[place].replace(",", chance.choice((";", "\t", "|", ",,")))
    text = "".join(lines)
    encoding = chance.choice(("utf-8",) * 20 + ("utf-16", "utf-8-sig", "latin-1"))
    errors = "replace" if encoding != "utf-8" else "surrogateescape"
    return text.encode(encoding, errors)


def damage_json(data: bytes, other: bytes, chance: Random) -> bytes:
    """Replaces, drops, renames, repeats and nests what is in a JSON document."""
    if chance.random() < 0.15:
        return damage_bytes(data, other, chance)
    try:
        document = json.loads(data)
    except ValueError:
        return damage_bytes(data, other, chance)
    deep = None
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        holders = [document, *_containers(document)]
        holder = chance.choice(holders)
        keys: list[Any] = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            continue
        key = chance.choice(keys)
        match chance.randrange(9):
            case 0 | 1 | 2:
                holder[key] = chance.choice((*NUMBERS, -(2**70), 10**30, 0.5, 1e308, -1.0, float("nan"), float("inf")))
            case 3 | 4:
                holder[key] = chance.choice((*TEXTS, None, True, False, [], {}, [None], {"a": 1}, [[[]]]))
            case 5:
                del holder[key]
            case 6 if isinstance(holder, dict):
                holder[chance.choice(TEXTS)] = holder.pop(key)
            case 7:
                holder[key] = [copy.deepcopy(holder[key])] * chance.choice((1, 2, 100_000))
            case 8:
                holder[key] = deep = "deeply nested"
            case _:
                holder[key] = copy.deepcopy(chance.choice(holders))
    try:
        text = json.dumps(document, indent=chance.choice((None, 2)))
    except RecursionError:
        text = "[" * 100_000
    if deep:
        depth = chance.choice((100, 2000, 200_000))
        opened, closed = chance.choice((("[", "]"), ('{"a":', "}")))
        text = text.replace(f'"{deep}"', opened * depth + "1" + closed * depth)
    return text.encode()


def _containers(value: Any) -> list[Any]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [item for item in inside if isinstance(item, dict | list) and item]
    return found + [item for part in found for item in _containers(part)]


def damage_toml(data: bytes, other: bytes, chance: Random) -> bytes:
    """Replaces, drops, repeats and nests values and tables."""
    if chance.random() < 0.2:
        return damage_bytes(data, other, chance)
    lines = data.decode().splitlines()
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(lines))
        key, equals, value = lines[place].partition(" = ")
        texts = (json.dumps(chance.choice(TEXTS)), str(chance.choice(NUMBERS)), "1" * 5000, "nan", "true", "[[]]", "{}")
        match chance.randrange(6):
            case 0 | 1 | 2 if equals:
                lines[place] = f"{key} = {chance.choice((*texts, f'[{value}]', '[' * 5000 + ']' * 5000))}"
            case 3:
                del lines[place]
            case 4:
                lines.insert(chance.randrange(len(lines)), lines[place])
            case 5:
                lines[place] = chance.choice((f"[{key}]", f"[runs.{json.dumps(chance.choice(TEXTS))}]", f"a.{key} = 1"))
    return "\n".join(lines).encode(errors="replace")


def damage_zip(data: bytes, other: bytes, chance: Random) -> bytes:
    """Damages an archive, or a member of it whose checksum then fits; adds members that are large or badly named."""
    if chance.random() < 0.4:
        return damage_bytes(data, other, chance)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    for _ in range(chance.choice((1, 1, 2))):
        place = chance.randrange(len(members))
        name, content, method = members[place]
        match chance.randrange(9):
            case 0 | 1 | 2 | 3:
                content = damage_by_name(name)(content, other, chance)
            case 4:
                folder, _, last = name.rpartition("/")
                hostile = chance.choice(NAMES).encode(errors="replace").decode()
                name = chance.choice((f"{folder}/{hostile}", f"../../{last}", f"/{name}", hostile, f"{folder}/"))
            case 5:
                del members[place]
                continue
            case 6:
                members.insert(place, members[place])
            case 7:
                content, method = bytes(chance.choice((10**6, 10**8))), zipfile.ZIP_DEFLATED
            case 8:
                content = chance.choice(members)[1]
        if members:
            members[min(place, len(members) - 1)] = name, content, method
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content, method in members:
            info = zipfile.ZipInfo(name.replace("\0", "") or "x")
            info.compress_type = method
            archive.writestr(info, content)
    return target.getvalue()


def damage_onnx(data: bytes, other: bytes, chance: Random) -> bytes:
    """Changes operators, names, attributes, sizes and numbers of a graph, and what its metadata say."""
    if chance.random() < 0.3:
        return damage_bytes(data, other, chance)
    import onnx

    model = onnx.load_model_from_string(data)
    graph = model.graph
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        node = chance.choice(graph.node)
        constant = chance.choice(graph.initializer) if graph.initializer else None
        match chance.randrange(12):
            case 0:
                node.op_type = chance.choice(
                    ("Add", "Conv", "Loop", "Reshape", "Expand", "Tile", "Sqrt", "Log", "None")
                )
            case 1 if node.attribute:
                attribute = chance.choice(node.attribute)
                attribute.i = chance.choice(NUMBERS)
                attribute.ints[:] = [chance.choice(NUMBERS) for _ in attribute.ints]
            case 2 if node.input:
                node.input[chance.randrange(len(node.input))] = chance.choice(chance.choice(graph.node).output)
            case 3 if constant is not None and constant.dims:
                constant.dims[chance.randrange(len(constant.dims))] = chance.choice(NUMBERS)
            case 4 if constant is not None and constant.raw_data:
                constant.raw_data = damage_bytes(constant.raw_data, constant.raw_data, chance)
            case 5 if constant is not None and constant.raw_data:
                length = len(constant.raw_data)
                constant.raw_data = chance.choice((bytes(length), b"\xff" * length, chance.randbytes(length)))
            case 6 if constant is not None:
                constant.data_type = chance.choice((1, 2, 6, 7, 8, 9, 10, 11, 99))
            case 7 if constant is not None:
                constant.data_location = onnx.TensorProto.EXTERNAL
                constant.external_data.add(key="location", value=chance.choice(("/dev/zero", "../x", "a\0b", "")))
            case 8:
                graph.node.remove(node)
            case 9:
                shape = chance.choice((*graph.input, *graph.output)).type.tensor_type.shape
                if shape.dim:
                    chance.choice(shape.dim).dim_value = chance.choice(NUMBERS)
            case 10 if model.metadata_props:
                entry = chance.choice(model.metadata_props)
                entry.value = damage_json(entry.value.encode(), b"", chance).decode(errors="replace")
            case 11:
                model.opset_import[0].version = chance.choice((-1, 0, 1, 9, 17, 19, 99, 2**40))
    return model.SerializeToString()


def damage_card(data: bytes, other: bytes, chance: Random) -> bytes:
    """Changes what the metadata of a model file say, and nothing else."""
    import onnx

    model = onnx.load_model_from_string(data)
    entry = chance.choice(model.metadata_props)
    entry.value = damage_json(entry.value.encode(), b"", chance).decode(errors="replace")
    return model.SerializeToString()


def damage_safetensors(data: bytes, other: bytes, chance: Random) -> bytes:
    """Changes the header, whose length then fits, or any byte."""
    if chance.random() < 0.4:
        return damage_bytes(data, other, chance)
    length = int.from_bytes(data[:8], "little")
    header = damage_json(data[8 : 8 + length], b"", chance)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def damage_by_name(name: str) -> Damage:
    """Returns the damage that fits a file's suffix."""
    suffix = name.rpartition(".")[2].lower()
    fitting = {"csv": damage_text, "json": damage_json, "zip": damage_zip, "keras": damage_zip, "pth": damage_zip}
    fitting["toml"] = damage_toml
    return (fitting | {"onnx": damage_onnx, "safetensors": damage_safetensors}).get(suffix, damage_bytes)
