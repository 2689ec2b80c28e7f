"""What CONTRIBUTING tells to add, as edits of a checkout: (file, text that stands there, text
instead), or (file, None, text) for a new file.
"""

Edit = tuple[str, str | None, str]

METRIC: list[Edit] = [
    (
        "pipelines/evaluation/params.py",
        '"ter", "rouge"',
        '"first_word", "ter", "rouge"',
    ),
    (
        "pipelines/evaluation/metrics.py",
        '    return {**result, "exact_match"',
        '    if "first_word" in also:\n'
        '        result |= {"first_word": _first_word(ours, theirs)}\n'
        '    return {**result, "exact_match"',
    ),
    (
        "pipelines/evaluation/metrics.py",
        "def _of_folding(",
        "def _first_word(ours: Sequence[str], theirs: Sequence[str]) -> float:\n"
        '    """Share of hypotheses whose first word is the reference\'s."""\n'
        "    pairs = zip(ours, theirs, strict=True)\n"
        "    return fmean(one.split()[:1] == other.split()[:1] for one, other in pairs)\n\n\n"
        "def _of_folding(",
    ),
    ("params.yaml", "\n  - ter\n", "\n  - first_word\n  - ter\n"),
]

OPTIMIZER: list[Edit] = [
    (
        "pipelines/optim/params.py",
        "Optimizer = Annotated[",
        "class NAdam(Section):\n"
        '    """Dozat 2016: Adam with Nesterov momentum."""\n\n'
        '    name: Literal["nadam"]\n    beta1: Beta\n    beta2: Beta\n'
        "    epsilon: PositiveFloat\n    weight_decay: Decay\n\n\n"
        "Optimizer = Annotated[",
    ),
    ("pipelines/optim/params.py", "    Sgd | Momentum |", "    NAdam | Sgd | Momentum |"),
    (
        "pipelines/optim/optimizers.py",
        "        case schemas.Adam():",
        "        case schemas.NAdam():\n"
        "            betas = (params.beta1, params.beta2)\n"
        "            return torch.optim.NAdam(\n"
        "                groups, lr=learning_rate, betas=betas, eps=params.epsilon\n"
        "            )\n"
        "        case schemas.Adam():",
    ),
]

FILTER: list[Edit] = [
    (
        "pipelines/corpus/filters/shouting.py",
        None,
        '"""``shouting``: sentences in capitals."""\n\n'
        "from typing import Literal\n\n"
        "from pydantic import Field\n\n"
        "from pipelines.corpus.filters.base import Filter\n\n\n"
        "class Shouting(Filter):\n"
        '    """More than ``max_share`` of the letters are capitals."""\n\n'
        '    name: Literal["shouting"]\n'
        "    max_share: float = Field(gt=0, le=1, examples=[0.5])\n\n"
        "    def sentence(self, sentence: str, language: str) -> bool:\n"
        '        """Too many capitals."""\n'
        "        letters = [char for char in sentence if char.isalpha()]\n"
        "        return sum(map(str.isupper, letters)) > self.max_share * len(letters)\n",
    ),
    (
        "pipelines/corpus/filters/__init__.py",
        "from pipelines.corpus.filters.script import Script\n",
        "from pipelines.corpus.filters.script import Script\n"
        "from pipelines.corpus.filters.shouting import Shouting\n",
    ),
    (
        "pipelines/corpus/filters/__init__.py",
        "    | NearDuplicates,\n",
        "    | NearDuplicates\n    | Shouting,\n",
    ),
]

FAMILY: list[Edit] = [
    (
        "pipelines/models/bag.py",
        None,
        '"""Family ``bag``: the mean of the source\'s embeddings, and a GRU."""\n\n'
        "from collections.abc import Mapping\n"
        "from typing import Literal\n\n"
        "import torch\n"
        "from torch import Tensor, nn\n\n"
        "from pipelines.formats.vocabulary.special_tokens import PAD\n"
        "from pipelines.models.protocol.model import (\n"
        "    Belongs, DecoderState, Seq2SeqModel, belongs\n)\n"
        "from pipelines.models.protocol.params import ArchitectureParams\n"
        "from pipelines.nn.recurrent.cells import GruCell\n\n\n"
        "class Params(ArchitectureParams):\n"
        '    """Knobs of the family."""\n\n'
        '    family: Literal["bag"]\n    layers: Literal["recurrent"]\n    width: int\n\n\n'
        "class Model(Seq2SeqModel):\n"
        '    """A bag of source words."""\n\n'
        "    def __init__(self, params: Params, vocab_size: int) -> None:\n"
        "        super().__init__()\n"
        "        self.embedding = nn.Embedding(vocab_size, params.width)\n"
        "        self.output = self.embedding\n"
        "        self.output_bias = nn.Parameter(torch.zeros(vocab_size))\n"
        "        self.cell = GruCell(params.width, params.width)\n\n"
        "    @property\n"
        "    def source_embeddings(self) -> nn.Module:\n"
        "        return self.embedding\n\n"
        "    def start(self, source_BS: Tensor, lengths_B: Tensor) -> DecoderState:\n"
        "        real_BS1 = (source_BS != PAD)[:, :, None]\n"
        "        embedded_BSD = self.embedding(source_BS) * real_BS1\n"
        '        return {"hidden": embedded_BSD.sum(dim=1) / lengths_B[:, None]}\n\n'
        "    def step_hidden(\n"
        "        self, tokens_N: Tensor, state: DecoderState\n"
        "    ) -> tuple[Tensor, DecoderState]:\n"
        "        projected_NG = self.cell.input(self.embedding(tokens_N))\n"
        '        (hidden_ND,) = self.cell(projected_NG, (state["hidden"],))\n'
        '        return hidden_ND, {"hidden": hidden_ND}\n\n'
        "    def hidden(self, source_BS: Tensor, lengths_B: Tensor, inputs_BT: Tensor) -> Tensor:\n"
        "        state, steps = self.start(source_BS, lengths_B), []\n"
        "        for tokens_B in inputs_BT.unbind(dim=1):\n"
        "            hidden_BD, state = self.step_hidden(tokens_B, state)\n"
        "            steps.append(hidden_BD)\n"
        "        return torch.stack(steps, dim=1)\n\n"
        "    def belongs(self) -> Mapping[str, Belongs]:\n"
        '        return belongs(beam=("hidden",))\n',
    ),
    (
        "params.yaml",
        "  architectures:\n",
        "  architectures:\n"
        "    bag: {family: bag, layers: recurrent, starts_from: data/shards, dropout: 0.0,\n"
        "      learning_rate: 1.0e-2, r_drop: 0.0, scheduled_sampling: 0.0, width: 16}\n",
    ),
]

STAGE: list[Edit] = [
    ("pipelines/words/__init__.py", None, '"""Documents to a count of their words."""\n'),
    (
        "pipelines/words/params.py",
        None,
        '"""Section ``words``."""\n\n'
        "from pydantic import Field\n\n"
        "from pipelines.frame.params_reader import Section\n\n\n"
        "class WordsParams(Section):\n"
        '    """How many of the commonest words are listed."""\n\n'
        "    most: int = Field(ge=1)\n",
    ),
    (
        "pipelines/words/count.py",
        None,
        '"""Stage ``words``: the commonest words of the training documents."""\n\n'
        "import sys\n"
        "from collections import Counter\n"
        "from pathlib import Path\n\n"
        "from pipelines.formats.corpus.files import document_file\n"
        "from pipelines.frame.params_reader import ParamsFile\n"
        "from pipelines.frame.stage import Metrics, Stage, StageRun, run_stage\n"
        "from pipelines.words.params import WordsParams\n\n"
        'CORPUS = Path("data/corpus")\n\n\n'
        "def declare(document: ParamsFile) -> Stage:\n"
        '    """Reads the documents."""\n'
        '    sections = {"words": WordsParams, "corpus.source_language": str}\n'
        '    return Stage("words", "pipelines.words.count", sections, (CORPUS,))\n\n\n'
        "def count(run: StageRun) -> Metrics:\n"
        '    """Write nothing but metrics."""\n'
        '    language = run.section("corpus.source_language", str)\n'
        '    text = document_file(CORPUS, "train", language).read_text(encoding="utf-8")\n'
        '    most = run.section("words", WordsParams).most\n'
        '    return {"words": dict(Counter(text.split()).most_common(most))}\n\n\n'
        'if __name__ == "__main__":\n'
        "    sys.exit(run_stage(declare, count))\n",
    ),
    ("params.yaml", "\ntokenizer:\n", "\nwords:\n  most: 3\n\ntokenizer:\n"),
    (
        "pipelines/params/rules.py",
        "    tokenizer: TokenizerParams\n",
        "    words: WordsParams\n    tokenizer: TokenizerParams\n",
    ),
    (
        "pipelines/params/rules.py",
        "from pipelines.tokenizer.params import TokenizerParams\n",
        "from pipelines.tokenizer.params import TokenizerParams\n"
        "from pipelines.words.params import WordsParams\n",
    ),
    (
        "dvc.yaml",
        "\n  tokenizer:\n",
        "\n  words:\n"
        "    cmd: python -m pipelines.words.count\n"
        "    deps: [data/corpus, pipelines/words, pipelines/formats/corpus,\n"
        "      pipelines/formats/text.py]\n"
        "    params: [corpus.source_language, words]\n"
        "    outs: [data/words]\n"
        "    meta: {cpus: 1, gpus: 0}\n"
        "\n  tokenizer:\n",
    ),
    ("tests/rooms.py", '("corpus", "tokenizer",', '("words", "corpus", "tokenizer",'),
]

ALL = {
    "A metric": METRIC,
    "An optimizer": OPTIMIZER,
    "A filter of text": FILTER,
    "An architecture, a family": FAMILY,
    "A stage": STAGE,
}
