"""The results as tables, sentences and a model card."""

from pipelines.report.markdown import markdown_table
from pipelines.report.results import Results

_TITLES = {"bleu": "BLEU", "chrf": "chrF"}
_SHOWN_BELOW = 99.5  # a ceiling


def bert_table(results: Results) -> list[list[str]]:
    """MLM and NSP accuracy beside what always answering the same would reach;
    without NSP where it was not trained.
    """
    tasks = [("masked tokens (MLM)", "mlm", "unigram"), ("next sentence (NSP)", "nsp", "majority")]
    rows = [
        [
            title,
            _percent(bert[f"valid_{name}_accuracy"]),
            f"{_percent(bert[f'{name}_accuracy_{other}'])} {other}",
        ]
        for bert in [results.bert]
        for title, name, other in tasks
        if f"valid_{name}_accuracy" in bert
    ]
    return [["BERT, held-out documents", "accuracy", "trivial baseline"], *rows]


def scores_table(results: Results) -> list[list[str]]:
    """BLEU and chrF of every architecture and ensemble, greedy and beam,
    and what a perfect model would reach.

    Where references are too short for BLEU, chrF leads with its interval and exact matches stand
    beside it.
    """
    first, second = _TITLES if results.leading == "bleu" else reversed(_TITLES)
    header = ["architecture", "parameters"]
    header += [
        f"{_TITLES[name]} {search}" for name in (first, second) for search in ("greedy", "beam")
    ]
    exact = results.leading != "bleu"
    rows = []
    for row in results.rows:
        cells = [row.name, f"{row.parameters:,}", f"{row.greedy[first]:.2f}"]
        cells += [f"{row.beam[first]:.2f} ± {row.beam[f'{first}_interval']:.2f}"]
        cells += [f"{row.greedy[second]:.2f}", f"{row.beam[second]:.2f}"]
        rows.append(cells + [_percent(row.beam["exact_match"])] * exact)
    if min(results.ceiling[first], results.ceiling[second]) < _SHOWN_BELOW:
        reach = ["", f"{results.ceiling[first]:.2f}", "", f"{results.ceiling[second]:.2f}"]
        rows.append(["(a perfect model)", "", *reach, *[""] * exact])
    return [header + ["exact"] * exact, *rows]


def comparison_sentences(results: Results) -> list[str]:
    """Who wins each comparison, by how much, and how sure that is."""
    sentences, title = [], _TITLES[results.leading]
    for item in results.comparisons:
        found = item[results.leading]
        sure = "significant" if found["p_value"] < 0.05 else "not significant"
        verb = "equals"
        if found["difference"]:
            verb = "beats" if found["difference"] > 0 else "loses to"
        sentences.append(
            f"{item['system']} {verb} {item['baseline']} by {abs(found['difference']):.2f} {title} "
            f"(beam, paired bootstrap p = {found['p_value']:.3f}, {sure})"
        )
    return sentences


def differences_table(results: Results) -> list[list[str]]:
    """The leading score (beam) of each system less that of each other;
    * where the paired bootstrap has p < 0.05.
    """
    cells: dict[tuple[str, str], str] = {}
    for pair in results.each_with_each:
        found = pair[results.leading]
        star = "*" if found["p_value"] < 0.05 else ""
        one, other, difference = pair["system"], pair["baseline"], found["difference"]
        cells[one, other] = f"{difference:+.2f}{star}"
        cells[other, one] = f"{-difference:+.2f}{star}"
    names = [row.name for row in results.rows]
    rows = [[one, *(cells.get((one, other), "") for other in names)] for one in names]
    return [[f"{_TITLES[results.leading]}, row less column", *names], *rows]


def significance_table(results: Results) -> list[list[str]]:
    """p-value of the paired bootstrap of each system against each other, in the leading score."""
    cells: dict[tuple[str, str], str] = {}
    for pair in results.each_with_each:
        one, other = pair["system"], pair["baseline"]
        cells[one, other] = cells[other, one] = f"{pair[results.leading]['p_value']:.3f}"
    names = [row.name for row in results.rows]
    rows = [[one, *(cells.get((one, other), "") for other in names)] for one in names]
    return [[f"p-value, {_TITLES[results.leading]}", *names], *rows]


def tables_markdown(results: Results) -> str:
    """The contents of ``tables.md``: all tables, in Markdown."""
    parts = [f"**Warning**: {warning}" for warning in results.warnings]
    parts += [markdown_table(bert_table(results)), markdown_table(scores_table(results))]
    parts += [f"- {sentence}" for sentence in comparison_sentences(results)]
    parts += [markdown_table(differences_table(results)), "\\* paired bootstrap, p < 0.05"]
    return "\n\n".join([*parts, "Signatures: " + "; ".join(results.signatures)]) + "\n"


def model_card(results: Results, languages: tuple[str, str]) -> str:
    """``model_card.md``: what the models are, from what, and how good."""
    origins = [
        [name, *(str(origin[key]) for key in ("seed", "params", "data"))]
        for name, origin in results.origins.items()
    ]
    sizes = results.corpus["documents"]
    documents = ", ".join(f"{sizes[name]['documents']} {name}" for name in sizes)
    pairs = ", ".join(f"{count} {split}" for split, count in results.corpus["pairs"].items())
    return f"""# Model card

BERT (masked language modelling and next-sentence prediction) and encoder-decoders, \
{languages[0]} → {languages[1]}.

- Documents: {documents}. Pairs: {pairs}. Test sentences seen in training text: \
{results.corpus["test_sentences_seen"]}.
- Vocabulary: {results.tokenizer["vocab_size"]} pieces, \
{results.tokenizer["tokens_per_word"]} per word.
- Intended use: studying and comparing architectures on this text. Text of other kinds was not \
tested.

## Quality

{tables_markdown(results)}
## Origin of every figure

{markdown_table([["stage", "seed", "params", "data"], *origins])}
"""


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
