"""Writes files of torch.save by hand, harmless ones and hostile ones."""

import io
import pickle
import zipfile

START, STOP = b"\x80\x02", b"."


class Global:
    """Pickles as a reference to a name that need not exist."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.function, self.args = function, args


class Build:
    """Pickles as an object whose state is then set."""

    def __init__(self, target, state):
        self.target, self.state = target, state


class Stored:
    """Pickles as a persistent id."""

    def __init__(self, *pid):
        self.pid = pid


class Pickler(pickle._Pickler):
    """Writes what a hostile file could hold."""

    def save(self, obj, *args, **kwargs):
        if isinstance(obj, Global):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.args)
            self.write(pickle.REDUCE)
        elif isinstance(obj, Build):
            self.save(obj.target)
            self.save(obj.state)
            self.write(pickle.BUILD)
        else:
            super().save(obj, *args, **kwargs)

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Stored) else None


def torch_zip(path, content, storage=b""):
    """A file of `torch.save` with one storage of float32."""
    stream = io.BytesIO()
    Pickler(stream, 2).dump(content)
    return torch_pickle(path, stream.getvalue(), storage)


def tensor(offset, size, stride, count=4):
    pid = ("storage", Global("torch", "FloatStorage"), "0", "cpu", count)
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, Stored(*pid), offset, size, stride, False, None)


def torch_pickle(path, program, storage=b""):
    """A file of `torch.save` around the bytes of a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", storage)
    return path


def pickled(folder, body):
    """A file of `torch.save` around the opcodes of a pickle."""
    return torch_pickle(folder / "weights.pt", START + body + STOP)


def global_opcode(name):
    """The opcode that refers to a dotted name."""
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()
