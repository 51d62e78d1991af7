"""What the client does with models: versions, side by side, promotion, rollback. Part of ``learnloop.client``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from learnloop.client_data import Json, Progress, part


class ModelMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        def _text(self, path: str) -> str: ...
        def _get(self, path: str, **params: Any) -> Any: ...
        def _all(self, path: str, most: int | None = None, **params: Any) -> list[Json]: ...
        def _put(self, path: str, body: Json) -> Any: ...
        def _delete(self, path: str, if_match: str | None = None, **params: Any) -> Json: ...
        def _stream(self, path: str, body: Json, progress: Progress | None, method: str = "POST") -> Json: ...

    def models(self) -> list[str]:
        """The names of all models."""
        return [str(item["name"]) for item in self._all("/models")]

    def model_versions(self, model: str, limit: int | None = None) -> list[Json]:
        """The newest ``limit`` versions, or all: ``version``, ``aliases``, ``metrics``, ``tags``, ``created_at``."""
        return self._all(f"/models/{part(model)}/versions", limit)

    def model_version(self, model: str, version: int) -> Json:
        """One version: figures, lineage, aliases, the verdict of the gate."""
        return dict(self._get(f"/models/{part(model)}/versions/{version}"))

    def model_report(self, model: str, version: int) -> str:
        """The report of a version, as HTML."""
        return self._text(f"/models/{part(model)}/versions/{version}/report")

    def keep_model(self, model: str, version: int, reason: str = "") -> Json:
        """Have a version stay, although a search did not choose it."""
        return dict(self._put(f"/models/{part(model)}/versions/{version}/keep", {"reason": reason}))

    def let_model_go(self, model: str, version: int) -> Json:
        """Have a version stay no longer than anything else needs it."""
        return self._delete(f"/models/{part(model)}/versions/{version}/keep")

    def compare_models(self, model: str, before: int, after: int) -> Json:
        """Two versions side by side: figures, and accuracy by class."""
        return dict(self._get(f"/models/{part(model)}/compare/{before}/{after}"))

    def decisions(self, model: str) -> list[Json]:
        """What was decided about a model, newest first."""
        return self._all(f"/models/{part(model)}/decisions")

    def deployments(self) -> list[Json]:
        """What should be served: alias, version, generation."""
        return self._all("/deployments")

    def promote(self, model: str, alias: str, version: int, reason: str = "") -> list[Json]:
        """Serve ``version`` as ``{model}:{alias}`` and as ``current``; returns when every server has it."""
        body = {"version": version, "reason": reason}
        return list(self._stream(f"/deployments/{part(model)}/{part(alias)}", body, None, "PUT")["moved"])

    def roll_back(self, model: str, alias: str, *, seen: int | None = None, reason: str = "") -> list[Json]:
        """Serve again what was served before; with ``seen``, only if that is what is served now."""
        body = {"seen": seen, "reason": reason}
        return list(self._stream(f"/deployments/{part(model)}/{part(alias)}/rollback", body, None)["moved"])

    def set_canary(self, model: str, alias: str, version: int | None, *, percent: int = 0, reason: str = "") -> Json:
        """Have ``version`` answer ``percent`` of an alias's requests; None: the alias's own version answers all."""
        body = {"version": version, "percent": percent, "reason": reason}
        return dict(self._put(f"/deployments/{part(model)}/{part(alias)}/canary", body))

    def withdraw(self, model: str, alias: str) -> Json:
        """Serve nothing under an alias any more; versions stay. Returns what was there."""
        return self._delete(f"/deployments/{part(model)}/{part(alias)}")

    def policy_evaluations(self, dataset: str, limit: int = 50) -> list[Json]:
        """The newest answers of the training policy to whether a round is due."""
        return self._all(f"/datasets/{part(dataset)}/policy/evaluations", limit)

    def structure_searches(self, dataset: str, limit: int = 50) -> list[Json]:
        """The newest answers to whether the model's structure is still right, and what came of each."""
        return self._all(f"/datasets/{part(dataset)}/structure/searches", limit)

    def structure_search(self, dataset: str, search: int) -> Json:
        """One search, with all that was tried."""
        return dict(self._get(f"/datasets/{part(dataset)}/structure/searches/{search}"))

    def scoring_runs(self, dataset: str, limit: int = 50) -> list[Json]:
        """The newest passes of models over batches, with what was chosen of them."""
        return self._all(f"/datasets/{part(dataset)}/scoring-runs", limit)

    def accuracy(self, model: str) -> list[Json]:
        """How often each version was right about samples that were drawn at random for it, the newest first."""
        return list(self._get(f"/models/{part(model)}/accuracy")["items"])
