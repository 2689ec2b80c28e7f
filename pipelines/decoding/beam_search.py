"""Batched beam search over any model that can make one step.

Finished hypotheses wait in a pool outside the beam, so W of them stay alive; sentences that are
done leave the batch. A diverse search has G beams per sentence, else there is one. Sums of
log-probabilities are kept in float64.

Shapes: B sentences, b of them still searched, W rows of a beam (1 before the first step), N =
b·G·W, S source length, D width, V vocabulary, C candidates of a beam.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from pipelines.decoding.memory_estimate import check_memory
from pipelines.decoding.next_tokens import (
    NextTokenScores,
    next_token_scores,
    require_numbers,
)
from pipelines.decoding.options import Hypothesis, SearchOptions
from pipelines.decoding.rules import Rule, apply, empty_history, history_needed
from pipelines.decoding.selection import Likeliest, Selector, survivors
from pipelines.decoding.trace import Candidates, Pool, Trace
from pipelines.models.protocol.model import DecoderState
from pipelines.nn.cuda import waiting

_DEAD = float("-inf")
_LEAVE = 8  # sentences leave when one in so many is done


class StepModel(Protocol):
    """What the search needs: see `pipelines.models.protocol.model.Seq2SeqModel`."""

    def start(self, source_BS: Tensor, lengths_B: Tensor) -> DecoderState:
        """The state before the first step, a row for each sentence."""
        ...

    def step_hidden(self, tokens_N: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One step of N rows: hidden states [N, D] and the next state."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of what `step_hidden` gave."""
        ...

    def reorder(self, state: DecoderState, parents_N: Tensor) -> DecoderState:
        """The state after row n has become a continuation of row ``parents_N[n]``."""
        ...

    def select(self, state: DecoderState, sentences: Tensor, beam: int) -> DecoderState:
        """The state of some of the sentences, ``beam`` rows each."""
        ...


def beam_search(
    model: StepModel,
    source_BS: Tensor,
    lengths_B: Tensor,
    options: SearchOptions,
    *,
    selector: Selector | None = None,
    rules: Sequence[Rule] = (),
) -> list[list[Hypothesis]]:
    """The ``num_best`` best hypotheses of each sentence, best first.

    Args:
        model: the network.
        source_BS: [CLS] x [SEP], padded.
        lengths_B: real source tokens.
        options: what to search for.
        selector: how continuations are chosen; `Likeliest` unless given.
        rules: what no hypothesis may say.

    Raises:
        DataError: it could need more memory than there is.
        FloatingPointError: the model answers NaN or infinity.
        ValueError: attention or coverage is asked of a model without attention.
    """
    return Search(model, source_BS, lengths_B, options, selector=selector, rules=rules).run()


class Search:
    """One search of one batch, step after step; arguments as for `beam_search`.

    Attributes:
        trace: what lived at each step.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: StepModel,
        source_BS: Tensor,
        lengths_B: Tensor,
        options: SearchOptions,
        *,
        selector: Selector | None = None,
        rules: Sequence[Rule] = (),
    ) -> None:
        B, beams, device = len(source_BS), len(source_BS) * options.groups, source_BS.device
        self._model, self._options, self._rules = model, options, rules
        self._width = options.beam_size // options.groups
        self._selector = selector or Likeliest(self._width, len(options.ends))
        self._ends = torch.tensor(options.ends, device=device)
        self._state = model.start(source_BS, lengths_B)
        check_memory(self._state, B, options)
        if options.groups > 1:
            self._state = model.reorder(
                self._state, torch.arange(B, device=device).repeat_interleave(options.groups)
            )
        if options.needs_attention and "attention" not in self._state:
            raise ValueError(
                "beam search: attention and coverage must be asked of a model that has attention"
            )
        self._ahead = waiting.runs_ahead(source_BS)
        self._broken = torch.zeros((), dtype=torch.bool, device=device)  # some score was NaN
        self._active = torch.arange(B, device=device)  # numbers of the sentences still searched
        self._numbers = list(range(B))  # the same, for rules
        self._done = torch.zeros(beams, dtype=torch.bool, device=device)
        self._tokens = torch.full((beams, 1), options.start, device=device)
        self._log_probability = torch.zeros(beams, 1, dtype=torch.double, device=device)
        padding_BS = torch.arange(source_BS.shape[1], device=device) >= lengths_B[:, None]
        self._covered = padding_BS.double().repeat_interleave(options.groups, dim=0)[:, None]
        self._length = 0
        self._pool = Pool(beams, self._width, device)
        self.trace = Trace(beams)

    @torch.inference_mode()
    def run(self) -> list[list[Hypothesis]]:
        """See `beam_search`.

        A beam of two, "The cow" to be translated. Step 1 has one row, the start: *Die* (−0.1) and
        *Das* (−2.4) survive. Step 2 has two rows; of their continuations *Die Kuh* (−0.2) and *Die*
        + end (−2.9) are the likeliest: the second one ends, and waits in the pool with its score
        while *Die Kuh* and the next best, *Das Vieh* (−3.0), live on. In step 3 *Die Kuh* + end
        (−0.3) goes to the pool. Nothing alive can beat that any more under the exact rule, since
        log-probabilities only fall: the sentence is done.
        """
        options = self._options
        while self._length < options.max_length and len(self._active):
            self._length += 1
            # 1. One step of the network for every living row of every sentence.
            hidden_ND, self._state = self._model.step_hidden(self._tokens.flatten(), self._state)
            # 2. Candidates: rows and the tokens that may continue them, preferred ones first.
            found = self._selector.choose(
                self._scored(hidden_ND), self._log_probability, self._beams
            )
            covered = self._coverage() if options.needs_attention else None
            if self._ahead:
                self._broken |= found.log_probability.isnan().any()
            # 3. What ends goes to the pool of finished hypotheses.
            self._finish(found, covered)
            # 4. The W best that do not end become the rows; done sentences leave the batch.
            if self._length < options.max_length:
                self._go_on(
                    survivors(found, torch.isin(found.token, self._ends), self._width), covered
                )
                self._leave()
        require_numbers(self._broken)
        # 5. The best of each pool, walked back from its last token to its first.
        return self._pool.hypotheses(self.trace, options.groups, options.num_best)

    @property
    def _beams(self) -> Tensor:
        """Numbers of the beams still searched."""
        groups = torch.arange(self._options.groups, device=self._active.device)
        return (self._active[:, None] * self._options.groups + groups).flatten()

    def _scored(self, hidden_ND: Tensor) -> NextTokenScores:
        """The continuations that the selector has to know."""
        forbid = None
        rows = self._tokens.shape[1] * self._options.groups  # of a sentence
        if self._rules:
            history = empty_history(len(self._active), rows, self._length - 1)
            if history_needed(self._rules):
                history = self.trace.history(self._beams, self._tokens.shape[1]).view(history.shape)
            numbers = self._numbers

            def forbid(logits_nV: Tensor, part: slice) -> None:
                some = slice(part.start // rows, part.stop // rows)
                apply(
                    self._rules,
                    logits_nV.view(-1, rows, logits_nV.shape[1]),
                    numbers[some],
                    history[some],
                )

        return next_token_scores(
            self._model.logits,
            hidden_ND,
            self._log_probability,
            self._selector.to_know,
            together=rows,
            forbid=forbid,
        )

    def _coverage(self) -> Tensor:
        """Attention each source token has got from each row, this step's too, [b·G, W, S]."""
        attention = self._state["attention"].view(*self._tokens.shape, -1)
        if self._options.attention:
            self.trace.add_attention(self._beams, attention)
        return self._covered + attention

    def _finish(self, found: Candidates, covered: Tensor | None) -> None:
        """What ends, or is at the limit, goes to the pool, if it is among the W best."""
        ended = torch.isin(found.token, self._ends)
        finishing = (ended | (self._length == self._options.max_length)) & (
            found.log_probability > _DEAD
        )
        finishing &= ~self._done[:, None]
        finishing[:, self._width :] = False
        if not self._ahead and not finishing.any():
            return
        seen = None
        if covered is not None and self._options.score.coverage > 0:
            seen = _of_rows(covered, found.parent)
        score = self._options.score(found.log_probability, self._length, ended, seen)
        self._pool.add(self._beams, score.masked_fill(~finishing, _DEAD), self._length, found)

    def _go_on(self, alive: Candidates, covered: Tensor | None) -> None:
        """The survivors become the rows."""
        beams, rows = self._tokens.shape
        self.trace.add(self._beams, alive)
        self._log_probability, self._tokens = alive.log_probability, alive.token
        if covered is not None:
            self._covered = _of_rows(covered, alive.parent)
        first = torch.arange(beams, device=alive.parent.device)[:, None] * rows
        self._state = self._model.reorder(self._state, (first + alive.parent).flatten())
        self._done |= self._is_done(alive.log_probability.amax(dim=1))

    def _is_done(self, best: Tensor) -> Tensor:
        """The beams no further step can change, or whose stop rule says so;
        ``best`` is the likeliest alive.
        """
        options, score_bW = self._options, self._pool.score_BP[self._beams]
        last = min(options.num_best, self._width) - 1
        dead = best == _DEAD
        if options.rule == "exact":
            bound = options.score.bound(best, self._length, options.max_length)
            return dead | (score_bW[:, last] >= bound)
        if options.rule == "never":
            return dead
        enough = self._pool.finished_B[self._beams] >= options.enough
        if options.rule == "likely":
            enough &= score_bW[:, -1] >= options.score(
                best, self._length, torch.zeros_like(dead), None
            )
        return dead | enough

    def _leave(self) -> None:
        """Sentences that are done leave, once there are enough of them."""
        if not waiting.may_look(self._done, self._length):
            return
        b, G = len(self._active), self._options.groups
        going_on = ~self._done.view(b, G).all(dim=1)
        if int(going_on.sum()) > b - max(1, b // _LEAVE):
            return
        require_numbers(self._broken)
        rows, beams = going_on.nonzero().squeeze(1), going_on.repeat_interleave(G)
        self._numbers = [self._numbers[row] for row in rows.tolist()]
        self._state = self._model.select(self._state, rows, self._options.beam_size)
        self._active, self._done, self._tokens = (
            self._active[rows],
            self._done[beams],
            self._tokens[beams],
        )
        self._log_probability, self._covered = self._log_probability[beams], self._covered[beams]


def _of_rows(covered_bWS: Tensor, parent_bC: Tensor) -> Tensor:
    """Coverage [b, C, S] of the row that each candidate continues."""
    return covered_bWS.gather(1, parent_bC[:, :, None].expand(-1, -1, covered_bWS.shape[2]))
