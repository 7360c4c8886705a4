"""What a job needs before its film is worked on: models fetched, licences asked, sources read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.content_credentials import attach
from actors.credential import Credential
from actors.face_networks import (
    CLASSIFIER,
    RECOGNIZERS,
    analysis_models,
    check_faces,
    models_of,
    portrait_models,
    readers_of,
)
from actors.fingerprint import analysis_fingerprint
from actors.frame_place import host_reason
from actors.inference.networks import resolve_precision
from actors.licences import check_licences, model_records
from actors.models import ModelStore
from actors.sources import classify_sources, embed_pictures, load_sources
from actors.swap_needs import check_swap, swap_models
from actors.toolbox import EMBEDDED, HANDS, LaneKit, Toolbox
from cluster.analyses import AnalysisCache
from cluster.film_work import Desk
from cluster.records import RecordBook
from scheduler.classes import FaceClass
from scheduler.devices import on_gpu
from scheduler.errors import CredentialUnusable, SettingInvalid
from scheduler.jobs import MESH_SWAPPER, JobSpec
from scheduler.provenance import ModelRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Premises:
    """Where a service finds things and keeps them: the same for all of its jobs."""

    cache_dir: Path
    """Models and analyses."""
    state_dir: Path
    """What jobs leave behind."""
    analysis_bytes: int = 0
    """That kept analyses may take; 0: none is kept."""
    report_bytes: int = 0
    """That what reports need may take; 0: nothing is kept."""
    license_policy: str = "any"
    """Which models may be used: any, or commercial."""
    certificates: Path | None = None
    """PEM chain of who signs results; None: a key of the machine's own, in ``state_dir``."""
    key: Path | None = None
    """Its key."""


class Say(Protocol):
    """Takes what people should know: the kind of event (docs/events.md), words, facts."""

    def __call__(self, event: str, message: str, /, **facts: str) -> None: ...


MACHINE: Final = "credentials"
"""Where in the state folder the machine's own key is."""


def marking(job: JobSpec, models: Sequence[ModelRecord] = ()) -> dict[str, str]:
    """Container metadata that says, to people and to programs, that faces were altered.

    Args:
        models: those that the job uses.
    """
    program = f"swapfarm {version('swapfarm')}"
    kind = "picture" if job.still else "video"
    facts: dict[str, object] = {
        "altered": "faces",
        "program": program,
        "swapper": job.swap.model,
        "job": job.job_id,
    }
    facts["models"] = [
        {"name": each.name, "sha256": each.sha256, "licence": each.licence} for each in models
    ]
    if job.consent:
        facts["consent"] = job.consent
    standins = [each.name for each in models if each.standin]
    if job.swap.waits is not None:
        standins.append(job.swap.model)
    if standins:
        facts["standins"] = standins
    comment = f"Faces in this {kind} were altered by {program} (swapper: {job.swap.model})."
    if standins:
        comment += f" Made with stand-ins that know no faces: {', '.join(standins)}."
    return {
        "comment": comment,
        "swapfarm": json.dumps(facts, sort_keys=True),
    }


def credential(premises: Premises) -> Credential:
    """Who signs results.

    Raises:
        CredentialUnusable: the settings name files that do not serve.
        StorageError: the machine's own key cannot be kept.
    """
    certificates, key = premises.certificates, premises.key
    if certificates is not None and key is not None:
        return Credential.load(certificates, key)
    if certificates is not None or key is not None:
        raise CredentialUnusable(
            f"[credentials] with {certificates or key} alone",
            "both certificates and key",
            "name the other one, too, or leave both out: the machine then signs with its own key",
        )
    return Credential.of_machine(premises.state_dir / MACHINE)


def model_names(job: JobSpec) -> list[str]:
    """All models that a job uses, each once."""
    unused = () if job.occlusion else HANDS
    embedded = [name for name in EMBEDDED if name not in unused]
    return list(dict.fromkeys([*embedded, *models_of(job), *swap_models(job.swap)]))


def settled(job: JobSpec, store: ModelStore) -> JobSpec:
    """A job whose precision no lane has to choose.

    Raises:
        SettingInvalid: it asks for what does not go together.
    """
    check_swap(job.swap)
    check_faces(job)
    job = _exact_on_gpu(job) if on_gpu(job.device) else job
    real = job.swap.model != MESH_SWAPPER and job.swap.waits is None
    swappers = (job.swap.model,) if real else ()
    enhancer, landmarker = job.swap.enhancer, job.analysis.landmarker
    enhancers = (enhancer.model,) if enhancer.model else ()
    swap = replace(
        job.swap,
        precision=resolve_precision(store, swappers, job.swap.precision),
        enhancer=replace(
            enhancer, precision=resolve_precision(store, enhancers, enhancer.precision)
        ),
    )
    points = resolve_precision(store, readers_of(landmarker), landmarker.precision)
    analysis = replace(job.analysis, landmarker=replace(landmarker, precision=points))
    return replace(job, swap=swap, analysis=analysis)


def _exact_on_gpu(job: JobSpec) -> JobSpec:
    """INT8 files are made for processors, and are no gain on a GPU: none is chosen there."""
    swap, landmarker = job.swap, job.analysis.landmarker
    if "int8" in (swap.precision, swap.enhancer.precision, landmarker.precision):
        raise SettingInvalid(
            f"precision int8 with --device {job.device}",
            "another: quantised files are run on processors",
            "leave one of them out",
        )

    def chosen(precision: str) -> str:
        return "fp32" if precision == "auto" else precision

    enhancer = replace(swap.enhancer, precision=chosen(swap.enhancer.precision))
    points = replace(landmarker, precision=chosen(landmarker.precision))
    return replace(
        job,
        swap=replace(swap, precision=chosen(swap.precision), enhancer=enhancer),
        analysis=replace(job.analysis, landmarker=points),
    )


def record_book(premises: Premises) -> RecordBook:
    """What the last jobs left behind for reports."""
    return RecordBook(premises.state_dir / "reports", premises.report_bytes)


def tell_place(job: JobSpec, say: Say) -> None:
    """Says of a GPU's job why its frames do not stay on the GPU, where they do not."""
    reason = host_reason(job) if on_gpu(job.device) else ""
    if reason:
        say("note", f"frames go through host memory: {reason}")


def open_desk(
    job: JobSpec, premises: Premises, kit: LaneKit, say: Say
) -> tuple[Desk, list[ModelRecord]]:
    """The desk of a job, and the models that it uses: known once its sources are checked.

    Raises:
        ModelError: a model's licence forbids the use that is meant.
    """
    store = ModelStore(premises.cache_dir)
    tools = Toolbox(kit)
    signer = credential(premises)  # before any work: what cannot be signed is not made
    models = model_names(job)
    check_licences(models, premises.license_policy, store.registry)
    marks, used = marking(job), list[ModelRecord]()

    def check_sources(spec: JobSpec) -> None:
        for name in models:
            if not store.present(name):
                why = " (to tell people apart)" if name in portrait_models(job.portraits) else ""
                say("model", f"fetching {name}{why}", model=name)
            store.path(name)
            if store.registry[name].standin:
                say("note", f"{name} is a stand-in: it knows no faces", model=name)
        tell_place(spec, say)
        used[:] = model_records(models, store)
        marks.update(marking(job, used))  # with hashes that are known only now
        for person, pictures in enumerate(spec.swap.people):
            if pictures:
                load_sources(spec.swap, tools.detector, tools.landmarker, tools.kernels, person)
        if spec.faces.references:
            embed_references(spec)

    def embed_references(spec: JobSpec) -> NDArray[np.float64]:
        return embed_pictures(
            spec.faces.references,
            tools.embedder(spec.recognizer),
            tools.detector_for(spec.analysis.detector),
            tools.landmarker_for(spec.analysis.landmarker),
            tools.kernels,
        )

    def classify_source(spec: JobSpec) -> FaceClass:
        sources = load_sources(spec.swap, tools.detector, tools.landmarker, tools.kernels)
        return classify_sources(sources, tools.classifier, tools.kernels)

    def sign(spec: JobSpec, film: Path) -> None:
        name = spec.goal.rpartition("/")[2]
        attach(film, Path(spec.media), signer, json.loads(marks["swapfarm"]), title=name)

    analyses = None
    if premises.analysis_bytes:
        analyses = AnalysisCache(
            premises.cache_dir / "analysis",
            premises.analysis_bytes,
            analysis_fingerprint(
                store.registry,
                (*analysis_models(job.analysis), *HANDS, *RECOGNIZERS.values(), CLASSIFIER),
            ),
        )
    desk = Desk(
        check_sources=check_sources,
        note=lambda sentence: say("note", sentence),
        marking=marks,
        embed_references=embed_references,
        classify_source=classify_source,
        analyses=analyses,
        records=record_book(premises) if premises.report_bytes else None,
        sign=sign,
    )
    return desk, used
