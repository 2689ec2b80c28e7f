"""docs/release.md from its first command to its last; a release in an environment of its own."""

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT, copy_project, run_in
from tests.release.alone import run_alone


@pytest.mark.recipes
def test_commands_of_the_page_lead_from_a_run_to_a_release_elsewhere(reproduced_copy, tmp_path):
    text = (ROOT / "docs/release.md").read_text("utf-8")
    commands = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
        for line in block.splitlines()
        if not line.startswith(("pip ", "python -m flows."))
    ]
    assert len(commands) == 9
    tools = Path(sys.executable).parent
    environment = {"HOME": str(tmp_path), "PATH": f"{tools}:{os.environ['PATH']}"}
    for command in commands:
        if "rollback" in command:  # there is none before it yet
            run_in(reproduced_copy, *_release("second", "--only", "gru"))
            place = str(tmp_path / "releases")
            run_in(reproduced_copy, *_release("push", "releases/second", place))
        done = run_in(reproduced_copy, "bash", "-c", command, **environment)
        if "rollback" in command:
            assert "first is the current one" in done.stdout
    assert done.stdout.strip()


def _release(*words: str) -> list[str]:
    return [sys.executable, "-m", "pipelines.release", *words]


@pytest.mark.elsewhere
def test_a_release_of_the_embedded_run_is_loaded_by_others_alone(tmp_path):
    """`make run`'s models in a fresh environment of transformers and CTranslate2: the translations
    of the whole test set are those of our stage ``decoding``.
    """
    project = copy_project(tmp_path / "project")
    for name in ("params.yaml", "dvc.lock"):
        (project / name).write_bytes((ROOT / name).read_bytes())
    cache = run_in(ROOT, "dvc", "cache", "dir").stdout.strip()
    run_in(project, "dvc", "cache", "dir", "--local", cache)
    run_in(project, sys.executable, "-m", "flows.repro")  # from the cache, or anew
    run_in(project, *_release("embedded", "--ctranslate2", "float32", "int8"))
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env/bin/python")
    packages = ["torch", "transformers", "ctranslate2"]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    run_in(tmp_path, python, "-m", "pip", "install", "--quiet", *constraints, *packages)
    missing = subprocess.run(
        [python, "-c", "import pipelines"], capture_output=True, cwd=tmp_path, check=False
    )
    assert missing.returncode == 1
    release = project / "releases/embedded"
    printed = run_alone(sorted(path.parent for path in release.glob("*/README.md")), python)
    assert len(printed) == 8
    (tmp_path / "all.py").write_text(_WHOLE_TEST_SET)
    source = project / "data/corpus/pairs.test.en.txt"
    for name in ("transformer", "bert2bert", "rnd2rnd"):
        folders = [release / name]
        folders += [release / "transformer-ctranslate2"] if name == "transformer" else []
        ours = (project / f"data/decoding/{name}/beam.txt").read_text("utf-8").splitlines()
        for folder in folders:
            found = json.loads(
                run_in(tmp_path, python, "all.py", str(folder), str(source)).stdout.splitlines()[-1]
            )
            alike = sum(one == other for one, other in zip(found, ours, strict=True))
            print(f"{folder.name}: {alike} of {len(ours)} alike")
            assert alike >= 0.99 * len(ours), (folder, alike)


_WHOLE_TEST_SET = """\
import json, sys
from pathlib import Path

folder, lines = sys.argv[1], open(sys.argv[2], encoding="utf-8").read().splitlines()
if (Path(folder) / "model.bin").exists():
    import ctranslate2
    from tokenizers import Tokenizer

    model = ctranslate2.Translator(folder)
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.encode_special_tokens = True
    found = [
        tokenizer.decode([tokenizer.token_to_id(piece) for piece in best.hypotheses[0]])
        for best in model.translate_batch(
            [tokenizer.encode(line).tokens for line in lines],
            beam_size=5, max_decoding_length=48, length_penalty=1.0, patience=3,
        )
    ]
else:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    found = []
    for first in range(0, len(lines), 50):
        given = tokenizer(lines[first : first + 50], return_tensors="pt", padding=True,
                          return_token_type_ids=False)
        found += tokenizer.batch_decode(model.generate(**given), skip_special_tokens=True)
print(json.dumps(found))
"""
